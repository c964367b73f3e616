"""What users type is what is tested: the command in a process of its own, on the toy environment."""

import json
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from vla_bench.bench.cli.run import main
from vla_bench.bench.records.journal import read_journal

SCRIPT = Path(__file__).resolve().parents[2] / "run_benchmark.py"
FAKE = ("benchmark=fake", "policy=random", "run.backend=local", "run.workers=2")
SLOW = "benchmark.options.step_seconds=0.004"


def command(*words):
    return [sys.executable, str(SCRIPT), *words]


def type_in(folder, *words):
    return subprocess.run(command(*words), cwd=folder, capture_output=True, text=True, timeout=120)


def start(folder, *words):
    return subprocess.Popen(command(*words), cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def wait_for_records(journal, count, process):
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and process.poll() is None:
        if journal.exists() and journal.read_bytes().count(b"\n") > count:
            return
        time.sleep(0.02)
    pytest.fail(f"the run wrote no {count} records: {process.communicate()[1]}")


def outcomes(folder):
    """All bytes that must not depend on how the run went, and the summary without its timing."""
    files = {
        name: (folder / name).read_bytes()
        for name in ("episodes.csv", "episodes.parquet", "subtasks.csv", "subtasks.parquet")
    }
    summary = json.loads((folder / "summary.json").read_text())
    del summary["timing"]
    del summary["notes"]  # they would tell of code that is edited while the tests run
    text = (folder / "summary.md").read_text()
    tables = text[text.index("## Solved in a row") : text.index("## Where the time went")]
    return {**files, "summary.json": summary, "summary.md": tables}


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """A run that nothing happened to: its folder and what it printed."""
    folder = tmp_path_factory.mktemp("undisturbed")
    done = type_in(folder, *FAKE, "run.name=whole")
    assert done.returncode == 0, done.stderr
    return folder / "results" / "whole", done


def test_a_run_leaves_a_result_set_and_prints_its_tables(undisturbed):
    folder, done = undisturbed
    assert {path.name for path in folder.iterdir()} - {".lock"} == {
        *("config.yaml", "provenance.json", "journal.jsonl", "summary.json", "summary.md"),
        *(f"{table}.{kind}" for table in ("episodes", "subtasks", "timings") for kind in ("csv", "parquet")),
    }
    assert "20 of 20 episodes judged · 0 errors" in done.stdout
    key = r"single-task success \d+\.\d \[.*\] % · average chain length \d\.\d\d \[.*\] · n = 20"
    assert re.search(key, done.stdout)
    assert "close_gripper" in done.stdout
    assert "20/20 episodes" in done.stderr
    provenance = json.loads((folder / "provenance.json").read_text())
    (attempt,) = provenance["tries"]
    assert attempt["command"].endswith("run.name=whole")
    assert attempt["packages"]["numpy"]
    assert all(worker["packages"]["numpy"] for worker in attempt["workers"])
    assert attempt["ended"] and attempt["episodes"] == 20
    assert attempt["placement"]["workers"] == 2
    assert attempt["workers"][0]["policy"] == "random"
    assert provenance["protocol"]["hash"] in done.stdout
    assert "step_deadline: null" in (folder / "config.yaml").read_text()


def test_the_same_command_again_redoes_nothing(undisturbed):
    folder, done = undisturbed
    journal = (folder / "journal.jsonl").read_bytes()
    before = outcomes(folder)
    again = type_in(folder.parent.parent, *FAKE, "run.name=whole")
    assert again.returncode == 0
    assert "complete, all 20 episodes are judged; nothing to run" in again.stderr
    assert again.stdout == done.stdout
    assert (folder / "journal.jsonl").read_bytes() == journal
    assert outcomes(folder) == before


def test_killed_and_run_again_it_is_as_if_nothing_had_happened(undisturbed, tmp_path):
    words = (*FAKE, SLOW, "run.name=killed")
    journal = tmp_path / "results" / "killed" / "journal.jsonl"
    for records in (3, 8):
        process = start(tmp_path, *words)
        wait_for_records(journal, records, process)
        process.kill()
        process.communicate()
    kept = read_journal(journal).records
    assert 8 <= len(kept) < 20
    done = type_in(tmp_path, *words)
    assert done.returncode == 0, done.stderr
    assert f"{len(kept)} episodes judged already, {20 - len(kept)} to run" in done.stderr
    lines = journal.read_text().splitlines()[1:]
    assert len(lines) == len({json.loads(line)["record"]["index"] for line in lines}) == 20
    assert outcomes(journal.parent) == outcomes(undisturbed[0])


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupted_it_keeps_what_is_finished(tmp_path, number):
    process = start(tmp_path, *FAKE, SLOW, "run.name=stopped")
    folder = tmp_path / "results" / "stopped"
    wait_for_records(folder / "journal.jsonl", 3, process)
    process.send_signal(number)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert "interrupted; the same command finishes the rest" in err
    assert "unfinished:" in out
    finished = json.loads((folder / "summary.json").read_text())["episodes"]["done"]
    assert 3 <= finished < 20
    assert len(read_journal(folder / "journal.jsonl").records) == finished
    if number == signal.SIGINT:
        assert "to finish; Ctrl-C again drops them" in err


def test_a_second_driver_is_refused(tmp_path):
    slower = "benchmark.options.step_seconds=0.1"
    process = start(tmp_path, *FAKE, slower, "run.name=shared")
    try:
        wait_for_records(tmp_path / "results" / "shared" / "journal.jsonl", 1, process)
        second = type_in(tmp_path, *FAKE, slower, "run.name=shared")
    finally:
        process.kill()
        process.communicate()
    assert second.returncode == 1
    assert re.search(rf"a run is writing here already \(process {process.pid} on ", second.stderr)


CRASHES = "benchmark.options.cues=[{do: abort, episode: 1}]"


def test_too_many_errors_print_the_tables_all_the_same(tmp_path):
    done = type_in(tmp_path, *FAKE, "benchmark.sequences=4", CRASHES, "run.max_attempts=2")
    assert done.returncode == 2
    assert done.stderr.count("will be tried again") == 1
    assert "error: 1 of 4 episodes ended in an error" in done.stderr
    assert "3 of 4 episodes judged · 1 error" in done.stdout
    assert "seq-0001: crash" in done.stdout
    (folder,) = (tmp_path / "results").iterdir()
    report = (folder / "errors.md").read_text()
    assert "was killed by SIGABRT" in report and "Fatal Python error: Aborted" in report
    (again,) = [line for line in report.splitlines() if "run.only=" in line]
    assert again.endswith("run.max_attempts=2 run.only=seq-0001 run.backend=local run.workers=1")
    words = shlex.split(again)[1:]
    alone = subprocess.run([sys.executable, *words], cwd=tmp_path, capture_output=True, text=True)
    assert alone.returncode == 2
    assert "3 episodes judged already, 1 to run" in alone.stderr


MY_POLICY = """
import numpy as np

class MyPolicy:
    sensors = ("front",)

    def __init__(self, push=0.0):
        self.push = push

    def reset(self, instruction):
        self.instruction = instruction

    def act(self, observation):
        assert observation["rgb_front"].dtype == np.uint8
        closing = "close" in self.instruction
        return np.array([0.0, 0.0, self.push, -1.0 if closing else 1.0])
"""


def test_a_policy_of_ones_own_beside_one(tmp_path):
    (tmp_path / "my_module.py").write_text(MY_POLICY)
    words = ("benchmark=fake", "policy._target_=my_module.MyPolicy", "policy.push=0.5", "run.backend=local")
    done = type_in(tmp_path, *words)
    assert done.returncode == 0, done.stderr
    (folder,) = (tmp_path / "results").iterdir()
    assert folder.name.startswith("fake-mypolicy-")
    tasks = json.loads((folder / "summary.json").read_text())["tasks"]
    assert tasks["raise"]["rate"] == tasks["close_gripper"]["rate"] == 1.0
    typo = type_in(tmp_path, *words[:2], "policy.psh=0.5")
    assert typo.returncode == 1
    assert "no argument 'psh'" in typo.stderr and "Did you mean 'push'" in typo.stderr


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("benchmark=fke",), "error: there is no benchmark=fke. Did you mean 'fake'?"),
        (("benchmark=fake", "polcy=stub"), "Did you mean 'policy'?"),
        (("benchmark=fake", "policy=stbu"), "Did you mean 'stub'?"),
        (("benchmark=fake", "policy._target_=nowhere.Mine"), "no module 'nowhere'"),
        (("benchmark=fake", "policy=stub", "policy.chnk=1"), "Did you mean 'chunk'?"),
        (("benchmark=fake", "policy=stub", "run.bakend=local"), "Did you mean 'backend'?"),
        (("benchmark=fake", "policy=stub", "benchmark.tasks=rise"), "Did you mean 'raise'?"),
        (("--workers=3",), "there is no option --workers=3. Did you mean run.workers=<value>?"),
        (("--hlp",), "Did you mean --help?"),
        (("stub",), "type it as <group>=<preset>"),
    ],
)
def test_mistakes_get_one_line_and_exit_code_1(tmp_path, monkeypatch, capsys, words, message):
    monkeypatch.chdir(tmp_path)
    assert main(words) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert message in err
    assert len(err.splitlines()) == 1
    assert list(tmp_path.iterdir()) == []


def test_a_mistake_in_a_process_of_its_own(tmp_path):
    done = type_in(tmp_path, "benchmark=fke")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("error: there is no benchmark=fke. Did you mean 'fake'?")


def test_help_is_quick_and_says_everything(tmp_path, record_property):
    started = time.monotonic()
    done = type_in(tmp_path, "--help")
    seconds = time.monotonic() - started
    record_property("help_seconds", seconds)
    print(f"--help took {seconds:.2f} s")
    assert done.returncode == 0
    for word in ("calvin_abc_d", "expert", "run.address", "step_limit", "exit codes", "130", "_target_"):
        assert word in done.stdout
    assert type_in(tmp_path).stdout == done.stdout


def test_help_imports_nothing_heavy():
    heavy = ("hydra", "omegaconf", "pandas", "pyarrow", "ray", "torch", "pybullet", "scipy", "rich")
    program = (
        "import sys; from vla_bench.bench.cli.run import help_text; help_text();"
        f"print([name for name in {heavy} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=SCRIPT.parent)
    assert done.stdout.strip() == "[]", done.stderr


def test_list_and_show_config_run_nothing(tmp_path):
    listed = type_in(tmp_path, "--list")
    assert "calvin_smoke" in listed.stdout and "replay" in listed.stdout
    shown = type_in(tmp_path, "benchmark=fake", "policy=stub", "--show-config")
    assert shown.returncode == 0, shown.stderr
    assert "step_limit: 60" in shown.stdout
    assert re.search(r"# protocol [0-9a-f]{12}: 20 episodes", shown.stdout)
    assert re.search(r"# result set: results/fake-stub-[0-9a-f]{8}$", shown.stdout.strip())
    assert list(tmp_path.iterdir()) == []


def test_a_terminal_without_unicode_is_no_error(undisturbed):
    done = subprocess.run(
        command(*FAKE, "run.name=whole"),
        cwd=undisturbed[0].parent.parent,
        env={**os.environ, "PYTHONIOENCODING": "ascii"},
        capture_output=True,
    )
    assert (done.returncode, b"Traceback" in done.stderr) == (0, False)
    assert b"20 of 20 episodes judged ? 0 errors" in done.stdout


def test_a_reader_that_goes_away_is_no_error(undisturbed):
    pipe = f"{sys.executable} {SCRIPT} --help | head -1; exit ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", pipe], capture_output=True, text=True, env=os.environ)
    assert done.returncode == 0
    assert done.stderr == ""

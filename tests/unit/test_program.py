"""How the program is called in what it says: whatever is suggested must work when it is typed."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from vla_bench import program as naming
from vla_bench import start

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize(
    ("script", "interpreter", "program", "evaluation"),
    [
        ("/x/bin/vla-bench", "python", "/x/bin/vla-bench", "/x/bin/vla-bench run"),
        ("run_benchmark.py", ".venv/bin/python", ".venv/bin/python run_benchmark.py", None),
        ("/a b/run_benchmark.py", "python", "python '/a b/run_benchmark.py'", None),
        ("/x/vla_bench/__main__.py", "python3", "python3 -m vla_bench", "python3 -m vla_bench run"),
        ("/x/bench/old_name/__main__.py", "python3", "python3 -m bench", "python3 -m bench run"),
        ("/x/bin/pytest", "python", "vla-bench", "vla-bench run"),
    ],
)
def test_name(monkeypatch, script, interpreter, program, evaluation):
    monkeypatch.setenv("VLA_BENCH_PROGRAM", naming._typed(script, interpreter))
    assert naming.program() == program
    assert naming.evaluation() == (evaluation or program)


@pytest.mark.parametrize("installed", ["there", "elsewhere"])
def test_the_installed_program_has_its_short_name_where_the_shell_finds_it(monkeypatch, tmp_path, installed):
    for name in ("there", "elsewhere"):
        program = tmp_path / name / naming.INSTALLED
        program.parent.mkdir()
        program.touch(0o755)
    monkeypatch.setenv("PATH", str(tmp_path / "there"))
    typed = str(tmp_path / installed / naming.INSTALLED)
    assert naming._typed(typed, "python") == (naming.INSTALLED if installed == "there" else typed)
    assert naming._typed("/x/bin/vla-bench", "python") == "/x/bin/vla-bench"  # gone since, or never there


def test_examples_in_help_are_as_typed(monkeypatch):
    monkeypatch.setenv("VLA_BENCH_PROGRAM", "python run_benchmark.py")
    shown = naming.as_typed("vla-bench run policy=stub   \nvla-bench doctor")
    assert shown.splitlines() == ["python run_benchmark.py policy=stub   ", "python run_benchmark.py doctor"]


@pytest.mark.parametrize("way", [("-m", "vla_bench"), (str(ROOT / "run_benchmark.py"),)])
def test_what_is_suggested_can_be_typed(tmp_path, way):
    """A mistake, then the suggestion, word by word, from the same folder."""
    environment = {**os.environ, "PYTHONPATH": start.import_path()}

    def type_in(*words):
        return subprocess.run(words, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=60)

    alone = ROOT / "tests" / "old_sets" / "fake_chains"
    told = type_in(sys.executable, *way, "compare", str(alone)).stderr
    suggested = shlex.split(told.partition("two result sets or more: ")[2].replace("<A> <B>", "--help"))
    done = type_in(*suggested)
    assert done.returncode == 0 and done.stdout.startswith(f"usage: {shlex.join(suggested[:-2])} compare"), done
    version = type_in(sys.executable, *way, "--version").stdout
    assert version == f"vla-bench {naming.version()}\n"


def test_a_forgotten_run_is_suggested(tmp_path):
    done = subprocess.run(
        [sys.executable, str(ROOT / "vla_bench" / "start.py"), "vla_bench", "policy=stub"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 1 and "run policy=stub" in done.stderr


def test_the_folder_for_the_path_holds_nothing_but_the_package():
    assert os.listdir(start.import_path()) == ["vla_bench"]
    assert os.path.samefile(os.path.join(start.import_path(), "vla_bench"), Path(start.__file__).parent)

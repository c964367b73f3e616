"""What docs/examples holds works: policies are run, recipes are read as far as a machine without Docker can."""

from __future__ import annotations

import importlib
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from vla_bench import load
from vla_bench.bench.cli.main import Parser, main, module_of
from vla_bench.bench.setup.presets import load_config
from vla_bench.envs.simulation import environment_spec
from vla_bench.policies.registry import Choice, make_policy

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "docs" / "examples"
README = (ROOT / "README.md").read_text(encoding="utf-8")
BOTH = [("calvin", {}), ("simpler", {"set": "bridge"}), ("simpler", {"set": "visual_matching"})]
STUDIES = [
    ("calvin_policy.py:Reach", BOTH[:1]),
    ("simpler_policy.py:Lift", BOTH[1:]),
    ("any_policy.py:Anywhere", BOTH),
]


def choice(target: str) -> Choice:
    return load_config([f"policy={target}"]).policy


def own_policy(folder: Path) -> str:
    (text,) = (each for each in re.findall(r"```python\n(.*?)```", README, re.S) if "class MyPolicy" in each)
    (folder / "my_policy.py").write_text(text)
    return f"{folder}/my_policy.py:MyPolicy"


@pytest.mark.parametrize(("family", "options"), BOTH)
def test_the_policy_of_the_readme_runs_on_either_benchmark(tmp_path, family, options):
    environment = environment_spec(family, options)
    policy = make_policy(choice(own_policy(tmp_path)), environment)
    assert [camera.name for camera in policy.spec.sensors.cameras] == list(environment.cameras)


@pytest.mark.parametrize(("name", "places"), STUDIES)
def test_policies_fit_what_they_are_for(name, places):
    for family, options in places:
        environment = environment_spec(family, options)
        assert make_policy(choice(f"{EXAMPLES}/{name}"), environment).spec.sensors.cameras


@pytest.mark.parametrize("target", ["my_policy.py:MyPolicy", "calvin_policy.py:Reach", "any_policy.py:Anywhere"])
def test_policies_run_on_calvin(tmp_path, monkeypatch, target):
    monkeypatch.chdir(tmp_path)
    path = own_policy(tmp_path) if target.startswith("my_") else f"{EXAMPLES}/{target}"
    words = [f"policy={path}", "benchmark.sequences=1", "benchmark.step_limit=5", "run.backend=local", "run.name=x"]
    assert main(["run", *words, "run.workers=1", "run.results=."]) == 0
    assert len(load(tmp_path / "x").records) == 1


def commands(text: str) -> list[list[str]]:
    joined = re.sub(r"\\\n\s*", " ", text)
    lines = [re.split(r"\s+#\s|\s&$|\s>>\s", each)[0] for each in re.findall(r"vla-bench (?=run|assets).*", joined)]
    return [shlex.split(re.sub(r"\$\(\(.*?\)\)", "4", line)) for line in lines]


@pytest.mark.parametrize("name", ["github_action.yml", "slurm.sh", "Dockerfile", "apptainer.def", "README.md"])
def test_commands_are_taken(name):
    found = commands((EXAMPLES / name).read_text())
    assert found
    for _, command, *words in found:
        if command == "run":
            load_config(
                [re.sub(r"^my_policy", str(EXAMPLES / "my_policy"), word) for word in words if "$@" not in word]
            )
            continue
        parser = Parser(prog=command)
        importlib.import_module(module_of(command)).configure(parser)
        parser.parse_args(words)


def test_the_action_is_one():
    action = yaml.safe_load((EXAMPLES / "github_action.yml").read_text())
    steps = action["jobs"]["smoke"]["steps"]
    assert all(("uses" in step) != ("run" in step) for step in steps)
    for step in steps:
        subprocess.run(["bash", "-n", "-c", step.get("run", "")], check=True)


def test_the_slurm_script_is_that_of_the_page_and_bash():
    text = (EXAMPLES / "slurm.sh").read_text()
    subprocess.run(["bash", "-n", str(EXAMPLES / "slurm.sh")], check=True)
    assert text in (ROOT / "docs" / "clusters.md").read_text()
    unset = set(re.findall(r"\$\{?([A-Za-z]\w*)", text)) - set(re.findall(r"^\s*(?:export )?(\w+)=", text, re.M))
    assert all(name.startswith("SLURM_") for name in unset), unset


def test_the_slurm_script_runs_a_run_and_hands_on_sigterm(tmp_path):
    """With stand-ins for Slurm's and Ray's programs; the driver is a shell script that says how it was stopped."""
    stand_ins = {
        "scontrol": f"echo node1; read -t 0.3 <> {tmp_path}/never; echo node2",  # as slow as a long list of nodes
        "srun": 'for last; do :; done; case "$*" in *hostname*) echo 127.0.0.1 ;; esac',
        "sleep": "exit 0",
        "vla-bench": f'trap "echo stopped $*; exit 130" TERM; read -t 2 <> {tmp_path}/never; kill -TERM $PPID; '
        f"for i in $(seq 50); do read -t 0.1 <> {tmp_path}/never; done; exit 1",
    }
    os.mkfifo(tmp_path / "never")
    (tmp_path / ".venv" / "bin").mkdir(parents=True)
    (tmp_path / ".venv" / "bin" / "activate").write_text("")
    for name, body in stand_ins.items():
        path = tmp_path / name
        path.write_text(f"#!/bin/bash\n{body}\n")
        path.chmod(0o755)
    slurm = {"SUBMIT_DIR": str(tmp_path), "JOB_ID": "7", "JOB_NODELIST": "node[1-2]", "CPUS_PER_TASK": "2"}
    environment = {f"SLURM_{name}": value for name, value in (slurm | {"JOB_NUM_NODES": "2"}).items()}
    path = f"{tmp_path}:{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", str(EXAMPLES / "slurm.sh")],
        env={**os.environ, **environment, "PATH": path},
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert done.returncode == 130, done.stderr
    assert "stopped run benchmark=calvin_abc_d" in done.stdout and "run.workers=4" in done.stdout
    assert "run.address=127.0.0.1:6379" in done.stdout


@pytest.mark.parametrize("name", ["Dockerfile", "apptainer.def"])
def test_recipes_copy_what_is_there_and_run_what_is_a_shell(name):
    text = (EXAMPLES / name).read_text()
    assert f"docs/examples/{name}" in text
    assert (ROOT / "constraints.txt").is_file() and "-c constraints.txt" in text
    if name == "Dockerfile":
        joined = text.replace("\\\n", " ")
        instructions = [line.split()[0] for line in joined.splitlines() if line and not line.startswith("#")]
        known = {"FROM", "RUN", "WORKDIR", "COPY", "ENV", "ENTRYPOINT", "CMD"}
        assert instructions[0] == "FROM" and set(instructions) <= known
        shell = re.findall(r"^RUN (.*)", joined, re.M)
    else:
        sections = dict(re.findall(r"^%(\w+)\n((?:(?!%).*\n?)*)", text, re.M))
        assert set(sections) == {"files", "post", "environment", "runscript"}
        shell = [sections[each] for each in ("post", "environment", "runscript")]
    for line in shell:
        subprocess.run(["bash", "-n", "-c", line], check=True)


def test_the_citation_names_this_version():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    from vla_bench.program import version

    assert citation["version"] == version() and citation["cff-version"] == "1.2.0"
    assert citation["authors"] and citation["license"] == "MIT" and citation["message"]


@pytest.mark.parametrize("words", [["run_benchmark.py"], ["-m", "vla_bench", "run"], ["-m", "bench", "run"]])
def test_a_python_without_our_packages_gets_a_sentence(words):
    done = subprocess.run([sys.executable, "-S", *words, "policy=stub"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 1 and "Traceback" not in done.stderr, done.stderr
    (line,) = [each for each in done.stderr.splitlines() if each.startswith("error: ")]
    assert "has no package 'numpy'" in line and ("pip install" in line or ".venv/bin/python" in line)


def test_packages_of_other_names_are_known_and_modules_of_the_users_are_not_ours():
    from vla_bench.program import not_installed

    assert "has no package 'hydra'" in not_installed(ModuleNotFoundError(name="hydra.core"))
    with pytest.raises(ModuleNotFoundError):
        not_installed(ModuleNotFoundError(name="somebodys"))

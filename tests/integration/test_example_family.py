"""A family outside the packages is added by its folder and its entry points: it runs on both backends, goes on, is
compared, reported and drawn, with nothing of the repository touched."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
EXAMPLE = ROOT / "docs" / "example_family"


@pytest.fixture(scope="module")
def environment(tmp_path_factory):
    """Variables of a process in which the example is installed, from a copy, into a folder of its own."""
    folder = tmp_path_factory.mktemp("example")
    shutil.copytree(EXAMPLE, folder / "source")
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation", "--no-index"]
    subprocess.run([*pip, "--target", str(folder / "site"), str(folder / "source")], check=True, timeout=120)
    return {**os.environ, "PYTHONPATH": str(folder / "site")}


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    return tmp_path_factory.mktemp("results")


def typed(environment, *words: object) -> str:
    line = [sys.executable, str(ROOT / "run_benchmark.py"), *map(str, words)]
    done = subprocess.run(line, env=environment, capture_output=True, text=True, timeout=180, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def run(environment, results, name, *words):
    policy = () if any(word.startswith("policy=") for word in words) else ("policy=grid_walker",)
    fixed = ("benchmark=grid_world", "run.workers=1", f"run.results={results}", f"run.name={name}")
    return typed(environment, "run", *fixed, *policy, *words)


def outcomes(folder):
    from vla_bench.bench import load

    return [record.outcome() for record in load(folder).records]


def test_it_runs_the_same_on_both_backends_and_goes_on(environment, results):
    shown = run(environment, results, "local", "run.backend=local", "run.only=to_red-000,from_blue-002")
    assert "18 to run" in shown
    shown = run(environment, results, "local", "run.backend=local", "run.video=first_2")
    assert "20 of 20 episodes judged" in shown and "approach" in shown and "from_blue" in shown
    run(environment, results, "ray", "run.backend=ray")
    assert outcomes(results / "local") == outcomes(results / "ray")
    plain = json.loads((results / "local" / "summary.json").read_text())
    assert plain["rows"]["average"]["rate"] == pytest.approx(0.9)
    workers = json.loads((results / "local" / "provenance.json").read_text())["tries"][0]["workers"]
    assert set(workers[0]["packages"]) >= {"gymnasium", "numpy"}


def test_it_is_compared_reported_and_drawn(environment, results, tmp_path):
    run(environment, results, "still", "policy=stub", "run.backend=local", "run.video=first_1")
    assert (results / "still" / "videos" / "index.html").is_file()
    compared = typed(environment, "compare", results / "still", results / "local")
    assert "Walker" in compared and "from_blue" in compared
    table = typed(environment, "table", results / "local", "--format", "md")
    assert table.startswith("## Grid World") and "a random walk" in table
    typed(environment, "report", results / "local", "--output", tmp_path / "report.html")
    assert "to_green" in (tmp_path / "report.html").read_text()
    assert "layout" in typed(environment, "run", "--help")


def test_its_results_are_read_where_it_is_not_installed(results):
    from vla_bench.bench import load

    summary = load(results / "local").summary
    assert [row.name for row in summary.rows] == ["approach", "leave", "average"]


def test_its_own_tests_pass(environment):
    line = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(EXAMPLE / "tests")]
    done = subprocess.run(line, env=environment, capture_output=True, text=True, timeout=120, cwd=ROOT, check=False)
    assert done.returncode == 0 and done.stdout.startswith("......"), done.stdout

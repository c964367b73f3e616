"""The wheel, installed in an environment of its own, used from a folder that holds folders of everyday names."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest
from result_sets import chain_lengths, write_chains
from wheels import ROOT, build_wheel

POLICY = """
import numpy as np

class Mine:
    sensors = ("static",)
    def reset(self, instruction): pass
    def act(self, observation): return np.array([0, 0, -0.1, 0, 0, 0, 1.0])
"""
FIVE_STEPS = ("benchmark=calvin_smoke", "benchmark.sequences=1", "benchmark.step_limit=5", "run.workers=1")


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """The interpreter of an environment with the wheel; its dependencies are this one's, which take minutes."""
    root = tmp_path_factory.mktemp("installed")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", root / "venv"], check=True)
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    packages = root / "venv" / "lib" / version / "site-packages"
    with zipfile.ZipFile(build_wheel(root)) as wheel:
        wheel.extractall(packages)
    # A .pth file read through another one does nothing: a checkout installed there stays out of sight.
    (packages / "dependencies.pth").write_text(sysconfig.get_paths()["purelib"])
    return root / "venv" / "bin" / "python"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A user's folder: packages and plain folders of our parts' names, and modules that must not be imported."""
    folder = tmp_path_factory.mktemp("mine")
    for name in ("bench", "policies", "envs"):
        (folder / name).mkdir()
    (folder / "bench" / "__init__.py").write_text("raise SystemExit('a user's bench was imported')")
    (folder / "envs" / "__init__.py").write_text("")
    (folder / "policies" / "mine.py").write_text(POLICY)
    return folder


def type_in(folder: Path, *words: object) -> str:
    clean = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "VLA_BENCH_PROGRAM")}
    done = subprocess.run(list(map(str, words)), cwd=folder, env=clean, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    return done.stdout + done.stderr


@pytest.mark.parametrize("backend", ["local", "ray"])
def test_a_policy_of_ones_own(installed, folder, backend):
    words = (*FIVE_STEPS, "policy._target_=policies.mine.Mine", f"run.backend={backend}", f"run.name={backend}")
    said = type_in(folder, installed, "-m", "vla_bench", "run", *words, "run.video=all")
    assert "chain length 0.00" in said
    assert [path.name for path in (folder / "results" / backend / "videos").glob("*.mp4")] == ["seq-0000.mp4"]


@pytest.mark.parametrize("name", ["bench", "policies", "envs"])
def test_a_checkout_that_nobody_installed(folder, tmp_path, installed, name):
    """On Ray, whose workers have to find the package by themselves."""
    (tmp_path / name).mkdir()
    (tmp_path / name / "__init__.py").write_text("")
    (tmp_path / "mine.py").write_text(POLICY)
    bare = installed.parents[1] / "bare"
    if not bare.exists():
        subprocess.run([sys.executable, "-m", "venv", "--without-pip", bare], check=True)
        (packages,) = (bare / "lib").glob("python*/site-packages")
        (packages / "dependencies.pth").write_text(sysconfig.get_paths()["purelib"])
    backend = "ray" if name == "policies" else "local"
    words = (*FIVE_STEPS, "policy._target_=mine.Mine", f"run.backend={backend}", "run.name=it")
    said = type_in(tmp_path, bare / "bin" / "python", ROOT / "run_benchmark.py", *words)
    assert "chain length 0.00" in said


def test_results_are_compared_reported_and_put_beside_published_ones(installed, folder):
    write_chains(folder / "sets" / "base", chain_lengths(0.75, 60, seed=1))
    write_chains(folder / "sets" / "new", chain_lengths(0.88, 60, seed=2))
    both = ("sets/base", "sets/new")
    assert "new" in type_in(folder, installed, "-m", "vla_bench", "compare", *both)
    type_in(folder, installed, "-m", "vla_bench", "report", *both, "--output", "both.html")
    assert (folder / "both.html").stat().st_size > 10_000
    assert "published" in type_in(folder, installed, "-m", "vla_bench", "table", *both)

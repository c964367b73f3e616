"""What is installed: modules, presets, scenes, published numbers, templates, the command."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PARTS = {
    "vla_bench": "vla_bench",
    "bench": "vla_bench/bench",
    "policies": "vla_bench/policies",
    "envs": "vla_bench/envs",
}
DATA = {"configs": "vla_bench/configs", "results/published": "vla_bench/results/published"}
LEFT_OUT = ("vla_bench/importable", "bench/old_name")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """Built by setuptools itself from a copy of the sources: no network, and nothing left in the checkout."""
    copy = tmp_path_factory.mktemp("sources")
    ignore = shutil.ignore_patterns("__pycache__", "*.egg-info", "importable")
    for folder in (*PARTS, "configs", "results/published"):
        shutil.copytree(ROOT / folder, copy / folder, ignore=ignore)
    for file in ("pyproject.toml", "setup.py", "README.md", "LICENSE"):
        shutil.copy(ROOT / file, copy)
    build = "from setuptools.build_meta import build_wheel; print(build_wheel('dist'))"
    environment = {**os.environ, "PYTHONWARNINGS": "ignore"}
    done = subprocess.run(
        [sys.executable, "-c", build], cwd=copy, env=environment, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr[-2000:]
    with zipfile.ZipFile(next((copy / "dist").glob("*.whl"))) as archive:
        yield archive


def test_every_file_of_every_part_is_in_it(wheel):
    names = set(wheel.namelist())
    for folder, place in {**PARTS, **DATA}.items():
        files = [path for path in (ROOT / folder).rglob("*") if path.is_file() and "__pycache__" not in path.parts]
        files = [path for path in files if not str(path.relative_to(ROOT)).startswith(LEFT_OUT)]
        missing = [path for path in files if f"{place}/{path.relative_to(ROOT / folder)}" not in names]
        assert files and not missing, missing[:5]


@pytest.mark.parametrize(
    "name",
    [
        "vla_bench/py.typed",
        "vla_bench/configs/benchmark/calvin_abc_d.yaml",
        "vla_bench/envs/calvin/builtin/assets/annotations/new_playtable_validation.yaml",
    ],
)
def test_files_without_which_nothing_works(wheel, name):
    assert name in wheel.namelist()


def test_templates_and_published_numbers(wheel):
    names = wheel.namelist()
    for folder, suffix in (("bench/report", ".jinja"), ("bench/report", ".css"), ("bench/report", ".js")):
        assert any(name.startswith(f"vla_bench/{folder}/") and name.endswith(suffix) for name in names)
    assert any(name.startswith("vla_bench/results/published/") and name.endswith(".csv") for name in names)


def test_the_command_and_nothing_of_an_everyday_name(wheel):
    (entry_points,) = [name for name in wheel.namelist() if name.endswith("entry_points.txt")]
    assert "vla-bench = vla_bench.bench.cli.main:main" in wheel.read(entry_points).decode()
    assert {name.partition("/")[0].partition("-")[0] for name in wheel.namelist()} == {"vla_bench"}

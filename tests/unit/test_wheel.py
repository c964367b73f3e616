"""What is installed: modules, presets, scenes, published numbers, templates, the command."""

from __future__ import annotations

import zipfile

import pytest
from wheels import ROOT, build_wheel

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
    with zipfile.ZipFile(build_wheel(tmp_path_factory.mktemp("sources"))) as archive:
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
    assert "vla-bench = vla_bench.entry:main" in wheel.read(entry_points).decode()
    assert {name.partition("/")[0].partition("-")[0] for name in wheel.namelist()} == {"vla_bench"}

"""``vla-bench``: what people type is what is tested."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from vla_bench.envs.calvin.official.manifest import bundle_files

ASSETS = os.environ.get("CALVIN_ASSETS")
needs_assets = pytest.mark.skipif(not ASSETS, reason="CALVIN_ASSETS names no folder of official assets")


def bench(*words: str, cache: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    clean = {name: value for name, value in os.environ.items() if name != "CALVIN_ASSETS"}
    return subprocess.run(
        [sys.executable, "-m", "vla_bench", *words],
        capture_output=True,
        text=True,
        timeout=60,
        env={**clean, "XDG_CACHE_HOME": str(cache), **environment},
    )


def test_help_lists_the_commands(tmp_path):
    done = bench("--help", cache=tmp_path)
    assert done.returncode == 0 and "assets" in done.stdout and done.stderr == ""


@pytest.mark.parametrize(
    ("typed", "told"),
    [
        (("asets",), "Did you mean 'assets'?"),
        (("assets",), "fetch | check | list"),
        (("assets", "fetch", "kalvin"), "choose from"),
        (("assets", "fetch", "calvin", "--from", "/no/such/folder"), "there is no such folder"),
        (("assets", "check", "calvin"), "-m vla_bench assets fetch calvin"),
    ],
)
def test_a_mistake_is_one_line_and_exit_code_1(tmp_path, typed, told):
    done = bench(*typed, cache=tmp_path)
    assert done.returncode == 1
    assert told in done.stderr and done.stderr.startswith("error: ") and done.stderr.count("\n") == 1


def test_without_official_files_the_list_says_how_to_get_them(tmp_path):
    done = bench("assets", "list", cache=tmp_path)
    assert done.returncode == 0
    official, builtin = done.stdout.splitlines()
    assert "not usable" in official and "fetch calvin" in official
    assert builtin.startswith("calvin builtin")


@needs_assets
def test_fetch_check_alter_mend(tmp_path):
    done = bench("assets", "fetch", "calvin", "--from", ASSETS, cache=tmp_path)
    assert done.returncode == 0, done.stderr
    assert f"{len(bundle_files())} files fetched" in done.stdout
    assert "MIT" in done.stdout and "Apache-2.0" in done.stdout
    checked = bench("assets", "check", "calvin", cache=tmp_path)
    assert checked.returncode == 0 and "as they should be" in checked.stdout

    (root,) = tmp_path.glob("vla-bench/calvin-*")
    plane = root / "data/plane/plane.urdf"
    plane.write_bytes(plane.read_bytes().replace(b"plane", b"plain"))
    altered = bench("assets", "check", "calvin", cache=tmp_path)
    assert altered.returncode == 1
    assert "data/plane/plane.urdf is altered" in altered.stderr
    assert altered.stderr.strip().endswith("-m vla_bench assets fetch calvin")

    mended = bench("assets", "fetch", "calvin", "--from", ASSETS, cache=tmp_path)
    assert mended.returncode == 0 and "1 files fetched" in mended.stdout
    assert bench("assets", "check", "calvin", cache=tmp_path).returncode == 0


@needs_assets
def test_fetching_elsewhere_says_how_to_use_it(tmp_path):
    there = tmp_path / "my assets"
    done = bench("assets", "fetch", "calvin", "--from", ASSETS, "--to", str(there), cache=tmp_path)
    assert done.returncode == 0
    assert done.stdout.splitlines()[-1] == f"use it with: export CALVIN_ASSETS='{there}'"
    found = bench("assets", "check", "calvin", cache=tmp_path, CALVIN_ASSETS=str(there))
    assert found.returncode == 0

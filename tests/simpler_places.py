"""Where SimplerEnv's backends, files and recordings are on this machine, or why a test is skipped."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from vla_bench.bench.errors import UserError
from vla_bench.bench.families.simpler_python import PYTHON_VARIABLE, find_python
from vla_bench.envs.simpler import vulkan
from vla_bench.envs.simpler.assets import STAGES, VARIABLE, asset_folder

GOLDEN_VARIABLE = "SIMPLER_GOLDEN"
ROOT = Path(__file__).resolve().parent.parent


def need_vulkan() -> None:
    """Skips without a device that sapien can use."""
    try:
        vulkan.check(vulkan.probe(vulkan.settings(3)))
    except UserError as error:
        pytest.skip(str(error))


def need_assets() -> Path:
    """The asset files, or a skip."""
    try:
        return asset_folder()
    except UserError as error:
        pytest.skip(str(error))


def need_modern() -> None:
    """Skips without ManiSkill3, its files, or Vulkan."""
    if importlib.util.find_spec("mani_skill") is None:
        pytest.skip("ManiSkill3 is not installed: pip install -e '.[simpler]'")
    need_assets()
    from vla_bench.envs.simpler.modern import modern_asset_root

    try:
        modern_asset_root()
    except UserError as error:
        pytest.skip(str(error))
    need_vulkan()


def need_original() -> str:
    """The interpreter that has the original package, or a skip."""
    try:
        python = find_python({})
    except UserError as error:
        pytest.skip(str(error))
    check = "import importlib.util, sys; sys.exit(importlib.util.find_spec('mani_skill2_real2sim') is None)"
    if subprocess.run([python, "-c", check], capture_output=True, timeout=60, check=False).returncode:
        pytest.skip(f"{python} ({PYTHON_VARIABLE}) has no mani_skill2_real2sim: make simpler")
    need_assets()
    need_vulkan()
    return python


def need_recordings() -> Path:
    """The folder of recorded episodes, or a skip."""
    named = os.environ.get(GOLDEN_VARIABLE)
    if not named:
        pytest.skip(f"{GOLDEN_VARIABLE} names no folder of recorded episodes")
    return Path(named)


def warmed_copy(python: str, folder: Path) -> dict[str, str]:
    """Variables for a child whose stages are copies with their collision caches made, as recorded."""
    assets = need_assets()
    stages = folder / STAGES
    stages.mkdir(parents=True)
    for stage in (assets / STAGES).glob("*.glb*"):
        shutil.copyfile(stage, stages / stage.name)
    for name in ("custom", "real_inpainting"):
        (folder / name).symlink_to(assets / name)
    variables = {**os.environ, VARIABLE: str(folder), "PYTHONPATH": str(ROOT), "LP_NUM_THREADS": "1"}
    cold = [str(each) for each in stages.glob("*.glb") if not Path(f"{each}.nonconvex.stl").is_file()]
    subprocess.run([python, "-m", "vla_bench.envs.simpler.warm", *cold], env=variables, check=True, timeout=300)
    return variables

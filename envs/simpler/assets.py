"""Where the asset files lie, and whether they are the official ones.

The files are those of ``data/`` in ManiSkill2_real2sim ef7a4d4. ``data/official_files.txt`` has their
git object names, so that a folder can be checked without a copy to compare with.
"""

from __future__ import annotations

import functools
import hashlib
import os
from collections.abc import Iterable
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from vla_bench.envs.errors import AssetError
from vla_bench.envs.simpler.grids import STATIONS, TRIPLETS, State, Trial
from vla_bench.envs.simpler.tasks import APPLE_TASK, DRAWER_TASKS, MOVE_NEAR_TASK, MOVE_NEAR_V1_TASK
from vla_bench.envs.simpler.variants import Variant

VARIABLE = "SIMPLER_ASSETS"
ORIGINAL_VARIABLE = "MS2_REAL2SIM_ASSET_DIR"
ROBOTS_VARIABLE = "SIMPLER_ROBOTS"
"""Folder that holds ManiSkill3's ``widowx``, where ``MS_ASSET_DIR`` does not."""
REPOSITORY = "https://github.com/simpler-env/ManiSkill2_real2sim"
COMMIT = "ef7a4d4fdf4b69f2c2154db5b15b9ac8dfe10682"
STAGES = "hab2_bench_assets/stages"
PHOTOS = "real_inpainting"
MODELS = "custom/models"
CACHE_SUFFIX = ".nonconvex.stl"
"""sapien 2 writes the collision mesh of a stage beside it, rounded, and reads that from then on: the
first run of a stage differs from all later ones (by up to 3 cm after a contact)."""


def asset_folder() -> Path:
    """The folder of the files.

    Raises:
        AssetError: no variable names one, or it is not what it should be; says what to type.
    """
    for variable in (VARIABLE, ORIGINAL_VARIABLE):
        if named := os.environ.get(variable):
            folder = Path(named).expanduser().resolve()
            if not (folder / MODELS).is_dir():
                raise AssetError(
                    f"{variable} names {folder}, which has no {MODELS}; name the folder `data` of a checkout "
                    f"of {REPOSITORY}"
                )
            return folder
    default = Path("third_party/ManiSkill2_real2sim/data").resolve()
    if (default / MODELS).is_dir():
        return default
    raise AssetError(
        f"the files of SimplerEnv are not on this machine; type: make simpler   (or point {VARIABLE} at the "
        f"folder `data` of a checkout of {REPOSITORY} at {COMMIT[:7]})"
    )


@functools.cache
def official_files() -> dict[str, str]:
    """Git object name of every official file by its path below ``data/``."""
    text = resources.files("vla_bench.envs.simpler").joinpath("data/official_files.txt").read_text(encoding="utf-8")
    rows = (line.split(" ", 1) for line in text.splitlines() if line and not line.startswith("#"))
    return {path: name for name, path in rows}


@dataclass(frozen=True, slots=True)
class AssetCheck:
    """What the files that some trials need are."""

    checksum: str
    """First 16 hex digits of the SHA-256 over paths and contents, caches of collision meshes included."""
    altered: tuple[str, ...]
    """Needed files that are missing or not the official ones, and others in their place."""

    @property
    def name(self) -> str:
        """``official``, or ``stand-in`` when any file is not."""
        return "stand-in" if self.altered else "official"


def check_assets(trials: Iterable[Trial], folder: Path, *, caches: bool) -> AssetCheck:
    """Compares every file that the trials need with the official one.

    Args:
        trials: what is going to be run.
        folder: from :func:`asset_folder`.
        caches: whether collision meshes left beside the stages matter (sapien 2 reads them).

    Raises:
        AssetError: a stage, a model or a photo is not there at all.
    """
    trials = tuple(trials)
    total = hashlib.sha256()
    altered: list[str] = []
    for path in needed_paths(trials, folder, caches=caches):
        file = folder / path
        if not file.is_file():
            altered.append(path)
            continue
        content = file.read_bytes()
        total.update(f"{path}\0{len(content)}\0".encode())
        total.update(content)
        if not path.endswith(CACHE_SUFFIX) and official_files().get(path) != git_name(content):
            altered.append(path)
    return AssetCheck(total.hexdigest()[:16], tuple(altered))


def needed_paths(trials: Iterable[Trial], folder: Path, *, caches: bool) -> tuple[str, ...]:
    """Paths below the folder that the trials read, official ones and those that stand in for them.

    ``caches`` adds the collision caches there are. AssetError: a file without which nothing can be built.
    """
    trials = tuple(trials)
    needed: set[str] = set()
    for stage in {trial.variant.scene for trial in trials if not trial.variant.scene.startswith("dummy")}:
        path = f"{STAGES}/{stage}.glb"
        _require(folder, path, REPOSITORY)
        cached = caches and (folder / (path + CACHE_SUFFIX)).is_file()
        needed |= {path, path + CACHE_SUFFIX} if cached else {path}
    for trial in trials:
        if trial.variant.photo:
            needed.add(f"{PHOTOS}/{photo_file(trial.variant, trial.state)}")
        if trial.task in DRAWER_TASKS or trial.task == APPLE_TASK:
            station = trial.variant.arguments.get("station_name", "mk_station")
            needed.add(f"custom/{station}.urdf")
    for path in sorted(needed):
        _require(folder, path, REPOSITORY)
    models = {model for trial in trials for model in models_of(trial)}
    known = official_files()
    for model in models:
        _require(folder, f"{MODELS}/{model}/collision.obj", REPOSITORY)
        prefix = f"{MODELS}/{model}/"
        here = {file.relative_to(folder).as_posix() for file in (folder / prefix).iterdir() if file.is_file()}
        needed |= {path for path in known if path.startswith(prefix) and path.count("/") == 3} | here
    needed |= {f"custom/{name}" for name in _databases(trials)}
    return tuple(sorted(needed))


def models_of(trial: Trial) -> tuple[str, ...]:
    """Models on the table or in the drawer of a trial."""
    task, variant = trial.task, trial.variant
    models = list(task.objects)
    if task.sink:
        models.append("sink")
    if task in (MOVE_NEAR_TASK, MOVE_NEAR_V1_TASK):
        suffix = "_v2" if task == MOVE_NEAR_V1_TASK else ""
        plain = {"blue_plastic_bottle", "orange"}
        named = {model for triplet in TRIPLETS for model in triplet}
        models += [model if model in plain or not variant.photo else f"baked_{model}{suffix}" for model in named]
    if task == APPLE_TASK:
        models.append(str(variant.arguments["model_ids"]))
    if variant.name == "distractors_less":
        models += ["opened_pepsi_can", "apple", "sponge", "orange"]
    if variant.name == "distractors_more":
        models += ["opened_7up_can", "opened_sprite_can", "sponge", "orange", "opened_fanta_can"]
        models += ["bridge_spoon_generated_modified"]
    return tuple(models)


def _databases(trials: Iterable[Trial]) -> set[str]:
    names = set()
    for trial in trials:
        environment = trial.variant.environment or trial.task.environment
        if trial.task.name == "widowx_stack_cube":
            names.add("info_bridge_custom_baked_tex_v0.json")
        elif trial.task.robot.name == "widowx":
            names.add("info_bridge_custom_v0.json")
        elif trial.task == APPLE_TASK or environment == "MoveNearGoogleBakedTexInScene-v1":
            names.add("info_pick_custom_baked_tex_v1.json")
        elif environment == "MoveNearGoogleBakedTexInScene-v0":
            names.add("info_pick_custom_baked_tex_v0.json")
        else:
            names.add("info_pick_custom_v0.json")
    return names


def photo_file(variant: Variant, state: State) -> str:
    """File name of the photo behind a trial; empty when there is none."""
    station = STATIONS[int(state["station"][0])].name if "station" in state else ""
    return variant.photo.format(station=station)


def git_name(content: bytes) -> str:
    """The name git gives a file's content."""
    return hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()


def _require(folder: Path, path: str, source: str) -> None:
    if not (folder / path).is_file():
        raise AssetError(f"{folder} lacks {path}; copy it from data/ of {source} at {COMMIT[:7]}")

"""SimplerEnv's evaluation protocols: the trials of its paper, each an episode judged at its last step.

A trial is run to its step limit whatever happens, and succeeds when its rule holds after the last step;
``ever`` is recorded beside it. The apple task is an episode of two subtasks of which the last counts.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from vla_bench import start
from vla_bench.bench.errors import ConfigError, suggestion
from vla_bench.bench.protocol import EpisodeSpec, EvaluationProtocol
from vla_bench.bench.setup.config import BenchmarkConfig
from vla_bench.bench.setup.plan import Plan, policy_facts
from vla_bench.envs.errors import AssetError, RendererError
from vla_bench.envs.simpler import vulkan
from vla_bench.envs.simpler.assets import (
    CACHE_SUFFIX,
    STAGES,
    VARIABLE,
    AssetCheck,
    asset_folder,
    check_assets,
)
from vla_bench.envs.simpler.family import BACKENDS, MODERN_NOTE
from vla_bench.envs.simpler.grids import SETS, Trial
from vla_bench.envs.simpler.tasks import APPLE_TASK
from vla_bench.envs.simulation import EnvironmentSpec, EpisodeStart, SimulationSpec
from vla_bench.policies.base import PolicySpec

OPTIONS: Mapping[str, tuple[Any, ...] | type] = {
    "set": tuple(SETS),
    "backend": BACKENDS,
    "trials": int,
    "cameras": bool,
    "advance": ("official", "robovlms"),
    "allow_rasterised_drawers": bool,
    "python": str,
}
"""What ``benchmark.options`` may hold: choices, or a type. ``set``: bridge, visual_matching or
variant_aggregation. ``trials``: the first so many of each task and variant. ``cameras``: the camera
variants too, which no mean counts. ``advance``: when the apple task goes on to its second subtask.
``python``: interpreter of the simpler_env backend."""

PYTHON_VARIABLE = "SIMPLER_PYTHON"
DEFAULT_PYTHON = Path(".venv-simpler/bin/python")
RASTERISED = "drawers rasterised where the paper's are path-traced: not comparable with published SimplerEnv numbers"
WARM_SECONDS = 300


def plan(benchmark: BenchmarkConfig, policy: PolicySpec, environment: EnvironmentSpec) -> Plan:
    """The trials, and how to build the simulation they run in.

    Raises:
        ConfigError: an unknown task or option, or one that the backend does not have.
        AssetError, RendererError: files, interpreter or a usable Vulkan device are not there.
    """
    options = _options(benchmark)
    backend = options.get("backend", BACKENDS[0])
    trials = _trials(benchmark, options)
    python = find_python(options) if backend == "simpler_env" else ""
    folder = asset_folder()
    if backend == "simpler_env":
        _warm(trials, folder, python)
    assets = check_assets(trials, folder, caches=backend == "simpler_env")
    looks = bool(policy.sensors.cameras)
    ray_traced = looks and _ray_traced(trials, options)
    renderer = _renderer(backend, ray_traced) if looks else "none"
    advance = options.get("advance", "official")
    facts = {
        "family": "simpler",
        "kind": "tasks",
        "set": options.get("set", "bridge"),
        "backend": backend,
        "assets": assets.name,
        "assets_checksum": assets.checksum,
        "renderer": renderer,
        **({"advance": advance} if any(trial.task == APPLE_TASK for trial in trials) else {}),
        **policy_facts(policy, environment),
    }
    rasterised = looks and not ray_traced and any(trial.variant.ray_traced for trial in trials)
    return Plan(
        protocol=EvaluationProtocol(f"simpler-{facts['set']}", facts, _episodes(trials, benchmark)),
        simulation=SimulationSpec(
            "simpler",
            {
                "set": facts["set"],
                "backend": backend,
                "advance": advance,
                "ray_traced": ray_traced,
            },
        ),
        environment=environment,
        notes=tuple(_notes(backend, assets, rasterised)),
        python=python,
    )


def _options(benchmark: BenchmarkConfig) -> dict[str, Any]:
    _refuse_fields(benchmark)
    options = dict(benchmark.options)
    for name, value in options.items():
        if name not in OPTIONS:
            raise ConfigError(
                f"benchmark.options has no {name!r} in SimplerEnv.{suggestion(name, OPTIONS)} "
                f"It has {', '.join(OPTIONS)}"
            )
        wanted = OPTIONS[name]
        if isinstance(wanted, tuple):
            if value not in wanted:
                raise ConfigError(
                    f"benchmark.options.{name}={value} is not one of {', '.join(wanted)}."
                    f"{suggestion(str(value), wanted)}"
                )
        elif not isinstance(value, wanted) or (wanted is int and isinstance(value, bool)):
            kinds = {int: "a whole number", bool: "true or false", str: "text"}
            raise ConfigError(f"benchmark.options.{name}={value}: {kinds[wanted]} is wanted")
    return options


def _refuse_fields(benchmark: BenchmarkConfig) -> None:
    """Fields of other families that have been set would be ignored silently."""
    default = BenchmarkConfig()
    for name, instead in (
        ("scenes", "the set has its own variants"),
        ("sequences", "type benchmark.options.trials=<n>"),
        ("rollouts", "type benchmark.options.trials=<n>"),
        ("renderer", "the Vulkan device decides"),
        ("assets", f"{VARIABLE} says where the files are"),
    ):
        if getattr(benchmark, name) != getattr(default, name):
            raise ConfigError(f"benchmark.{name} has no meaning in SimplerEnv: {instead}")
    if benchmark.kind != "tasks":
        raise ConfigError(f"benchmark.kind={benchmark.kind}: SimplerEnv has single tasks; type benchmark.kind=tasks")


def _trials(benchmark: BenchmarkConfig, options: Mapping[str, Any]) -> tuple[Trial, ...]:
    chosen = SETS[options.get("set", "bridge")]
    known = {task.name for task in chosen.tasks}
    reported = {task.reported for task in chosen.tasks}
    for name in benchmark.tasks:
        if name not in known | reported:
            raise ConfigError(
                f"benchmark.tasks: the set {chosen.name} has no task {name!r}."
                f"{suggestion(name, known | reported)} Tasks: {', '.join(sorted(known))}"
            )
    wanted = set(benchmark.tasks) or known
    trials = tuple(
        trial
        for trial in chosen.trials(cameras=bool(options.get("cameras", False)))
        if trial.task.name in wanted or trial.task.reported in wanted
    )
    if options.get("backend") == "maniskill3" and (missing := [t for t in trials if not t.task.modern]):
        raise ConfigError(
            f"ManiSkill3 has no {missing[0].task.name}, only the WidowX tasks; type "
            "benchmark.options.backend=simpler_env, or benchmark=simpler_bridge"
        )
    first = options.get("trials", 0)
    if first < 0:
        raise ConfigError(f"benchmark.options.trials={first}: must be at least 1, or 0 for all")
    return tuple(trial for trial in trials if not first or trial.number < first)


def _episodes(trials: Sequence[Trial], benchmark: BenchmarkConfig) -> tuple[EpisodeSpec, ...]:
    return tuple(
        EpisodeSpec(
            index=index,
            episode=trial.name,
            start=EpisodeStart(trial.variant.name, trial.state, trial.task.name),
            subtasks=trial.task.subtasks,
            instructions=trial.instructions,
            step_limit=min(trial.task.step_limit, benchmark.step_limit),
            judged="last",
        )
        for index, trial in enumerate(trials)
    )


def _ray_traced(trials: Sequence[Trial], options: Mapping[str, Any]) -> bool:
    """Whether to path-trace; asks for leave to do without."""
    traced = [trial for trial in trials if trial.variant.ray_traced]
    if not traced or options.get("allow_rasterised_drawers", False):
        return False
    if not vulkan.has_denoiser():
        raise RendererError(
            f"{traced[0].task.name} is path-traced in the paper, which takes NVIDIA's OptiX denoiser "
            "(libnvoptix.so.1), and this machine has none. Type "
            "benchmark.options.allow_rasterised_drawers=true to rasterise it (the table is marked), or leave "
            "the drawers out with benchmark.tasks="
        )
    return True


def _renderer(backend: str, ray_traced: bool) -> str:
    """What the record says of the renderer; found out here as on a worker, in a child process."""
    device = vulkan.probe(vulkan.settings(3))
    vulkan.check(device)
    shader = "default" if backend == "maniskill3" else "rt" if ray_traced else "ibl"
    return vulkan.renderer_name(device, shader)


def find_python(options: Mapping[str, Any]) -> str:
    """The interpreter that has the original package; ConfigError: there is none."""
    named = str(options.get("python") or os.environ.get(PYTHON_VARIABLE) or "")
    repository = Path(__file__).resolve().parents[2]
    places = [Path(named).expanduser()] if named else [DEFAULT_PYTHON.absolute(), repository / DEFAULT_PYTHON]
    for place in places:
        if place.is_file():
            return str(place)
    if named:
        raise ConfigError(f"there is no interpreter {named} (benchmark.options.python, {PYTHON_VARIABLE})")
    raise ConfigError(
        "the original SimplerEnv is not installed; type: make simpler   (its own environment, some minutes), "
        "or benchmark.options.backend=maniskill3 for the WidowX tasks on ManiSkill3"
    )


def _warm(trials: Sequence[Trial], folder: Path, python: str) -> None:
    """Makes the collision caches that sapien 2 would otherwise make in the middle of the first run."""
    stages = {trial.variant.scene for trial in trials if not trial.variant.scene.startswith("dummy")}
    cold = [folder / STAGES / f"{stage}.glb" for stage in sorted(stages)]
    cold = [stage for stage in cold if stage.is_file() and not Path(f"{stage}{CACHE_SUFFIX}").is_file()]
    if not cold or not os.access(cold[0].parent, os.W_OK):
        return  # a read-only folder never gets a cache, so every run of it is a first one: the same, too
    done = subprocess.run(
        start.command("vla_bench.envs.simpler.warm", *cold, python=python),
        env={**os.environ, "PYTHONSAFEPATH": "1"},
        capture_output=True,
        text=True,
        timeout=WARM_SECONDS,
        check=False,
    )
    if done.returncode:
        last = done.stderr.strip().rpartition("\n")[2]
        raise AssetError(
            f"{python} cannot load the stages in {folder / STAGES} ({last or done.returncode}); type: make simpler"
        )


def _notes(backend: str, assets: AssetCheck, rasterised: bool) -> list[str]:
    notes = []
    if assets.altered:
        named = ", ".join(assets.altered[:3]) + (", …" if len(assets.altered) > 3 else "")
        notes.append(
            f"{len(assets.altered)} asset files are not the official ones ({named}): not comparable with "
            "published SimplerEnv numbers"
        )
    if backend == "maniskill3":
        notes.append(MODERN_NOTE)
    if rasterised:
        notes.append(RASTERISED)
    return notes

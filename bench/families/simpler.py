"""SimplerEnv's evaluation protocols: the trials of its paper, each an episode judged at its last step.

A trial is run to its step limit whatever happens, and succeeds when its rule holds after the last step;
``ever`` is recorded beside it. The apple task is an episode of two subtasks of which the last counts.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from vla_bench import start
from vla_bench.bench.errors import ConfigError, suggestion
from vla_bench.bench.families import simpler_checks
from vla_bench.bench.families.family import BenchmarkConfig, Command, Family, Mend, Plan, PublishedRow
from vla_bench.bench.families.published import rows_of
from vla_bench.bench.families.simpler_python import find_python
from vla_bench.bench.families.simpler_score import score_of_records, score_of_trials
from vla_bench.bench.protocol import EpisodeSpec, EvaluationProtocol
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


@dataclass(frozen=True, slots=True)
class SimplerOptions:
    """What can be chosen of SimplerEnv."""

    set: Literal["bridge", "visual_matching", "variant_aggregation"] = "bridge"
    """Set of trials: WidowX, or Google Robot before photos or in changed scenes."""
    backend: Literal["simpler_env", "maniskill3"] = "simpler_env"
    """The original package, or ManiSkill3, which has the WidowX tasks only."""
    trials: int = 0
    """The first so many of each task and variant; 0 means all."""
    cameras: bool = False
    """Run the camera variants too, which no mean counts."""
    advance: Literal["official", "robovlms"] = "official"
    """When the apple task goes on to its second subtask."""
    allow_rasterised_drawers: bool = False
    """Draw drawers without ray tracing where there is none; the table is marked."""
    python: str = ""
    """Interpreter of the original package; SIMPLER_PYTHON or .venv-simpler unless given."""

    def __post_init__(self) -> None:
        if self.trials < 0:
            raise ConfigError(f"benchmark.options.trials={self.trials}: must be at least 1, or 0 for all")


RASTERISED = "drawers rasterised where the paper's are path-traced: not comparable with published SimplerEnv numbers"
WARM_SECONDS = 300


def plan(benchmark: BenchmarkConfig, policy: PolicySpec, environment: EnvironmentSpec) -> Plan:
    """The trials, and how to build the simulation they run in.

    Raises:
        ConfigError: an unknown task or option, or one that the backend does not have.
        AssetError, RendererError: files, interpreter or a usable Vulkan device are not there.
    """
    del environment
    options: SimplerOptions = benchmark.options
    backend = options.backend
    trials = _trials(benchmark)
    python = find_python({"python": options.python}) if backend == "simpler_env" else ""
    folder = asset_folder()
    if backend == "simpler_env":
        _warm(trials, folder, python)
    assets = check_assets(trials, folder, caches=backend == "simpler_env")
    looks = bool(policy.sensors.cameras)
    ray_traced = looks and _ray_traced(trials, options)
    facts = {
        "set": options.set,
        "backend": backend,
        "assets": assets.name,
        "assets_checksum": assets.checksum,
        "renderer": _renderer(backend, ray_traced) if looks else "none",
        **({"advance": options.advance} if any(trial.task == APPLE_TASK for trial in trials) else {}),
    }
    rasterised = looks and not ray_traced and any(trial.variant.ray_traced for trial in trials)
    return Plan(
        protocol=EvaluationProtocol(
            f"simpler-{options.set}", facts, _episodes(trials, benchmark), score_of_trials(trials)
        ),
        simulation=SimulationSpec(
            "simpler",
            {
                "set": options.set,
                "backend": backend,
                "advance": options.advance,
                "ray_traced": ray_traced,
            },
        ),
        notes=tuple(_notes(backend, assets, rasterised)),
        python=python,
    )


def _trials(benchmark: BenchmarkConfig) -> tuple[Trial, ...]:
    options: SimplerOptions = benchmark.options
    chosen = SETS[options.set]
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
        for trial in chosen.trials(cameras=options.cameras)
        if trial.task.name in wanted or trial.task.reported in wanted
    )
    if options.backend == "maniskill3" and (missing := [t for t in trials if not t.task.modern]):
        raise ConfigError(
            f"ManiSkill3 has no {missing[0].task.name}, only the WidowX tasks; type "
            "benchmark.options.backend=simpler_env, or benchmark=simpler_bridge"
        )
    return tuple(trial for trial in trials if not options.trials or trial.number < options.trials)


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


def _ray_traced(trials: Sequence[Trial], options: SimplerOptions) -> bool:
    """Whether to path-trace; asks for leave to do without."""
    traced = [trial for trial in trials if trial.variant.ray_traced]
    if not traced or options.allow_rasterised_drawers:
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


def interpreter(options: Mapping[str, Any]) -> str:
    """Of a simulation with these options. ConfigError: there is none."""
    return find_python(options) if options.get("backend", BACKENDS[0]) == "simpler_env" else ""


ROBOTS = {"bridge": "widowx_bridge", "visual_matching": "google_robot"}
"""Our names of the sets, and those of the file of published numbers."""
NO_COUNT = "published without its number of trials, so without an interval; read off a bar chart"


def published(header: Mapping[str, Any]) -> list[PublishedRow]:
    """The published bars of the run's set, best first; none for a set without any."""
    wanted = ROBOTS.get(header["protocol"]["facts"].get("set", ""))
    found = [
        PublishedRow(row["method"], row["source"], success=float(row["average_success"]), notes=(NO_COUNT,))
        for row in rows_of("simpler.csv")
        if row["robot"] == wanted
    ]
    return sorted(found, key=lambda each: -(each.success or 0.0))


def _fetch_vulkan() -> str:
    from vla_bench.envs.simpler.software_vulkan import fetch_software_vulkan

    return f"software Vulkan driver: {fetch_software_vulkan()}"


FAMILY = Family(
    name="simpler",
    title="SimplerEnv",
    options=SimplerOptions,
    plan=plan,
    environment=lambda options: {"set": options.set, "backend": options.backend},
    unused={
        "scenes": "the set has its own variants",
        "sequences": "type benchmark.options.trials=<n>",
        "rollouts": "type benchmark.options.trials=<n>",
        "renderer": "the Vulkan device decides",
        "assets": f"{VARIABLE} says where the files are",
    },
    packages=("numpy", "scipy", "gymnasium", "sapien", "mani_skill", "mani_skill2_real2sim", "torch", "pillow"),
    interpreter=interpreter,
    published=published,
    old_score=score_of_records,
    checks=simpler_checks.CHECKS,
    variables=(VARIABLE,),
    mends=(
        Mend(
            "fetch-vulkan",
            "fetch Mesa's software driver from Debian (11 MB) into the cache; installs nothing",
            _fetch_vulkan,
        ),
    ),
    commands=(
        Command(
            "simpler",
            "show SimplerEnv result sets as its paper does, against real robots",
            "vla_bench.bench.families.simpler_command",
        ),
    ),
)

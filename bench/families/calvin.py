"""CALVIN's evaluation protocols: the official chains of five, and the task suite.

Chains: each sequence is reset once, to its official state in scene D; a subtask is judged against
the state at its own start; the chain ends at the first failure; nothing but the policy is reset
between subtasks (``evaluate_policy.py`` of calvin fa03f01).
"""

from __future__ import annotations

from collections.abc import Sequence

from vla_bench.bench.errors import ConfigError, suggestion
from vla_bench.bench.protocol import EpisodeSpec, EvaluationProtocol
from vla_bench.bench.setup.config import BenchmarkConfig
from vla_bench.bench.setup.plan import Plan, policy_facts
from vla_bench.envs.calvin.bundle import AssetBundle, find_bundle
from vla_bench.envs.calvin.family import BACKENDS
from vla_bench.envs.calvin.initial_states import initial_state
from vla_bench.envs.calvin.renderers import choice_of_auto, resolve_renderer
from vla_bench.envs.calvin.sequences import official_sequences
from vla_bench.envs.calvin.tasks import TASKS
from vla_bench.envs.simulation import EnvironmentSpec, SimulationSpec
from vla_bench.policies.base import PolicySpec

OPTIONS = {"history": ("fresh", "official"), "backend": BACKENDS}
"""What ``benchmark.options`` may hold, and the values; the first is the default."""
NOT_COMPARABLE = "built-in assets: not comparable with published CALVIN numbers"
RENDERER_NOTES = {
    "tiny": "rendered by TinyRenderer, which looks visibly different from the EGL images of CALVIN's data",
    "fast": "rendered by our own software renderer, within about 1 of 255 of EGL's images on average",
}
SOFTWARE_EGL = "rendered by EGL on a software driver ({driver}); CALVIN's data were rendered on a GPU"


def plan(benchmark: BenchmarkConfig, policy: PolicySpec, environment: EnvironmentSpec) -> Plan:
    """The episodes, and how to build the simulation they run in.

    Raises:
        ConfigError: an unknown task or option, or a task without stored states.
        EnvironmentFault: the files, the renderer or the original environment are not there.
    """
    options = _options(benchmark)
    bundle = find_bundle(benchmark.assets)
    renderer = _renderer(benchmark, options["backend"]) if policy.sensors.cameras else "none"
    episodes = _chains(benchmark, bundle) if benchmark.kind == "chains" else _suite(benchmark, bundle)
    facts = {
        "family": "calvin",
        "kind": benchmark.kind,
        "assets": bundle.name,
        "assets_checksum": bundle.checksum,
        "renderer": renderer,
        **({"starts": benchmark.starts} if benchmark.kind == "tasks" else {}),
        **options,
        **policy_facts(policy, environment),
    }
    notes = [NOT_COMPARABLE] if bundle.name == "builtin" else []
    if benchmark.renderer == "auto" and renderer == "tiny" and options["backend"] != "calvin_env":
        notes += [choice_of_auto(renderer)]
    notes += _renderer_notes(renderer)
    return Plan(
        protocol=EvaluationProtocol(f"calvin-{benchmark.kind}", facts, episodes),
        simulation=SimulationSpec(
            "calvin",
            {
                "assets": bundle.name,
                "renderer": "auto" if renderer == "none" else renderer,
                **options,
            },
        ),
        environment=environment,
        notes=tuple(notes),
    )


def _options(benchmark: BenchmarkConfig) -> dict[str, str]:
    """Every option with its value, checked."""
    for name in benchmark.options:
        if name not in OPTIONS:
            known = ", ".join(f"{option}={'|'.join(values)}" for option, values in OPTIONS.items())
            raise ConfigError(f"benchmark.options has no {name!r} in CALVIN.{suggestion(name, OPTIONS)} It has {known}")
    chosen = {name: str(benchmark.options.get(name, values[0])) for name, values in OPTIONS.items()}
    for name, value in chosen.items():
        if value not in OPTIONS[name]:
            raise ConfigError(
                f"benchmark.options.{name}={value} is not one of {', '.join(OPTIONS[name])}."
                f"{suggestion(value, OPTIONS[name])}"
            )
    if chosen["backend"] == "calvin_env":
        from vla_bench.envs.calvin.reference import check_installed

        check_installed()
    return chosen


def _renderer(benchmark: BenchmarkConfig, backend: str) -> str:
    if backend == "calvin_env":
        from vla_bench.envs.calvin import reference

        return reference.resolve_renderer(benchmark.renderer)
    return resolve_renderer(benchmark.renderer)


def _renderer_notes(renderer: str) -> list[str]:
    if renderer == "egl":
        from vla_bench.envs.calvin.renderers.egl_plugin import probe

        driver = probe()
        return [SOFTWARE_EGL.format(driver=driver.renderer)] if driver.software else []
    return [RENDERER_NOTES[renderer]] if renderer in RENDERER_NOTES else []


def _chains(benchmark: BenchmarkConfig, bundle: AssetBundle) -> tuple[EpisodeSpec, ...]:
    return tuple(
        EpisodeSpec(
            index=index,
            episode=f"seq-{index:04d}",
            start=initial_state(sequence.condition),
            subtasks=sequence.subtasks,
            instructions=tuple(bundle.instructions[task] for task in sequence.subtasks),
            step_limit=benchmark.step_limit,
        )
        for index, sequence in enumerate(official_sequences()[: benchmark.sequences])
    )


def _suite(benchmark: BenchmarkConfig, bundle: AssetBundle) -> tuple[EpisodeSpec, ...]:
    from vla_bench.envs.calvin.task_suite import suite_clusters, suite_states

    cells = [
        (scene, task, rollout, start, cluster)
        for scene in benchmark.scenes
        for task in _tasks(benchmark.tasks)
        for rollout, (start, cluster) in enumerate(
            zip(
                _first(suite_states(scene, task, benchmark.starts), benchmark),
                suite_clusters(scene, task, benchmark.starts),
                strict=False,
            )
        )
    ]
    return tuple(
        EpisodeSpec(
            index=index,
            episode=f"{scene}-{task}-{rollout:03d}",
            start=start,
            subtasks=(task,),
            instructions=(bundle.instructions[task],),
            step_limit=benchmark.step_limit,
            cluster=cluster,
        )
        for index, (scene, task, rollout, start, cluster) in enumerate(cells)
    )


def _tasks(names: Sequence[str]) -> tuple[str, ...]:
    for name in names:
        if name not in TASKS:
            raise ConfigError(
                f"benchmark.tasks: CALVIN has no task {name!r}.{suggestion(name, TASKS)} Tasks: {', '.join(TASKS)}"
            )
    return tuple(names) or tuple(TASKS)


def _first(states: Sequence, benchmark: BenchmarkConfig) -> Sequence:
    if benchmark.rollouts > len(states):
        raise ConfigError(
            f"benchmark.rollouts={benchmark.rollouts}: the task suite holds {len(states)} states per task and scene "
            f"with starts={benchmark.starts}"
        )
    return states[: benchmark.rollouts]

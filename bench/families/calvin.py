"""CALVIN's evaluation protocols: the official chains of five, and the task suite.

Chains: each sequence is reset once, to its official state in scene D; a subtask is judged against
the state at its own start; the chain ends at the first failure; nothing but the policy is reset
between subtasks (``evaluate_policy.py`` of calvin fa03f01).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from vla_bench.bench.errors import ConfigError, at_least
from vla_bench.bench.families import calvin_assets, calvin_checks
from vla_bench.bench.families.calvin_data import DATA
from vla_bench.bench.families.calvin_frames import CalvinFrames, arm_of
from vla_bench.bench.families.calvin_instructions import instruction_set
from vla_bench.bench.families.calvin_sequences import OFFICIAL, SequenceSet, sequence_set
from vla_bench.bench.families.family import BenchmarkConfig, Family, Plan, PublishedRow, option, refuse_task
from vla_bench.bench.families.published import rows_of
from vla_bench.bench.protocol import EpisodeRecord, EpisodeSpec, EvaluationProtocol
from vla_bench.bench.score import chains, pooled
from vla_bench.envs.calvin.bundle import AssetBundle, find_bundle
from vla_bench.envs.calvin.initial_states import initial_state
from vla_bench.envs.calvin.robot import ACTIONS
from vla_bench.envs.calvin.sequence_generator import MOST_SEED
from vla_bench.envs.calvin.task_suite import HELD_TASKS
from vla_bench.envs.calvin.tasks import TASKS
from vla_bench.envs.simulation import EnvironmentSpec, EpisodeStart, SimulationSpec
from vla_bench.envs.stress.levels import START, WORLD, Stress
from vla_bench.policies.base import PolicySpec

if TYPE_CHECKING:
    import numpy as np

NOT_COMPARABLE = "built-in assets: not comparable with published CALVIN numbers"
RENDERER_NOTES = {
    "tiny": "rendered by TinyRenderer, which looks visibly different from the EGL images of CALVIN's data",
    "fast": "rendered by our own software renderer, within about 1 of 255 of EGL's images on average",
}
SOFTWARE_EGL = "rendered by EGL on a software driver ({driver}); CALVIN's data were rendered on a GPU"
SPLITS = {"ABC": "ABC_D", "ABCD": "ABCD_D"}
"""Our names of the training splits, and those of the file of published numbers."""
CHAIN = 5
"""Subtasks of an official sequence."""
OFFICIAL_RENDERERS = ("egl", "none")
"""Renderers of published numbers; ``none``: the policy never looks."""
UNLIKE = {
    "reset_each_subtask": (
        "unlike the protocol: the scene is set back to the sequence's start before every subtask (reset_each_subtask)"
    ),
    "use_target_pose": (
        "unlike the protocol: relative actions start from the measured tool pose, not from the accumulated target "
        "(use_target_pose=false)"
    ),
}
"""What is said of switches that some published evaluations had; facts only where they are not as the protocol has
them."""
SWITCHES = ("history", "backend")
"""Options that are handed to the simulation as they are, and are facts of the protocol."""


@dataclass(frozen=True, slots=True)
class CalvinOptions:
    """What can be chosen of CALVIN; every field but ``split`` may change a number."""

    split: Literal["D", "ABC", "ABCD", "none"] = "none"
    """Scenes the checkpoint was trained on; recorded, never changes what is run."""
    scenes: tuple[str, ...] = ("D",)
    """Scenes of the evaluation, out of A,B,C,D; chains are defined in D only."""
    sequences: int = option(OFFICIAL, kind="chains", instead="benchmark.rollouts=<tries of each task and scene>")
    """chains: how many; the first n of the 1000 official sequences, unless another set is named."""
    sequence_set: Literal["official", "generated"] = option("official", kind="chains", instead="benchmark.kind=chains")
    """chains: generated is what the original's get_sequences(n) returns, which is not the first n of the 1000."""
    sequence_seed: int = option(0, kind="chains", instead="benchmark.kind=chains")
    """chains: seed of sequence_set=generated; the original's is 0."""
    sequence_file: str = option("", kind="chains", instead="benchmark.kind=chains")
    """chains: sequences of a file instead, e.g. RoboVLMs' eval_sequences.json."""
    instructions: str = ""
    """Texts of a file for the tasks: {task: text or texts}, or RoboFlamingo's lang_annotation_cache.json."""
    instruction_seed: int | None = None
    """Draw one of a task's several texts, of that file or of the official annotation; null takes the first."""
    rollouts: int = option(10, kind="tasks", instead="benchmark.sequences=<n>")
    """tasks: tries per task and scene."""
    starts: Literal["varied", "fixed"] = option("varied", kind="tasks", instead="benchmark=calvin_tasks")
    """tasks: the arm starts where chains leave it, or in one resting pose as in version 0.1."""
    assets: Literal["official", "builtin"] = "official"
    """Asset bundle: the official play tables, or the one shipped here (no download)."""
    renderer: Literal["auto", "tiny", "egl", "fast"] = "auto"
    """Renderer of the cameras; auto takes the best there is and records which."""
    history: Literal["fresh", "official"] = "fresh"
    """What a reset leaves behind: fresh is nothing, official what the original environment leaves."""
    backend: Literal["native", "calvin_env"] = "native"
    """Implementation of the environment: ours, or the original package where it is installed."""
    reset_each_subtask: bool = option(False, kind="chains", instead="benchmark.kind=chains")
    """chains: set the scene back to the sequence's start before each subtask; unlike the protocol."""
    use_target_pose: bool = True
    """false: relative actions start from the measured tool pose; unlike the protocol."""

    def __post_init__(self) -> None:
        at_least("benchmark.sequences", self.sequences, 1)
        at_least("benchmark.rollouts", self.rollouts, 1)
        at_least("benchmark.sequence_seed", self.sequence_seed, 0)
        if self.instruction_seed is not None:
            at_least("benchmark.instruction_seed", self.instruction_seed, 0)
        if self.sequence_seed > MOST_SEED:
            raise ConfigError(f"benchmark.sequence_seed={self.sequence_seed}: at most {MOST_SEED}")
        for scene in self.scenes:
            if scene not in ("A", "B", "C", "D"):
                raise ConfigError(f"benchmark.scenes: there is no scene {scene!r}; scenes are A, B, C, D")
        if not self.scenes or len(set(self.scenes)) != len(self.scenes):
            raise ConfigError("benchmark.scenes: name at least one scene, each once")


_DEFAULTS = {each.name: each.default for each in dataclasses.fields(CalvinOptions)}
RELATIVE = ACTIONS[0].name


def check(benchmark: BenchmarkConfig) -> None:
    """ConfigError for what chains do not have."""
    options: CalvinOptions = benchmark.options
    if benchmark.kind != "chains":
        return
    if options.scenes != ("D",):
        raise ConfigError(
            f"benchmark.scenes={','.join(options.scenes)}: the sequences are defined in scene D only. "
            "Drop the field, or type benchmark=calvin_tasks to evaluate single tasks elsewhere."
        )
    if options.sequence_file and options.sequence_set != "official":
        raise ConfigError("benchmark.sequence_file is a set of its own; drop benchmark.sequence_set")
    if options.sequence_seed and options.sequence_set != "generated":
        raise ConfigError("benchmark.sequence_seed is for newly drawn ones: type benchmark.sequence_set=generated too")
    if options.sequences > OFFICIAL and options.sequence_set == "official" and not options.sequence_file:
        sequence_set("official", "", 0, options.sequences)
    if benchmark.tasks:
        raise ConfigError(
            f"benchmark.tasks={','.join(benchmark.tasks)}: a sequence has its own five. Drop it, or type "
            "benchmark=calvin_tasks to evaluate single tasks"
        )


def plan(benchmark: BenchmarkConfig, policy: PolicySpec, environment: EnvironmentSpec) -> Plan:
    """The episodes, and how to build the simulation they run in.

    Raises:
        ConfigError: an unknown task, or one without stored states.
        EnvironmentFault: the files, the renderer or the original environment are not there.
    """
    del environment
    options: CalvinOptions = benchmark.options
    if options.backend == "calvin_env":
        from vla_bench.envs.calvin.original import check_installed

        check_installed()
    bundle = find_bundle(options.assets)
    renderer = _renderer(options) if policy.sensors.cameras else "none"
    chosen = _sequences(options) if benchmark.kind == "chains" else None
    episodes = _chains(benchmark, bundle, chosen) if chosen else _suite(benchmark, bundle)
    words = instruction_set(
        options.instructions,
        options.instruction_seed,
        bundle,
        ((episode.episode, episode.subtasks) for episode in episodes),
        chosen.available if chosen else None,
    )
    episodes = tuple(
        dataclasses.replace(episode, instructions=texts)
        for episode, texts in zip(episodes, words.instructions, strict=True)
    )
    names = [episode.episode for episode in episodes]
    switches = {name: getattr(options, name) for name in SWITCHES}
    unlike = {name: getattr(options, name) for name in UNLIKE if getattr(options, name) != _DEFAULTS[name]}
    if "use_target_pose" in unlike and policy.action.name != RELATIVE:
        raise ConfigError(
            f"benchmark.use_target_pose is about {RELATIVE} actions, and those of {policy.name} are "
            f"{policy.action.name}; drop it"
        )
    facts = {"assets": bundle.name, "assets_checksum": bundle.checksum, "renderer": renderer, **switches, **unlike}
    if benchmark.kind == "tasks":
        facts["starts"] = options.starts
    notes = [NOT_COMPARABLE] if bundle.name == "builtin" else []
    if chosen and chosen.name:
        facts["sequence_set"] = chosen.name
        notes.append(chosen.note)
    if words.name:
        facts["instructions"] = words.name
        notes.append(words.note)
    notes += [UNLIKE[name] for name in unlike]
    if options.renderer == "auto" and renderer == "tiny" and options.backend != "calvin_env":
        from vla_bench.envs.calvin.renderers import choice_of_auto

        notes.append(choice_of_auto(renderer))
    notes += _renderer_notes(renderer)
    return Plan(
        protocol=EvaluationProtocol(
            f"calvin-{benchmark.kind}",
            facts,
            episodes,
            chains(names) if benchmark.kind == "chains" else pooled(names),
        ),
        simulation=SimulationSpec(
            "calvin",
            {"assets": bundle.name, "renderer": "auto" if renderer == "none" else renderer, **switches, **unlike},
        ),
        notes=tuple(notes),
        split=options.split,
    )


def _renderer(options: CalvinOptions) -> str:
    if options.backend == "calvin_env":
        from vla_bench.envs.calvin import original

        return original.resolve_renderer(options.renderer)
    from vla_bench.envs.calvin.renderers import resolve_renderer

    return resolve_renderer(options.renderer)


def _renderer_notes(renderer: str) -> list[str]:
    if renderer == "egl":
        from vla_bench.envs.calvin.renderers.egl_plugin import probe

        driver = probe()
        return [SOFTWARE_EGL.format(driver=driver.renderer)] if driver.software else []
    return [RENDERER_NOTES[renderer]] if renderer in RENDERER_NOTES else []


def _sequences(options: CalvinOptions) -> SequenceSet:
    return sequence_set(options.sequence_set, options.sequence_file, options.sequence_seed, options.sequences)


def _chains(benchmark: BenchmarkConfig, bundle: AssetBundle, chosen: SequenceSet) -> tuple[EpisodeSpec, ...]:
    return tuple(
        EpisodeSpec(
            index=index,
            episode=f"seq-{index:04d}",
            start=initial_state(sequence.condition),
            subtasks=sequence.subtasks,
            instructions=tuple(bundle.instructions[task] for task in sequence.subtasks),
            step_limit=benchmark.step_limit,
        )
        for index, sequence in enumerate(chosen.sequences)
    )


def _suite(benchmark: BenchmarkConfig, bundle: AssetBundle) -> tuple[EpisodeSpec, ...]:
    from vla_bench.envs.calvin.task_suite import suite_clusters, suite_states

    cells = [
        (scene, task, rollout, start, cluster)
        for scene in benchmark.options.scenes
        for task in _tasks(benchmark.tasks)
        for rollout, (start, cluster) in enumerate(
            zip(
                _first(suite_states(scene, task, benchmark.options.starts), benchmark.options),
                suite_clusters(scene, task, benchmark.options.starts),
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
            raise refuse_task(name, tuple(TASKS), "CALVIN")
    return tuple(names) or tuple(TASKS)


def _first(states: Sequence, options: CalvinOptions) -> Sequence:
    if options.rollouts > len(states):
        raise ConfigError(
            f"benchmark.rollouts={options.rollouts}: the task suite holds {len(states)} states per task and scene "
            f"with starts={options.starts}"
        )
    return states[: options.rollouts]


def published(header: Mapping[str, Any]) -> list[PublishedRow]:
    """The published rows of the run's training split, best first; none for a split or a kind without any."""
    if header["protocol"]["facts"]["kind"] != "chains" or header.get("longest", CHAIN) != CHAIN:
        return []
    wanted = SPLITS.get(header["identity"]["split"])
    found = [
        PublishedRow(
            row["method"],
            row["source"],
            rates=tuple(float(row[f"sr{k}"]) for k in range(1, 6)),
            average=float(row["avg_len"]),
            n=OFFICIAL,
        )
        for row in rows_of("calvin.csv")
        if row["split"] == wanted
    ]
    return sorted(found, key=lambda each: -(each.average or 0.0))


def unlike_published(header: Mapping[str, Any], notes: Sequence[str]) -> list[str]:
    """How a run of chains differs from what published numbers were measured with."""
    facts, said = header["protocol"]["facts"], " ".join(notes)
    if facts["kind"] != "chains":
        return []
    found = []
    if facts["assets"] != "official" and "assets" not in said:
        found.append(f"{facts['assets']} assets, published numbers: official ones")
    if facts["renderer"] not in OFFICIAL_RENDERERS and "render" not in said:
        found.append(f"renderer {facts['renderer']}, published numbers: OpenGL through EGL")
    if "sequence_set" in facts and "sequences:" not in said:
        found.append(f"sequences of {facts['sequence_set']}, published numbers: the official {OFFICIAL}")
    if "instructions" in facts and "instructions:" not in said:
        found.append(f"instructions of {facts['instructions']}, published numbers: the official one of each task")
    if "sequence_set" not in facts and header["episodes"] < OFFICIAL:
        found.append(f"the first {header['episodes']} of the {OFFICIAL} sequences")
    return found


def old_cluster(facts: Mapping[str, Any], record: EpisodeRecord) -> str:
    """Of a record from before records said it: in the task suite all states of a task in a scene had one arm start."""
    old = facts.get("kind") == "tasks" and "starts" not in facts
    if old and record.subtasks and record.subtasks[0].subtask not in HELD_TASKS:
        return f"{record.scene}-{record.subtasks[0].subtask}"
    return ""


def sentences(benchmark: BenchmarkConfig, kind: str) -> Mapping[str, Sequence[str]]:
    """By task: the benchmark's own instruction, our paraphrases, or the sentences that CALVIN's data were annotated
    with. AssetError: the official files are not there."""
    if kind == "paraphrase":
        from vla_bench.envs.calvin.paraphrases import paraphrases

        return paraphrases()
    if kind == "annotated":
        return find_bundle("official").annotated()
    return {task: (text,) for task, text in find_bundle(benchmark.options.assets).instructions.items()}


def stress_refused(benchmark: BenchmarkConfig, facts: Mapping[str, Any], levels: Collection[str]) -> str:
    """Why these levels cannot be had with the environment and the renderer that were chosen."""
    from vla_bench.envs.calvin.stress import refusal

    return refusal(levels, benchmark.options.backend, facts["renderer"])


def stressed_start(
    benchmark: BenchmarkConfig, episode: EpisodeSpec, stress: Stress, generator: np.random.Generator
) -> EpisodeStart:
    """Where the episode starts with the arm and the blocks on the table moved."""
    from vla_bench.envs.calvin.stress import moved_start

    del benchmark
    return moved_start(episode.start, stress, generator)


FAMILY = Family(
    name="calvin",
    title="CALVIN",
    options=CalvinOptions,
    plan=plan,
    kinds=("chains", "tasks"),
    check=check,
    packages=("numpy", "pybullet", "scipy", "numba"),
    published=published,
    unlike_published=unlike_published,
    old_cluster=old_cluster,
    stress=(*WORLD, *START),
    stress_refused=stress_refused,
    stressed_start=stressed_start,
    sentences=sentences,
    checks=calvin_checks.CHECKS,
    variables=("CALVIN_ASSETS",),
    frames=CalvinFrames,
    arm=arm_of,
    assets=calvin_assets.ASSETS,
    data=DATA,
    examples=(
        ("the first 100 sequences of ABC→D", "benchmark=calvin_abc_d benchmark.sequences=100 policy=expert"),
        ("single tasks in two scenes", "benchmark=calvin_tasks benchmark.scenes=A,B benchmark.rollouts=5"),
        ("join a Ray cluster", "benchmark=calvin_abcd_d policy=expert run.address=auto run.workers=64"),
    ),
)

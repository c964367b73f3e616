"""What a benchmark family says of itself: the contract between the engine and a plug-in.

A family is one folder of an environment (``environment_spec`` and ``build``, see
:mod:`vla_bench.envs.simulation`) and one :class:`Family`, each found by its entry point
(:mod:`vla_bench.bench.families`). Nothing else in the engine knows what is particular to it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from vla_bench.bench.errors import ConfigError, at_least
from vla_bench.bench.protocol import EpisodeRecord, EpisodeSpec, EvaluationProtocol, to_plain
from vla_bench.bench.score import Score
from vla_bench.envs.simulation import EnvironmentSpec, EpisodeStart, SimulationSpec
from vla_bench.envs.stress.levels import Stress
from vla_bench.policies.base import PolicySpec

if TYPE_CHECKING:
    import numpy as np

Kind = Literal["chains", "tasks"]


@dataclass(frozen=True, slots=True)
class BenchmarkConfig:
    """What is evaluated: what all families have. A family's own options are typed in the same way."""

    name: str = ""
    """Name shown in tables and in the folder's name; the preset's unless given."""
    family: str = ""
    """What is simulated: a built-in family, or one that an installed package adds."""
    kind: Kind = "chains"
    """chains: several instructions in a row; tasks: each task on its own."""
    tasks: tuple[str, ...] = ()
    """tasks: which ones; empty or all means all there are."""
    step_limit: int = 360
    """Control steps granted to each subtask; a task with a lower limit of its own keeps it."""
    options: Any = None
    """The family's own options. benchmark.options.<name>=<value> is the same as benchmark.<name>=<value>."""

    def __post_init__(self) -> None:
        at_least("benchmark.step_limit", self.step_limit, 1)


def option(default: Any, *, kind: Kind, instead: str) -> Any:
    """A field of a family's options that means something in one kind of benchmark only.

    Args:
        default: its value when nothing is typed.
        kind: where it means something.
        instead: what to type in the other kind.
    """
    return field(default=default, metadata={"kind": kind, "instead": instead})


@dataclass(frozen=True, slots=True)
class Plan:
    """What is going to be run, and how a worker builds the simulation for it."""

    protocol: EvaluationProtocol
    """A family's own ``facts`` are everything of it that may change a number, among them ``assets`` and
    ``renderer`` (resolved, never ``auto``) where there are such. The engine adds ``family``, ``kind`` and
    what is to be said of the policy."""
    simulation: SimulationSpec
    """Sensors and action convention are filled in from the policy."""
    notes: tuple[str, ...] = ()
    """Sentences that must stand beside every number, e.g. that it is not comparable with published
    ones."""
    python: str = ""
    """Interpreter that has the simulator; empty: our own."""
    split: str = "none"
    """What the checkpoint was trained on, where the benchmark tells such apart: recorded, never changes what
    is run."""
    environment: EnvironmentSpec | None = None
    """Filled in by the engine."""


@dataclass(frozen=True, slots=True)
class PublishedRow:
    """A published number that stands beside ours."""

    method: str
    source: str
    """Where it was published; what comes after a semicolon is not shown."""
    success: float | None = None
    """Of single tasks."""
    rates: tuple[float, ...] = ()
    """Of chains: shares with 1, 2, … solved in a row."""
    average: float | None = None
    """Of chains: the average chain length, as published."""
    n: int | None = None
    """Episodes it is over; None where that was not said."""
    notes: tuple[str, ...] = ()
    """What keeps it from being compared."""


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that the doctor looks at."""

    what: str
    look: Callable[[], str]
    """Says what there is. UserError: what is wrong, and what to type."""
    needed: bool = False
    """Whether no evaluation can do without it."""
    meant: Callable[[Any], bool] = field(default=lambda benchmark: True)
    """Whether a benchmark (its :class:`vla_bench.bench.setup.config.BenchmarkConfig`) cannot do without it."""
    slow: str = ""
    """Why it may take long, said while it does."""


@dataclass(frozen=True, slots=True)
class Mend:
    """Something that ``vla-bench doctor --<name>`` brings or makes."""

    name: str
    help: str
    run: Callable[[], str]
    """Does it and says what was done."""


Show = Callable[[str, int, int], None]
"""Told of a source, verified bytes, and bytes in all."""


@dataclass(frozen=True, slots=True)
class Assets:
    """Files that ``vla-bench assets`` fetches, checks and lists."""

    fetch: Callable[[Path | None, Sequence[str], Callable[[], Any]], list[str]]
    """``fetch(folder or None, sources, progress)``: lines to print. ``progress()`` is a context manager that
    gives a :data:`Show`."""
    check: Callable[[], str]
    """Compares every file with its checksum. UserError: one differs."""
    list: Callable[[], list[str]]
    """A line for each bundle."""
    help: str = ""
    """Where they go when no folder is named."""


@dataclass(frozen=True, slots=True)
class Command:
    """A command of ``vla-bench`` for result sets of this family alone."""

    name: str
    help: str
    module: str
    """Has ``configure(parser)`` and ``run(arguments)``."""


@dataclass(frozen=True, slots=True)
class DataSets:
    """What ``vla-bench data`` does with data sets of this family's demonstrations."""

    about: str
    """Lines for the help, e.g. of the layouts there are, with examples."""
    actions: tuple[Command, ...]
    """Each is typed as ``vla-bench data <name>``; one whose name another family has already as ``<family>-<name>``."""


def _nothing(*_: Any) -> list[Any]:
    return []


def _no_numbers(_: Mapping[str, np.ndarray]) -> Mapping[str, float]:
    return {}


def _no_refusal(*_: Any) -> str:
    return ""


def _own_interpreter(_: Mapping[str, Any]) -> str:
    return ""


@dataclass(frozen=True)
class Family:
    """A benchmark family."""

    name: str
    """What is typed, and its name among the environments."""
    title: str
    """What tables and messages call it; empty: tables use the name of the benchmark."""
    options: type
    """Frozen dataclass of its options, each with a default and a docstring of one line, which is its help."""
    plan: Callable[[BenchmarkConfig, PolicySpec, EnvironmentSpec], Plan]
    """The episodes and how to build their simulation. ConfigError: what is asked for cannot be;
    EnvironmentFault: files, renderer or simulator are not there."""
    kinds: tuple[Kind, ...] = ("tasks",)
    """What it has; the first unless typed."""
    step_limit: int = 360
    """Control steps granted to each subtask unless typed."""
    check: Callable[[BenchmarkConfig], object] = _nothing
    """ConfigError for options that are sound one by one but not together."""
    environment: Callable[[Any], Mapping[str, Any]] = to_plain
    """From its options to those of ``environment_spec``."""
    unused: Mapping[str, str] = field(default_factory=dict)
    """Options of other families that one may be tempted to type, and what to do instead."""
    packages: tuple[str, ...] = ()
    """Distributions whose version may change a number; each worker states the ones it has."""
    interpreter: Callable[[Mapping[str, Any]], str] = _own_interpreter
    """From a simulation's options to the interpreter that has the simulator; empty: our own. ConfigError:
    there is none."""
    published: Callable[[Mapping[str, Any]], Sequence[PublishedRow]] = _nothing
    """From a journal's header to what may stand beside it, best first."""
    unlike_published: Callable[[Mapping[str, Any], Sequence[str]], Sequence[str]] = _nothing
    """From a journal's header and the notes it has already to what else makes it differ from published numbers."""
    old_score: Callable[[Mapping[str, Any], Sequence[EpisodeRecord]], Score] | None = None
    """The score of a journal that was written before journals stated theirs, from its header and records."""
    old_cluster: Callable[[Mapping[str, Any], EpisodeRecord], str] | None = None
    """The cluster of a record that was written before records said theirs, from the protocol's facts; empty: it is
    one of its own."""
    stress: tuple[str, ...] = ()
    """Levels (:mod:`vla_bench.envs.stress.levels`) of the world and of the start that its environment knows; it finds
    them among the simulation's options. Those of words, image, body and time every family has."""
    stress_refused: Callable[[BenchmarkConfig, Mapping[str, Any], Collection[str]], str] = _no_refusal
    """From the protocol's facts and names of levels to why they cannot be had as it is configured; empty: they can."""
    stressed_start: Callable[[BenchmarkConfig, EpisodeSpec, Stress, np.random.Generator], EpisodeStart] | None = None
    """Where an episode starts under levels of ``start``."""
    sentences: Callable[[BenchmarkConfig, str], Mapping[str, Sequence[str]]] | None = None
    """By task, sentences of one kind: ``given`` (what the benchmark says itself), ``paraphrase`` (others that mean the
    same), ``annotated`` (those of its data). EnvironmentFault: they are not there."""
    checks: tuple[Check, ...] = ()
    variables: tuple[str, ...] = ()
    """Environment variables that name folders of it."""
    mends: tuple[Mend, ...] = ()
    assets: Assets | None = None
    frames: Callable[[Path, str | None], Any] | None = None
    """Opens recordings, the whole or one split of them, as a ``bench.vectors.frames.Source``, whose frames a policy is
    shown. UserError: the folder holds none. None: there are no recordings of this family."""
    arm: Callable[[Mapping[str, np.ndarray]], Mapping[str, float]] = _no_numbers
    """From an observation to ``gripper`` (positive: open) and the tool's ``x``, ``y``, ``z`` in metres, as far as it
    says them."""
    commands: tuple[Command, ...] = ()
    data: DataSets | None = None
    examples: tuple[tuple[str, str], ...] = ()
    """For the help: what one may want, and what to type for it."""


def fields_of(family: Family) -> dict[str, dataclasses.Field[Any]]:
    """What may be typed as ``benchmark.<name>=``: common fields and the family's own, by name."""
    common = {each.name: each for each in dataclasses.fields(BenchmarkConfig) if each.name != "options"}
    return common | {each.name: each for each in dataclasses.fields(family.options)}


def refuse_task(name: str, known: Sequence[str], title: str) -> ConfigError:
    """The error for a task that a family does not have."""
    from vla_bench.bench.errors import suggestion

    return ConfigError(
        f"benchmark.tasks: {title} has no task {name!r}.{suggestion(name, known)} Tasks: {', '.join(known)}"
    )

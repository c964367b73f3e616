"""Result sets under levels of stress, each against its unchanged twin."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vla_bench.bench.errors import ResultSetError
from vla_bench.bench.protocol import canonical_json
from vla_bench.bench.records.comparison import Comparison, compare
from vla_bench.bench.records.paired import holm
from vla_bench.bench.stress.planning import described
from vla_bench.envs.simulation import STRESS
from vla_bench.envs.stress.levels import AXES

if TYPE_CHECKING:
    from vla_bench.bench.records.result_set import ResultSet

TWIN = "unchanged"
"""What the baseline is called."""


@dataclass(frozen=True, slots=True)
class Level:
    """One stressed result set against its twin."""

    name: str
    """What is changed, and by how much: ``body: lost 0.1``."""
    comparison: Comparison
    corrected_p: float
    """Of the paired test, after Holm's correction for the number of levels."""
    broken: tuple[Broken, ...]
    """Episodes that went worse, worst first."""
    twin: ResultSet
    stressed: ResultSet

    @property
    def breaks(self) -> bool:
        """Whether the policy is worse beyond chance, however many levels were tried."""
        return self.comparison.average.sign < 0 and self.corrected_p < 0.05


@dataclass(frozen=True, slots=True)
class Broken:
    """An episode that the policy solved less of."""

    episode: str
    solved: int
    """Subtasks without the change."""
    under_stress: int
    subtask: str
    """The first that failed."""
    instructions: tuple[str, str]
    """What was said for it, without the change and with it."""


def stress_facts(of: ResultSet) -> Mapping[str, Any] | None:
    """The levels that a set was made with; None: none."""
    found = of.header["protocol"]["facts"].get(STRESS)
    return found if isinstance(found, Mapping) else None


def open_folder(folder: Path) -> list[ResultSet]:
    """The result sets of a folder, one level down. ResultSetError: there is none."""
    from vla_bench.bench.records.result_set import JOURNAL, ResultSet

    found = [ResultSet.load(path.parent) for path in sorted(folder.glob(f"*/{JOURNAL}"))]
    if not found:
        raise ResultSetError(f"{folder} holds no result sets; name the folder that they are in, e.g. ablation-stress")
    return found


def levels_of(sets: Sequence[ResultSet], where: str) -> list[Level]:
    """Every stressed set with its twin: the one of the same policy on the same benchmark without a change.

    Raises:
        ResultSetError: there is no stressed set, one has no twin, or they are of several policies.
    """
    twins = {_kin(each): each for each in sets if stress_facts(each) is None}
    stressed = [each for each in sets if stress_facts(each) is not None and each.summary.done]
    if not stressed:
        raise ResultSetError(f"{where} holds no result set under stress; make them with ablation=stress")
    if len({_kin(each) for each in stressed}) > 1:
        raise ResultSetError(f"{where} holds several policies or benchmarks under stress; one folder for each, please")
    twin = twins.get(_kin(stressed[0]))
    if twin is None:
        raise ResultSetError(
            f"{where} lacks the unchanged twin of {stressed[0].folder.name}: run the same command with stress=none"
        )
    names = [described(stress_facts(each) or {}) for each in stressed]
    made = [compare(twin, each, names=(TWIN, name), anyway=True) for each, name in zip(stressed, names, strict=True)]
    corrected = holm([each.average.p for each in made])
    found = [
        Level(name, comparison, p, broken_episodes(twin, each), twin, each)
        for name, comparison, p, each in zip(names, made, corrected, stressed, strict=True)
    ]
    axes = list(AXES)
    return sorted(found, key=lambda level: (axes.index(_first_axis(level)), level.name))


def _first_axis(level: Level) -> str:
    return level.name.partition(":")[0]


def _kin(of: ResultSet) -> str:
    """What twins have in common; a checkpoint is what is in its files, wherever they lie."""
    header = of.header
    facts = {name: value for name, value in header["protocol"]["facts"].items() if name != STRESS}
    identity = {name: header["identity"].get(name) for name in ("policy", "seed", "content")}
    read = {name.removeprefix("policy.").partition("=")[0] for name in identity["content"] or ()}
    arguments = header["identity"].get("arguments") or {}
    identity["arguments"] = {name: value for name, value in arguments.items() if name not in read}
    return canonical_json({"facts": facts, "benchmark": header["protocol"]["name"], "identity": identity})


def broken_episodes(twin: ResultSet, stressed: ResultSet) -> tuple[Broken, ...]:
    """Episodes of which fewer subtasks were solved under stress than without."""
    before = {record.episode: record for record in twin.records if record.status == "done"}
    found = []
    for record in stressed.records:
        if record.status != "done" or not record.subtasks or record.episode not in before:
            continue
        twins, failed = before[record.episode], record.subtasks[-1]
        if record.chain_length < twins.chain_length:
            said = next((each.instruction for each in twins.subtasks if each.position == failed.position), "")
            found.append(
                Broken(
                    record.episode,
                    twins.chain_length,
                    record.chain_length,
                    failed.subtask,
                    (said, failed.instruction),
                )
            )
    return tuple(sorted(found, key=lambda each: (each.under_stress - each.solved, each.episode)))

"""What a report shows, gathered from result sets as plain data for the template and the script."""

from __future__ import annotations

import base64
import dataclasses
import math
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from vla_bench.bench.protocol import EpisodeRecord
from vla_bench.bench.records.comparison_tables import difference_cell, p_value
from vla_bench.bench.records.conditions import flat
from vla_bench.bench.records.provenance import tries_of
from vla_bench.bench.records.result_set import CONFIG, PROVENANCE
from vla_bench.bench.records.statistics import Mean, Rate
from vla_bench.bench.records.tables import PARTS, Cell, Table, mean_cell, rate_cell
from vla_bench.bench.report.alone import SHOWN, Seen, chosen, commands, directions

if TYPE_CHECKING:
    from vla_bench.bench.records.comparison import Comparison
    from vla_bench.bench.records.result_set import ResultSet


CLIPS_BUDGET = 2_000_000
"""Bytes of clips of failures in a report, before they are written as text, which takes a third more."""
PAIRS_BUDGET = 3_000_000
"""Bytes of clips of episodes that only one of two solved."""


def key_numbers(of: ResultSet) -> list[dict[str, str]]:
    """The few numbers at the top: name, number, interval."""
    summary = of.summary
    found = []
    if chain := summary.chain:
        mean = chain.average
        interval = f"{mean.low:.2f} – {mean.high:.2f}, n = {mean.n}"
        found.append({"name": "average chain length", "number": f"{mean.value:.2f}", "interval": interval})
        longest = len(chain.rates)
        found.append(_number("single-task success", chain.rates[0]))
        if longest > 1:
            found.append(_number(f"all {longest} solved", chain.rates[-1]))
    elif summary.overall:
        name = "mean success over tasks" if summary.rows else "success over all tasks"
        found.append(_number(name, summary.overall))
    of_planned = f"of {summary.planned} planned" if summary.missing else "all judged"
    if summary.errors:
        of_planned = f"{summary.errors} more could not be judged"
    return [*found, {"name": "episodes", "number": f"{summary.done:,}", "interval": of_planned}]


def overview(sets: Mapping[str, ResultSet], comparisons: Sequence[Comparison]) -> Table:
    """Many sets at a glance: the numbers that are ranked by, and how each differs from the first."""
    first = next(iter(sets))
    longest = max(len(each.summary.chain.rates) if each.summary.chain else 1 for each in sets.values())
    numbers = ["average chain length", f"1/{longest}, %", f"{longest}/{longest}, %"]
    columns = ("row", "judged", *(numbers if longest > 1 else ["success, %"]), "difference", "p")
    found = {each.second: each for each in comparisons}
    rows = []
    for name, each in sets.items():
        summary = each.summary
        cells = [Cell(name), Cell(f"{summary.done}/{summary.planned}")]
        if summary.chain and longest > 1:
            cells += [
                mean_cell(summary.chain.average),
                *map(rate_cell, (summary.chain.rates[0], summary.chain.rates[-1])),
            ]
        else:
            rate = summary.chain.rates[0] if summary.chain else summary.overall
            cells.append(rate_cell(rate) if rate else Cell("–"))
        compared = found.get(name)
        if compared and compared.pairs:
            gained = difference_cell(compared.average.difference, chains=longest > 1)
            cells += [dataclasses.replace(gained, best=compared.average.sign != 0), Cell(p_value(compared.average.p))]
        else:
            cells += [Cell("–"), Cell("–")]
        rows.append(tuple(cells))
    caption = (
        f"Difference: to {first}, paired by episode, with 95 % interval and p of an exact test. Bold where both say "
        "that it is one."
    )
    return Table("", columns, tuple(rows), caption)


def _number(name: str, of: Rate | Mean) -> dict[str, str]:
    return {
        "name": name,
        "number": f"{100 * of.value:.1f} %",
        "interval": f"{100 * of.low:.1f} – {100 * of.high:.1f}, n = {of.n}",
    }


def task_bars(sets: Mapping[str, ResultSet]) -> list[dict[str, Any]]:
    """Tasks with the rates of every set, hardest first by the first set that tried them."""
    rates: dict[str, list[Rate | None]] = {}
    for index, each in enumerate(sets.values()):
        for task in each.summary.tasks:
            row = rates.setdefault(task.task, [None] * len(sets))
            row[index] = task.rate if task.rate.n else None
    tried = [(task, row) for task, row in rates.items() if any(row)]

    def first(row: Sequence[Rate | None]) -> float:
        return next(each.value for each in row if each)

    return [{"task": task, "rates": row} for task, row in sorted(tried, key=lambda item: (first(item[1]), item[0]))]


def never_tried(sets: Mapping[str, ResultSet]) -> list[str]:
    """Tasks of the protocols that no set attempted."""
    tries: Counter[str] = Counter()
    for each in sets.values():
        for task in each.summary.tasks:
            tries[task.task] += task.rate.n
    return sorted(task for task, n in tries.items() if not n)


def time_parts(of: ResultSet) -> dict[str, Any]:
    """Shares of the workers' time, and the speed."""
    timing = of.summary.timing
    busy = timing.busy
    seconds = {title: getattr(timing.parts, name) for name, title in PARTS.items()}
    speed = timing.steps_per_second
    return {
        "parts": [(title, 100 * each / busy, each) for title, each in seconds.items()] if busy else [],
        "steps": timing.steps,
        "decisions": timing.decisions,
        "speed": "" if math.isnan(speed) else f"{speed:,.0f} steps/s",
        "wall": "" if math.isnan(timing.wall) else f"{timing.wall:,.0f} s from start to end",
    }


def failures(of: ResultSet) -> dict[str, Any]:
    """Failed attempts by task and by place in the chain, most first; errors by kind."""
    counts: Counter[tuple[str, int]] = Counter()
    tries: Counter[str] = Counter()
    slipped = 0
    for record in of.records:
        if record.status != "done":
            continue
        for subtask in record.subtasks:
            tries[subtask.subtask] += 1
            if not subtask.success:
                counts[subtask.subtask, subtask.position] += 1
                slipped += subtask.ever
    per_task: Counter[str] = Counter()
    for (task, _), n in counts.items():
        per_task[task] += n
    places = sorted({position for _, position in counts})
    largest = max(counts.values(), default=1)
    rows = [
        {
            "task": task,
            "failed": n,
            "tries": tries[task],
            "cells": [(counts[task, place], counts[task, place] / largest) for place in places],
        }
        for task, n in sorted(per_task.items(), key=lambda item: (-item[1], item[0]))
    ]
    kinds = Counter(record.error.kind for record in of.records if record.error)
    return {
        "places": [place + 1 for place in places],
        "rows": rows,
        "total": sum(per_task.values()),
        "slipped": slipped,
        "errors": sorted(kinds.items()),
        "messages": of.summary.error_messages[:20],
    }


def clips(
    of: ResultSet, seen: Mapping[str, Seen], budget: int = CLIPS_BUDGET, shown: Collection[str] = ()
) -> list[dict[str, Any]]:
    """Clips of failures to be embedded, at most one of each task, as long as ``budget`` bytes last.

    The tasks that fail most come first, each with its smallest clip. Episodes ``shown`` elsewhere are left out.
    """
    order = [row["task"] for row in failures(of)["rows"]]
    smallest: dict[str, Seen] = {}
    for each in seen.values():
        clip, known = each.clip, smallest.get(each.clip.subtask)
        if not clip.success and clip.episode not in shown and (known is None or clip.bytes < known.clip.bytes):
            smallest[clip.subtask] = each
    found = []
    for task in order:
        if task not in smallest or smallest[task].clip.bytes > budget:
            continue
        budget -= smallest[task].clip.bytes
        found.append(embedded(smallest[task]))
    return found


def embedded(seen: Seen) -> dict[str, Any]:
    """A clip as it stands in the page, film and poster inside."""
    clip = seen.clip
    film = base64.b64encode(seen.path.read_bytes()).decode()
    still = base64.b64encode(seen.poster.read_bytes()).decode() if seen.poster and seen.poster.is_file() else ""
    return {
        "task": clip.subtask,
        "episode": clip.episode,
        "instruction": clip.instruction,
        "success": clip.success,
        "chain": clip.chain,
        "video": f"data:video/mp4;base64,{film}",
        "poster": f"data:image/jpeg;base64,{still}" if still else "",
    }


def alone(sets: Mapping[str, ResultSet], seen: Sequence[Mapping[str, Seen]]) -> list[dict[str, Any]]:
    """Episodes that only one of two solved, both ways for the first set and each later one; some with both clips.

    A clip is embedded once; where an episode is shown again, its clip is ``None``, as where there is none.
    """
    found = directions(sets)
    each_set = list(sets.values())
    embedded_before: set[tuple[int, str]] = set()
    for direction, names in zip(found, chosen(found, seen, PAIRS_BUDGET), strict=True):
        sides = (direction["winner"], direction["other"])
        shown = []
        for name in names:
            both = []
            for side in sides:
                again = (side, name) in embedded_before
                there = name in seen[side]
                embedded_before.add((side, name))
                both.append(
                    {"set": side, "clip": embedded(seen[side][name]) if there and not again else None, "again": again}
                )
            shown.append({"episode": name, "sides": both})
        direction["shown"] = shown
        wanted = names or [name for name, *_ in direction["episodes"][:SHOWN]]
        direction["commands"] = [line for side in sides for line in commands(each_set[side], wanted, seen[side])]
        del direction["pairs"]
    return found


def provenance(of: ResultSet) -> dict[str, Any]:
    """Where the numbers come from: command, code, packages, machine, protocol, configuration."""
    tries = tries_of(of.folder / PROVENANCE)
    last: Mapping[str, Any] = tries[-1] if tries else {}
    code, machine = last.get("code") or {}, last.get("machine") or {}
    commit = code.get("commit") or "unknown"
    dirty = f", with changes {code.get('changes')}" if code.get("dirty") else ""
    facts: dict[str, Any] = {
        "protocol": f"{of.header['protocol'].get('name', '')} {of.header['protocol']['hash']}",
        **flat(of.header["protocol"]["facts"]),
    }
    made = {
        "first started": of.header.get("created", "unknown"),
        "tries": len(tries),
        "commit": f"{commit}{dirty}",
        "python": last.get("python", "unknown"),
        "packages": ", ".join(f"{name} {v}" for name, v in (last.get("packages") or {}).items() if v),
        "system": machine.get("system", "unknown"),
        "processor": f"{machine.get('processor', 'unknown')}, {machine.get('usable_cores', '?')} cores",
        "workers": ", ".join(f"{k} {v}" for k, v in (last.get("placement") or {}).items() if v is not None),
    }
    return {
        "command": last.get("command", ""),
        "commit": commit if commit != "unknown" else "",
        "facts": facts,
        "made": made,
        "config": _text(of),
    }


def _text(of: ResultSet) -> str:
    try:
        return (of.folder / CONFIG).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def episode_data(sets: Mapping[str, ResultSet]) -> dict[str, Any]:
    """Every episode of every set, small enough to be embedded: tasks by number, one short list per record.

    A record is ``[length or -1 for an error, [[task, solved 0/1, steps], …], message]``; an episode that
    a set does not have is null.
    """
    tasks = sorted({subtask.subtask for each in sets.values() for r in each.records for subtask in r.subtasks})
    number = {task: index for index, task in enumerate(tasks)}
    by_name = [{record.episode: record for record in each.records} for each in sets.values()]
    order: dict[str, EpisodeRecord] = {}
    for records in by_name:
        order |= {name: record for name, record in records.items() if name not in order}

    def plain(record: EpisodeRecord | None) -> list[Any] | None:
        if record is None:
            return None
        tried = [[number[each.subtask], int(each.success), each.steps] for each in record.subtasks]
        length = record.chain_length if record.status == "done" else -1
        message = record.error.message.partition("\n")[0][:200] if record.error else ""
        return [length, tried, message] if message else [length, tried]

    return {
        "sets": list(sets),
        "tasks": tasks,
        "longest": max(each.header["longest"] for each in sets.values()),
        "episodes": [
            [name, record.scene, *(plain(records.get(name)) for records in by_name)]
            for name, record in sorted(order.items(), key=lambda item: (item[1].index, item[0]))
        ],
    }


def rates_of(sets: Mapping[str, ResultSet]) -> dict[str, tuple[Rate, ...]]:
    """Chain rates by set, of those that are chains."""
    return {name: each.summary.chain.rates for name, each in sets.items() if each.summary.chain}


def conditions_line(of: ResultSet) -> list[str]:
    """What it was measured with, in a few words each."""
    summary = of.summary
    parts = [f"trained on {summary.split}"] if summary.split != "none" else []
    parts += [f"{summary.assets} assets", f"renderer {summary.renderer}", f"seed {summary.seed}"]
    return [*parts, f"protocol {summary.protocol}"]

"""Many result sets in one table: beside published numbers, or ranked."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from vla_bench.bench.errors import ResultSetError
from vla_bench.bench.families import known_family
from vla_bench.bench.families.family import Family, PublishedRow
from vla_bench.bench.records.comparison import compare
from vla_bench.bench.records.comparison_tables import difference_cell, p_value
from vla_bench.bench.records.conditions import FieldDifference, differences, refuse
from vla_bench.bench.records.statistics import ChainTable, Mean, Rate, chain_table, rate
from vla_bench.bench.records.tables import Cell, Table, mean_cell, rate_cell

if TYPE_CHECKING:
    from vla_bench.bench.records.result_set import ResultSet
    from vla_bench.bench.records.results import Results


WITHOUT_CONTROL = "No blind control (policy=blind) is among them: what needs no sight is not told apart."
"""Stands under a table of learned policies that has no row of one without cameras."""


class _Marks:
    """Footnotes: the same text has the same letter."""

    def __init__(self) -> None:
        self.texts: list[str] = []

    def letters(self, texts: Sequence[str]) -> str:
        """The letters of these texts, made up as needed, as they stand behind a name."""
        for text in texts:
            if text not in self.texts:
                self.texts.append(text)
        letters = [_letter(self.texts.index(text)) for text in texts]
        return f" ({','.join(letters)})" if letters else ""

    def caption(self) -> str:
        """All of them, written out."""
        return " ".join(f"({_letter(index)}) {text}." for index, text in enumerate(self.texts))


def _letter(index: int) -> str:
    """a … z, aa, ab …"""
    return (_letter(index // 26 - 1) if index >= 26 else "") + chr(ord("a") + index % 26)


def side_by_side(sets: Mapping[str, Results], *, published: bool = True, anyway: bool = False) -> list[Table]:
    """One table per training split: the sets in their order, then published numbers, best first.

    Args:
        sets: by the name they have in the table; several runs make one row.
        published: whether to show published numbers.
        anyway: put sets of different protocols into one table; they are marked.

    Raises:
        ProtocolMismatch: two sets of a split were not measured in the same way.
        ResultSetError: chains and single tasks do not fit into one table, or a set is empty.
    """
    if len({(each.summary.kind, each.header["longest"]) for each in sets.values()}) > 1:
        raise ResultSetError("chains and single tasks do not fit into one table; make two")
    _not_empty(sets)
    splits = dict.fromkeys(each.summary.split for each in sets.values())
    return [
        _table_of({name: each for name, each in sets.items() if each.summary.split == split}, published, anyway)
        for split in splits
    ]


def _table_of(sets: Mapping[str, Results], published: bool, anyway: bool) -> Table:
    first_name, first = next(iter(sets.items()))
    marks = _Marks()
    rows, clean = [], []
    for name, each in sets.items():
        fields = differences(first, each)
        if fields and not anyway:
            raise refuse(first_name, name, fields)
        notes = [*_differs_from(first_name, fields), *_unlike_published(each), *each.summary.notes]
        label = Cell(f"{name}{marks.letters(notes)}", name=name, remarks=tuple(notes))
        rows.append((label, *_numbers(each)))
        clean.append(not notes)
    sources = []
    family = _family(first)
    for row in family.published(first.header) if published and family else ():
        if first.summary.chain and not row.rates:
            continue
        rows.append(_published_row(row, marks))
        clean.append(bool(row.n))
        sources.append(row.source.partition(";")[0])
    parts = ["With 95 % intervals: Wilson for rates, BCa bootstrap for the average."]
    if any(clean):
        parts.append("Bold: best of its column among rows without a mark.")
    parts += [WITHOUT_CONTROL] if _lacks_control(sets.values()) else []
    parts += [marks.caption()] if marks.texts else []
    parts += [f"* Published: {', '.join(dict.fromkeys(sources))}."] if sources else []
    return Table(_title(first), _columns(first), _with_best(rows, clean), " ".join(parts))


def _lacks_control(sets: Iterable[Results]) -> bool:
    """Whether policies that were trained to look stand without one that was kept from it."""
    learned = [each for each in sets if "checkpoint" in each.header["identity"].get("arguments", {})]
    return bool(learned) and not any(each.summary.control for each in learned)


def _title(of: Results) -> str:
    summary = of.summary
    trained = f", trained on {summary.split}" if summary.split != "none" else ""
    what = "solved in a row, % of sequences" if summary.chain else "success, % of trials"
    return f"{_name_of(of)}{trained}: {what}"


def _name_of(of: Results) -> str:
    family = _family(of)
    return family.title if family and family.title else of.summary.benchmark


def _family(of: Results) -> Family | None:
    """None for one that is not installed, or that the journal does not name."""
    return known_family(of.header["protocol"]["facts"].get("family"))


def _columns(of: Results) -> tuple[str, ...]:
    if not of.summary.chain:
        return ("method", "n", "%")
    longest = len(of.summary.chain.rates)
    return ("method", "n", *(f"{k}/{longest}" for k in range(1, longest + 1)), "average chain length")


def _numbers(of: Results) -> tuple[Cell, ...]:
    summary = of.summary
    if summary.chain:
        return (Cell(str(summary.done)), *_chain_cells(summary.chain.rates), mean_cell(summary.chain.average))
    assert summary.overall is not None
    return (Cell(str(summary.overall.n)), rate_cell(summary.overall))


def _chain_cells(rates: Sequence[Rate]) -> list[Cell]:
    """Rates without bars, which five in a row leave no room for."""
    return [dataclasses.replace(rate_cell(each), value=None) for each in rates]


def _published_row(of: PublishedRow, marks: _Marks) -> tuple[Cell, ...]:
    notes = list(of.notes)
    if of.rates:
        assert of.average is not None and of.n is not None
        chain = published_chain(of)
        if abs(of.average - chain.average.value) > 0.005 + 1e-9:
            notes.append(f"the published rates add up to {chain.average.value:.3f}, not to the published average")
        shown = Mean(of.average, chain.average.n, chain.average.low, chain.average.high)
        cells = [Cell(str(of.n)), *_chain_cells(chain.rates), mean_cell(shown)]
    else:
        success = of.success or 0.0
        exact = rate(round(success * of.n), of.n) if of.n else None
        cells = [Cell(str(of.n)), rate_cell(exact)] if exact else [Cell("–"), Cell(f"{100 * success:.0f}")]
    published = (f"published: {of.source.partition(';')[0]}", *notes)
    return (Cell(f"{of.method} *{marks.letters(notes)}", name=of.method, remarks=published), *cells)


def published_chain(of: PublishedRow) -> ChainTable:
    """Published rates with the intervals that so many episodes have; the average is the sum of the rates."""
    assert of.n is not None
    reached = [of.n, *(round(of.n * share) for share in of.rates), 0]
    longest = len(of.rates)
    return chain_table({k: reached[k] - reached[k + 1] for k in range(longest + 1)}, longest)


def _with_best(rows: Sequence[tuple[Cell, ...]], clean: Sequence[bool]) -> tuple[tuple[Cell, ...], ...]:
    """Marks the best number of each column, over rows that may be compared, when there are several."""
    made = [list(row) for row in rows]
    if sum(clean) > 1:
        for column in range(2, len(made[0])):
            numbers = [
                float(row[column].text) if fit and row[column].text != "–" else float("-inf")
                for row, fit in zip(made, clean, strict=True)
            ]
            for row, number in zip(made, numbers, strict=True):
                if number == max(numbers):
                    row[column] = dataclasses.replace(row[column], best=True)
    return tuple(tuple(row) for row in made)


def _differs_from(name: str, fields: Sequence[FieldDifference]) -> list[str]:
    return [f"not measured like {name}: {'; '.join(map(str, fields))}"] if fields else []


def _unlike_published(of: Results) -> list[str]:
    """How a set differs from what published numbers were measured with, beyond its own notes."""
    family = _family(of)
    header = {**of.header, "episodes": of.summary.planned}
    return list(family.unlike_published(header, of.summary.notes)) if family else []


def leaderboard(sets: Mapping[str, ResultSet]) -> list[Table]:
    """One table per way of measuring, largest first; in each the best first.

    Sets stand in one table when they can be compared: same protocol and training split, renderers that
    were not used aside. Sets of fewer episodes stand below, compared with the best on those they share.
    """
    return [_ranked(group) for group in ranked_groups(sets)]


def ranked_groups(sets: Mapping[str, ResultSet]) -> list[dict[str, ResultSet]]:
    """The sets that may be compared with each other together, best first; the largest group first.

    ResultSetError: a set is empty.
    """
    _not_empty(sets)
    groups: list[dict[str, ResultSet]] = []
    for name, each in sets.items():
        for group in groups:
            first = next(iter(group.values()))
            if first.summary.kind == each.summary.kind and not differences(first, each):
                group[name] = each
                break
        else:
            groups.append({name: each})
    return [
        dict(sorted(group.items(), key=lambda item: -_score(item[1])))
        for group in sorted(groups, key=len, reverse=True)
    ]


def _ranked(group: Mapping[str, ResultSet]) -> Table:
    ordered = list(group.items())
    best_name, best = ordered[0]
    chains = best.summary.chain is not None
    marks = _Marks()
    rows = []
    for rank, (name, each) in enumerate(ordered, start=1):
        notes = list(each.summary.notes)
        if each.summary.planned != best.summary.planned:
            notes.append(f"another number of episodes than {best_name}, compared on those both have")
        label = Cell(f"{rank}  {name}{marks.letters(notes)}")
        chain = each.summary.chain
        numbers = _numbers(each)
        shown = (numbers[0], numbers[1], *numbers[-2:]) if chain else numbers
        rows.append((label, *shown, *_against(best_name, best, name, each)))
    columns = ("", "n", "1/5", "5/5", "average chain length") if chains else ("", "n", "%")
    if chains:
        longest = best.header["longest"]
        columns = ("", "n", f"1/{longest}", f"{longest}/{longest}", "average chain length")
    facts = best.header["protocol"]["facts"]
    conditions = [_name_of(best), best.summary.kind, f"{best.summary.assets} assets"]
    conditions += [f"renderer {facts['renderer']}", f"trained on {best.summary.split}"]
    caption = "To the best: paired difference on the same episodes, with 95 % interval and p of an exact test."
    caption += f" {marks.caption()}" if marks.texts else ""
    return Table(" · ".join(conditions), (*columns, "to the best", "p"), tuple(rows), caption)


def _against(best_name: str, best: ResultSet, name: str, each: ResultSet) -> tuple[Cell, Cell]:
    if each is best:
        return Cell(""), Cell("")
    try:
        found = compare(best, each, names=(best_name, name), anyway=True)
    except ResultSetError:  # no episode in common
        return Cell("–"), Cell("–")
    chains = found.kind == "chains"
    return difference_cell(found.average.difference, chains=chains), Cell(p_value(found.average.p))


def _score(of: Results) -> float:
    summary = of.summary
    if summary.chain:
        return summary.chain.average.value
    return summary.overall.value if summary.overall else float("-inf")


def _not_empty(sets: Mapping[str, Results]) -> None:
    for name, each in sets.items():
        if not each.summary.done:
            raise ResultSetError(f"{name} ({each.folder}) has no judged episode yet")

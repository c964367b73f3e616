"""What people read of plans, extractions and comparisons, as tables."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

from vla_bench.bench.records.tables import Cell, Table, percent
from vla_bench.bench.vectors.comparison import Compared
from vla_bench.bench.vectors.comparison import enough as enough_to_compare
from vla_bench.bench.vectors.intervals import Estimate
from vla_bench.bench.vectors.probes import not_read, probes
from vla_bench.bench.vectors.sampling import Plan
from vla_bench.bench.vectors.statistics import (
    FEW,
    curve,
    dimensions,
    effective_rank,
    enough,
    flat,
    overall,
)
from vla_bench.bench.vectors.store import Extraction


def names_of(found: Sequence[Extraction]) -> list[str]:
    """What extractions are called: their folders' names, or as much of the paths as tells them apart."""
    names = [each.name for each in found]
    if len(set(names)) < len(names):
        names = [str(each.folder) for each in found]
    return names if len(set(names)) == len(names) else [f"{name} ({n})" for n, name in enumerate(names, start=1)]


def plan_table(plan: Plan) -> Table:
    """Strata, their share of the episodes, and what was chosen of each."""
    rows = tuple(
        (
            Cell(each.name),
            Cell(str(each.episodes)),
            Cell(percent(each.share)),
            Cell(str(each.samples)),
            Cell(percent(each.samples / len(plan.samples))),
            Cell(str(each.chosen)),
        )
        for each in plan.strata
    )
    columns = ("stratum", "episodes", "share %", "frames", "share of frames %", "episodes chosen")
    drawn = "as many to each" if plan.allocation == "equal" else "in proportion to episodes"
    return Table("Strata", columns, rows, f"By {', '.join(plan.by) or 'nothing'}; frames {drawn}; seed {plan.seed}.")


def description(found: Extraction, place: str) -> list[Table]:
    """One place of an extraction. VectorsError: it cannot be computed from."""
    vectors = found.vectors(place)
    values, episodes = flat(vectors), list(found.rows["episode"])
    broken, whole = dimensions(values), overall(values, episodes)
    shape = " × ".join(map(str, vectors.shape[1:]))
    rows = [
        ("frames", Cell(str(len(values)))),
        ("episodes", Cell(str(len(set(episodes))))),
        ("shape, dtype", Cell(f"{shape} float32{_computed(found.dtype(place))}")),
        *((name, _estimate(whole[name])) for name in ("mean", "deviation", "length")),
        ("minimum", Cell(f"{values.min():.4g}")),
        ("maximum", Cell(f"{values.max():.4g}")),
        ("effective rank", Cell(f"{effective_rank(values):.1f} of {values.shape[1]}")),
    ]
    for name in ("dead", "constant", "saturated", "outlier"):
        numbers = getattr(broken, name)
        listed = f": {', '.join(map(str, numbers[:8]))}{' …' if len(numbers) > 8 else ''}" if numbers else ""
        told = (
            f"{len(numbers)}{listed}"
            if name == "dead" or len(values) >= FEW
            else f"not told of fewer than {FEW} frames"
        )
        rows.append((f"{name} dimensions", Cell(told)))
    caption = (
        f"{enough(whole, len(values))} 95 % intervals over episodes; extremes, the effective rank and numbers of "
        "dimensions are of these frames and have none. Definitions: docs/vectors.md."
    )
    tables = [Table(f"{found.name}: {place}", ("", "value"), tuple((Cell(a), b) for a, b in rows), caption)]
    sizes = curve(values, episodes)
    tables.append(
        Table(
            "Statistic against n",
            ("frames", "mean", "deviation", "length"),
            tuple(
                (Cell(str(n)), *(_estimate(of[name]) for name in ("mean", "deviation", "length"))) for n, of in sizes
            ),
        )
    )
    size = (values**2).mean(0) ** 0.5
    most = sorted(range(values.shape[1]), key=lambda each: -size[each])[:8]
    tables.append(
        Table(
            "Dimensions that carry most",
            ("dimension", "mean", "deviation", "minimum", "maximum", "excess kurtosis"),
            tuple(
                (
                    Cell(str(each)),
                    *(_estimate(of[name]) for name in ("mean", "deviation")),
                    *(Cell(f"{column[each]:.3g}") for column in (broken.low, broken.high, broken.tails)),
                )
                for each in most
                for of in [overall(values[:, [each]], episodes)]
            ),
            "Extremes and kurtosis are of these frames: they have no interval.",
        )
    )
    read_off = tuple(
        (Cell(of.what), Cell(of.measure), _estimate(of.score), Cell(f"{of.chance:.3f}"), Cell(str(of.n)))
        for of in probes(values, found.rows)
    )
    if read_off:
        columns = ("what", "measure", "score", "chance", "n")
        note = f"Cross-validated by episode. {not_read(found.rows)}".rstrip()
        tables.append(Table("Read off by a linear map", columns, read_off, note))
    elif why := not_read(found.rows):
        tables[0] = dataclasses.replace(tables[0], caption=f"{tables[0].caption} {why}")
    return tables


def comparison_tables(first: Extraction, second: Extraction, place: str, of: Compared) -> list[Table]:
    """What differs between two extractions at one place."""
    n, names = len(first.rows), names_of([first, second])
    rows: list[tuple[str, Cell]] = [("linear CKA", _estimate(of.cka))]
    caption = f"{enough_to_compare(of, n)} 95 % intervals over episodes; estimators: docs/vectors.md."
    by = of.by_dimension
    if by is None:
        caption = (
            f"Their widths differ, so that no dimension of one is one of the other: nothing is said by dimension or by "
            f"frame; CKA and what can be read off hold across widths. {caption}"
        )
    else:
        assert of.cosine and of.wasserstein and of.js and of.divergence and of.cosines is not None
        assert of.ks is not None and of.p is not None
        rows += [
            ("cosine of a frame's two vectors, mean", _estimate(of.cosine)),
            ("the same, lowest", Cell(f"{of.cosines.min():.4f}")),
            ("Wasserstein distance, mean over dimensions", _estimate(of.wasserstein)),
            ("Jensen-Shannon divergence, mean, nats", _estimate(of.js)),
            ("Kullback-Leibler divergence, mean, nats", _estimate(of.divergence)),
            (
                "dimensions that differ (Kolmogorov-Smirnov, Holm)",
                Cell(f"{int((of.p < 0.05).sum())} of {len(of.p)}"),
            ),
        ]
        if by.unseen:
            caption += (
                f" Kullback-Leibler has no interval: in {by.unseen} of {len(of.p)} dimensions there are values of the "
                "first such as the second never has, and what they add is known only to be much."
            )
    title = f"{' and '.join(names)}: {place}"
    tables = [Table(title, ("", "value"), tuple((Cell(a), b) for a, b in rows), caption)]
    if of.read:
        tables.append(
            Table(
                "Read off by a linear map",
                ("what", "measure", *names, "difference", "chance", "n"),
                tuple(
                    (
                        Cell(a.what),
                        Cell(a.measure),
                        _estimate(a.score),
                        _estimate(b.score),
                        _estimate(more),
                        Cell(f"{a.chance:.3f}"),
                        Cell(str(a.n)),
                    )
                    for a, b, more in of.read
                ),
                f"Cross-validated by episode; differences by the same draws. {not_read(first.rows)}".rstrip(),
            )
        )
    tables.append(
        Table(
            "Likeness against n",
            ("frames", "linear CKA", *(["mean cosine"] if by is not None else [])),
            tuple(
                (Cell(str(size)), _estimate(cka), *([_estimate(angle)] if angle is not None else []))
                for size, cka, angle in of.curve
            ),
            "Of the first n frames, episodes kept together; pairs of frames of one episode are left out of CKA.",
        )
    )
    if by is None:
        return tables
    assert of.ks is not None and of.p is not None
    columns = (by.js, by.divergence, of.ks, of.p)
    most = (-by.wasserstein).argsort(kind="stable")[:10].tolist()
    tables.append(
        Table(
            "Dimensions that changed most",
            ("dimension", "Wasserstein", "JS", "KL", "KS", "p, corrected"),
            tuple(
                (
                    Cell(str(each)),
                    _estimate(Estimate(*(float(column[each]) for column in (by.wasserstein, by.low, by.high)))),
                    *(Cell(f"{column[each]:.3g}") for column in columns),
                )
                for each in most
            ),
            "By a dimension JS, KL and KS have no interval; those of their means and of Wasserstein's distance hold.",
        )
    )
    tasks = tuple((Cell(task), Cell(str(number)), _estimate(change)) for task, number, change in of.tasks[:12])
    note = "Mean length of the change, as a share of the mean length of the first's vectors."
    tables.append(Table("Tasks that changed most", ("task", "frames", "change"), tasks, note))
    return tables


def _estimate(of: Estimate) -> Cell:
    if math.isnan(of.value):
        return Cell("undefined")
    if not math.isfinite(of.half):
        return Cell(f"{of.value:.4g}")
    return Cell(f"{of.value:.4g}", (f"{of.low:.4g}", f"{of.high:.4g}"))


def _computed(dtype: str) -> str:
    return f", computed in {dtype}" if dtype not in ("", "float32") else ""

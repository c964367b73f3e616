"""Two extractions of the same frames, dimension by dimension and as wholes.

Distances are those of distances.py, CKA and cosines those of similarity.py. Kolmogorov and Smirnov's test takes frames
to be independent, so frames count as what they are worth: their number is divided by how much more the two shares below
a value vary between episodes than those of independent frames would (the design effect of Rao and Scott, 1984, averaged
over the quantiles of both samples, 1 at least). Its p values are corrected by Holm over dimensions.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from vla_bench.bench.vectors.distances import Distances, distances
from vla_bench.bench.vectors.intervals import Episodes, Estimate
from vla_bench.bench.vectors.probes import Probe, better, probes
from vla_bench.bench.vectors.similarity import cka_estimate, cosine
from vla_bench.bench.vectors.statistics import ENOUGH, flat, sizes_and_rows
from vla_bench.bench.vectors.store import Extraction, VectorsError


@dataclass(frozen=True)
class Compared:
    """What differs; only what holds across widths where widths differ."""

    cka: Estimate
    read: tuple[tuple[Probe, Probe, Estimate], ...] = ()
    """What is read off the first and the second, and how much more off the second."""
    cosine: Estimate | None = None
    """Mean over frames."""
    cosines: np.ndarray | None = None
    """(n,) of each frame's two vectors."""
    wasserstein: Estimate | None = None
    """Mean over dimensions; so are the next two."""
    js: Estimate | None = None
    divergence: Estimate | None = None
    by_dimension: Distances | None = None
    ks: np.ndarray | None = None
    """(d,) of Kolmogorov and Smirnov's test."""
    p: np.ndarray | None = None
    """(d,) of it, corrected."""
    tasks: tuple[tuple[str, int, Estimate], ...] = ()
    """Task, frames, and the mean length of the change over that of the first's vectors; most changed first."""
    curve: tuple[tuple[int, Estimate, Estimate | None], ...] = ()
    """Frames, CKA and mean cosine of the first n frames, episodes kept together."""


def compare(first: Extraction, second: Extraction, place: str) -> Compared:
    """Compares one place. VectorsError: other frames, or not a place of both."""
    frames = [each.about["identity"]["frames"] for each in (first, second)]
    if frames[0] != frames[1]:
        raise VectorsError(
            f"{first.folder} and {second.folder} are extractions of other frames; extract both with the same --data or "
            "--episodes, --samples, --stratify and --seed"
        )
    a, b = flat(first.vectors(place)), flat(second.vectors(place))
    return compare_values(a, b, first.rows)


def compare_values(a: np.ndarray, b: np.ndarray, rows: Any, seed: int = 0) -> Compared:
    """Of (n, d) and (n, e) values of the same n frames, and what these are (``episode``, ``task`` …)."""
    names = rows["episode"].to_numpy()
    over = Episodes(names, seed)
    read = tuple(
        (one, other, better(one, other, over))
        for one, other in zip(probes(a, rows, seed=seed), probes(b, rows, seed=seed), strict=True)
    )
    similarity = cka_estimate(a, b, over)
    same = a.shape[1] == b.shape[1]
    points = []
    for n, kept in sizes_and_rows(names, seed):
        of_n = Episodes(names[kept], seed)
        angle = of_n.ratio(cosine(a[kept], b[kept]), np.ones(n), (-1, 1)) if same else None
        points.append((n, cka_estimate(a[kept], b[kept], of_n), angle))
    if not same:
        return Compared(similarity, read, curve=tuple(points))
    apart, differing = distances(a, b, names, seed), kolmogorov_smirnov(a, b, over)
    cosines, tasks = cosine(a, b), rows["task"].to_numpy().astype(str)
    by_task = [
        (task, int((tasks == task).sum()), change_of_task(a, b, names, tasks == task, seed))
        for task in sorted(set(tasks))
    ]
    by_task.sort(key=lambda row: -row[2].value)
    return Compared(
        similarity,
        read,
        over.ratio(cosines, np.ones(len(a)), (-1, 1)),
        cosines,
        apart.mean_wasserstein,
        apart.mean_js,
        apart.mean_divergence,
        apart,
        *differing,
        tuple(by_task),
        tuple(points),
    )


def change_of_task(a: np.ndarray, b: np.ndarray, names: np.ndarray, of: np.ndarray, seed: int = 0) -> Estimate:
    """Mean length of the change at the (n,) frames ``of`` a task, over the mean length of ``a`` at all frames.

    The interval has both means' errors, taken as independent, each with the episodes that it is of.
    """
    lengths = Episodes(names, seed).ratio(np.linalg.norm(a, axis=1), np.ones(len(a)))
    change = Episodes(names[of], seed).ratio(np.linalg.norm(b - a, axis=1)[of], np.ones(int(of.sum())))
    if not lengths.value > 0:
        return Estimate(math.nan, math.nan, math.nan)
    value = change.value / lengths.value
    half = math.hypot(change.half, value * lengths.half) / lengths.value
    return Estimate(value, max(value - half, 0.0) if math.isfinite(half) else -math.inf, value + half)


def enough(found: Compared, n: int) -> str:
    """The sentence that says whether n frames are enough to tell how alike two extractions are."""
    if math.isnan(found.cka.value):
        return f"{n} frames: one of the two does not vary, so there is no likeness to estimate."
    widest, known = found.cka.half, f"CKA is known to within {found.cka.half:.3f}"
    if found.cosine is not None:
        widest = max(widest, found.cosine.half)
        known += f" and the mean cosine to within {found.cosine.half:.3f}"
    if not math.isfinite(widest):
        return f"{n} frames are not enough: they are of too few episodes to say anything of others."
    if widest <= ENOUGH:
        return f"{n} frames are enough: {known}; {ENOUGH} is wanted."
    need = math.ceil(n * (widest / ENOUGH) ** 2)
    return f"{n} frames are not enough: {known}; about {need} would bring it to {ENOUGH}."


QUANTILES = np.arange(1, 16) / 16
"""Where shares are compared for how much they vary between episodes."""


def kolmogorov_smirnov(a: np.ndarray, b: np.ndarray, over: Episodes) -> tuple[np.ndarray, np.ndarray]:
    """(d,) statistics of Kolmogorov and Smirnov's test, and corrected p values; of one episode nothing differs."""
    from scipy import stats

    n, found, worth = len(a), np.zeros(a.shape[1]), np.zeros(a.shape[1])
    for each, (x, y) in enumerate(zip(a.T, b.T, strict=True)):
        both = np.sort(np.concatenate([x, y]))
        below = [np.searchsorted(np.sort(side), both, side="right") / n for side in (x, y)]
        found[each] = np.abs(below[0] - below[1]).max()
        if found[each] and over.count > 1:
            at = np.unique(np.quantile(both, QUANTILES))
            share = np.searchsorted(both, at, side="right") / len(both)
            apart = (x[:, None] <= at).astype(float) - (y[:, None] <= at)
            moved = over.sums(apart - apart.mean(0))
            varied = float((moved**2).sum()) * over.count / (over.count - 1) / n**2
            alone = float((2 * share * (1 - share)).sum()) / n
            worth[each] = n / (2 * max(varied / alone, 1.0)) if alone else n / 2
    return found, holm(stats.kstwobign.sf(np.sqrt(worth) * found))


def holm(p: np.ndarray) -> np.ndarray:
    """Corrected p values (Holm, 1979)."""
    order = np.argsort(p, kind="stable")
    scaled = np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1))
    corrected = np.empty_like(p)
    corrected[order] = np.minimum(scaled, 1)
    return corrected

"""Two extractions of the same frames, dimension by dimension and as wholes.

Divergences are estimated on a histogram of 30 bins whose edges are quantiles of both samples together; KL with half a
count added to each bin, so that it is finite; both in nats. The p values of Kolmogorov and Smirnov's test are corrected
by Holm over dimensions; the test takes frames to be independent, so they are too small where an episode gives many.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from vla_bench.bench.vectors.intervals import Episodes, Estimate
from vla_bench.bench.vectors.probes import Probe, better, probes
from vla_bench.bench.vectors.statistics import ENOUGH, flat, sizes_and_rows
from vla_bench.bench.vectors.store import Extraction, VectorsError

BINS = 30
NUMBERS_DRAWN = 2e7
"""Numbers that are sorted for the intervals of distances: fewer draws (50 at least) where vectors are wide."""


@dataclass(frozen=True)
class ByDimension:
    """(d,) arrays, from the first to the second."""

    wasserstein: np.ndarray
    half: np.ndarray
    """Half widths of the intervals of ``wasserstein``."""
    divergence: np.ndarray
    """Kullback-Leibler, first from second."""
    js: np.ndarray
    ks: np.ndarray
    p: np.ndarray
    """Corrected."""


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
    by_dimension: ByDimension | None = None
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
    by_dimension, means = _dimensions(a, b, names, seed)
    cosines, length = cosine(a, b), np.linalg.norm(a, axis=1)
    change, tasks = np.linalg.norm(b - a, axis=1), rows["task"].to_numpy().astype(str)
    scale = length.mean() or 1.0
    by_task = []
    for task in sorted(set(tasks)):
        of = tasks == task
        moved = Episodes(names[of], seed).ratio(change[of] / scale, np.ones(int(of.sum())), (0, math.inf))
        by_task.append((task, int(of.sum()), moved))
    by_task.sort(key=lambda row: -row[2].value)
    return Compared(
        similarity,
        read,
        over.ratio(cosines, np.ones(len(a)), (-1, 1)),
        cosines,
        *means,
        by_dimension,
        tuple(by_task),
        tuple(points),
    )


def enough(found: Compared, n: int) -> str:
    """The sentence that says whether n frames are enough to tell how alike two extractions are."""
    widest, known = found.cka.half, f"CKA is known to within {found.cka.half:.3f}"
    if found.cosine is not None:
        widest = max(widest, found.cosine.half)
        known += f" and the mean cosine to within {found.cosine.half:.3f}"
    if not math.isfinite(widest):
        return f"{n} frames are not enough: they are of one episode, which says nothing of others."
    if widest <= ENOUGH:
        return f"{n} frames are enough: {known}; {ENOUGH} is wanted."
    need = math.ceil(n * (widest / ENOUGH) ** 2)
    return f"{n} frames are not enough: {known}; about {need} would bring it to {ENOUGH}."


def cosine(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """(n,) of the rows of (n, d) and (n, d); of two zero vectors 1, of one 0."""
    lengths = np.linalg.norm(a, axis=1), np.linalg.norm(b, axis=1)
    both = lengths[0] * lengths[1]
    return np.where(both > 0, (a * b).sum(1) / np.where(both > 0, both, 1), (lengths[0] == lengths[1]).astype(float))


def _dimensions(
    a: np.ndarray, b: np.ndarray, names: np.ndarray, seed: int
) -> tuple[ByDimension, tuple[Estimate, Estimate, Estimate]]:
    from scipy import stats

    n, width = a.shape
    over = Episodes(names, seed, int(np.clip(NUMBERS_DRAWN / a.size, 50, 400)))
    ks, p = np.zeros(width), np.ones(width)
    kl, js = np.zeros(width), np.zeros(width)
    drawn_kl, drawn_js = np.zeros(len(over.draws)), np.zeros(len(over.draws))
    for each in range(width):
        ks[each], p[each] = stats.ks_2samp(a[:, each], b[:, each], method="asymp")
        counts = _counts(a[:, each], b[:, each])
        sums = [over.sums(count) for count in counts]
        kl[each], js[each] = (float(one[0]) for one in _divergences(*(sum_.sum(0)[None] for sum_ in sums)))
        of_draws = _divergences(*(over.draws @ sum_ for sum_ in sums))
        drawn_kl += of_draws[0] / width
        drawn_js += of_draws[1] / width
    wasserstein = np.abs(np.sort(a, axis=0) - np.sort(b, axis=0)).mean(0)
    drawn = np.empty((len(over.draws), width))
    for number, draw in enumerate(over.draws):
        kept = np.repeat(np.arange(n), draw[over.group].astype(int))
        drawn[number] = np.abs(np.sort(a[kept], axis=0) - np.sort(b[kept], axis=0)).mean(0)
    means = (
        over.estimate(float(wasserstein.mean()), drawn.mean(1), (0, math.inf)),
        over.estimate(float(js.mean()), drawn_js, (0, math.log(2))),
        over.estimate(float(kl.mean()), drawn_kl, (0, math.inf)),
    )
    return ByDimension(wasserstein, over.half(drawn), kl, js, ks, holm(p)), means


def linear_cka(a: np.ndarray, b: np.ndarray) -> float:
    """Of (n, d) and (n, e): 1 for a rotation and scaling of the other (Kornblith et al., 2019)."""
    a, b = a - a.mean(0), b - b.mean(0)
    sizes = np.linalg.norm(a.T @ a) * np.linalg.norm(b.T @ b)
    return float(np.linalg.norm(a.T @ b) ** 2 / sizes) if sizes > 0 else float("nan")


def cka_estimate(a: np.ndarray, b: np.ndarray, over: Episodes) -> Estimate:
    """Linear CKA, with an interval from the influence of each frame on it, summed over drawn episodes.

    An episode drawn twice makes every similarity of samples larger; its influence (the derivative of CKA by the
    frame's weight) does not. Takes (n, d) once, not once a draw.
    """
    value = linear_cka(a, b)
    if not math.isfinite(value):
        return Estimate(value, value, value)
    a, b = a - a.mean(0), b - b.mean(0)
    both, own, other = a.T @ b, a.T @ a, b.T @ b
    parts = (
        2 * np.einsum("ij,ij->i", a @ both, b) / np.linalg.norm(both) ** 2 if value > 0 else np.zeros(len(a)),
        np.einsum("ij,ij->i", a @ own, a) / np.linalg.norm(own) ** 2,
        np.einsum("ij,ij->i", b @ other, b) / np.linalg.norm(other) ** 2,
    )
    influence = over.sums((value * (parts[0] - parts[1] - parts[2]))[:, None])
    return over.estimate(value, value + ((over.draws - 1) @ influence)[:, 0], (0, 1))


def divergences(a: np.ndarray, b: np.ndarray) -> tuple[float, float]:
    """KL of ``a`` from ``b``, and Jensen-Shannon, of two samples of numbers, in nats."""
    kl, js = _divergences(*(each.sum(0)[None] for each in _counts(a, b)))
    return float(kl[0]), float(js[0])


def _counts(a: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(n, bins) of 0 and 1: where each number of two samples falls."""
    edges = np.unique(np.quantile(np.concatenate([a, b]), np.linspace(0, 1, BINS + 1)))
    bins = max(len(edges) - 1, 1)
    places = [np.clip(np.searchsorted(edges, each, side="right") - 1, 0, bins - 1) for each in (a, b)]
    return np.eye(bins)[places[0]], np.eye(bins)[places[1]]


def _divergences(p: np.ndarray, q: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(r,) KL and JS of (r, bins) counts."""
    smooth = [(each + 0.5) / (each + 0.5).sum(1, keepdims=True) for each in (p, q)]
    kl = (smooth[0] * np.log(smooth[0] / smooth[1])).sum(1)
    p, q = (each / each.sum(1, keepdims=True) for each in (p, q))
    middle = (p + q) / 2
    with np.errstate(divide="ignore", invalid="ignore"):
        js = sum(0.5 * np.where(x > 0, x * np.log(x / middle), 0.0).sum(1) for x in (p, q))
    return kl, np.maximum(js, 0.0)


def holm(p: np.ndarray) -> np.ndarray:
    """Corrected p values (Holm, 1979)."""
    order = np.argsort(p, kind="stable")
    scaled = np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1))
    corrected = np.empty_like(p)
    corrected[order] = np.minimum(scaled, 1)
    return corrected

"""Two extractions of the same frames, dimension by dimension and as wholes.

Divergences are estimated on a histogram of 30 bins whose edges are quantiles of both samples together; KL with half a
count added to each bin, so that it is finite; both in nats. The p values of Kolmogorov and Smirnov's test are corrected
by Holm over dimensions; the test takes frames to be independent, so they are too small where an episode gives many.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from vla_bench.bench.vectors.statistics import flat
from vla_bench.bench.vectors.store import Extraction, VectorsError

BINS = 30


@dataclass(frozen=True)
class Compared:
    """(d,) arrays by dimension, from the first to the second; None where widths differ."""

    cka: float
    cosine: np.ndarray | None = None
    """(n,) of each frame's two vectors."""
    wasserstein: np.ndarray | None = None
    divergence: np.ndarray | None = None
    """Kullback-Leibler, first from second."""
    js: np.ndarray | None = None
    ks: np.ndarray | None = None
    p: np.ndarray | None = None
    """Corrected."""
    tasks: tuple[tuple[str, int, float], ...] = ()
    """Task, frames, and the mean length of the change over that of the first's vectors; most changed first."""


def compare(first: Extraction, second: Extraction, place: str) -> Compared:
    """Compares one place. VectorsError: other frames, or not a place of both."""
    frames = [each.about["identity"]["frames"] for each in (first, second)]
    if frames[0] != frames[1]:
        raise VectorsError(
            f"{first.folder} and {second.folder} are extractions of other frames; extract both with the same --data or "
            "--episodes, --samples, --stratify and --seed"
        )
    a, b = flat(first.vectors(place)), flat(second.vectors(place))
    return compare_values(a, b, [str(task) for task in first.rows["task"]])


def compare_values(a: np.ndarray, b: np.ndarray, tasks: list[str]) -> Compared:
    """Of (n, d) and (n, e) values of the same n frames."""
    from scipy import stats

    similarity = linear_cka(a, b)
    if a.shape[1] != b.shape[1]:
        return Compared(similarity)
    distances, kl, js = np.zeros(a.shape[1]), np.zeros(a.shape[1]), np.zeros(a.shape[1])
    ks, p = np.zeros(a.shape[1]), np.ones(a.shape[1])
    for each in range(a.shape[1]):
        distances[each] = stats.wasserstein_distance(a[:, each], b[:, each])
        kl[each], js[each] = divergences(a[:, each], b[:, each])
        ks[each], p[each] = stats.ks_2samp(a[:, each], b[:, each], method="asymp")
    lengths = np.linalg.norm(a, axis=1), np.linalg.norm(b, axis=1)
    both = lengths[0] * lengths[1]
    cosine = np.where(both > 0, (a * b).sum(1) / np.where(both > 0, both, 1), (lengths[0] == lengths[1]).astype(float))
    change = np.linalg.norm(b - a, axis=1)
    names = np.asarray(tasks)
    scale = lengths[0].mean() or 1.0
    by_task = [(task, int((names == task).sum()), float(change[names == task].mean() / scale)) for task in set(tasks)]
    by_task.sort(key=lambda row: (-row[2], row[0]))
    return Compared(similarity, cosine, distances, kl, js, ks, holm(p), tuple(by_task))


def linear_cka(a: np.ndarray, b: np.ndarray) -> float:
    """Of (n, d) and (n, e): 1 for a rotation and scaling of the other (Kornblith et al., 2019)."""
    a, b = a - a.mean(0), b - b.mean(0)
    sizes = np.linalg.norm(a.T @ a) * np.linalg.norm(b.T @ b)
    return float(np.linalg.norm(a.T @ b) ** 2 / sizes) if sizes > 0 else float("nan")


def divergences(a: np.ndarray, b: np.ndarray) -> tuple[float, float]:
    """KL of ``a`` from ``b``, and Jensen-Shannon, of two samples of numbers, in nats."""
    edges = np.unique(np.quantile(np.concatenate([a, b]), np.linspace(0, 1, BINS + 1)))
    if len(edges) < 2:
        return 0.0, 0.0
    p, q = (np.histogram(each, edges)[0].astype(float) for each in (a, b))
    smooth_p, smooth_q = (p + 0.5) / (p + 0.5).sum(), (q + 0.5) / (q + 0.5).sum()
    p, q = p / p.sum(), q / q.sum()
    middle = (p + q) / 2
    js = sum(0.5 * float((x[x > 0] * np.log(x[x > 0] / middle[x > 0])).sum()) for x in (p, q))
    return float((smooth_p * np.log(smooth_p / smooth_q)).sum()), max(js, 0.0)


def holm(p: np.ndarray) -> np.ndarray:
    """Corrected p values (Holm, 1979)."""
    order = np.argsort(p, kind="stable")
    scaled = np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1))
    corrected = np.empty_like(p)
    corrected[order] = np.minimum(scaled, 1)
    return corrected

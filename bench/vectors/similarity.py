"""How alike two extractions are as wholes: linear CKA, and the cosine of each frame's two vectors."""

from __future__ import annotations

import math

import numpy as np

from vla_bench.bench.vectors.distances import degenerate
from vla_bench.bench.vectors.intervals import Episodes, Estimate

ROWS = 512
"""Frames whose products with all others are in memory at once."""


def cosine(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """(n,) of the rows of (n, d) and (n, d); of two zero vectors 1, of one 0."""
    lengths = np.linalg.norm(a, axis=1), np.linalg.norm(b, axis=1)
    both = lengths[0] * lengths[1]
    return np.where(both > 0, (a * b).sum(1) / np.where(both > 0, both, 1), (lengths[0] == lengths[1]).astype(float))


def linear_cka(a: np.ndarray, b: np.ndarray) -> float:
    """Of (n, d) and (n, e): 1 for a rotation and scaling of the other (Kornblith et al., 2019)."""
    a, b = a - a.mean(0), b - b.mean(0)
    sizes = np.linalg.norm(a.T @ a) * np.linalg.norm(b.T @ b)
    return float(np.linalg.norm(a.T @ b) ** 2 / sizes) if sizes > 0 else float("nan")


def cka_estimate(a: np.ndarray, b: np.ndarray, over: Episodes) -> Estimate:
    """Linear CKA with its interval, from pairs of frames of different episodes alone.

    CKA compares how like any two frames are in ``a`` with how like they are in ``b``. A frame is like itself, and the
    frames of an episode are like each other, in both, which makes CKA of few frames too high: such pairs are left out,
    and the rest centred without bias (Song et al., 2012, with episodes in place of samples). What is left of the bias
    goes by the jackknife over episodes, which gives the interval, too. Of fewer than four episodes it is plain CKA,
    without an interval.
    """
    plain = linear_cka(a, b)
    if not math.isfinite(plain) or over.count < 4:
        return Estimate(plain, -math.inf, math.inf)
    over = over.merged()
    both, own, other = _products(a, b, over)
    value = float(_ratio(both.sum(), own.sum(), other.sum()))
    without = _ratio(*(each.sum() - 2 * each.sum(1) for each in (both, own, other)))
    if not (math.isfinite(value) and np.isfinite(without).all()):
        return Estimate(plain, -math.inf, math.inf)
    groups = over.count
    spread = (groups - 1) / groups * float(((without - without.mean()) ** 2).sum())
    apart = ~np.eye(groups, dtype=bool)
    mean = [float(each[apart].mean()) for each in (both, own, other)]
    # How two episodes move the ratio together, and how each does alone.
    kernel = both / math.sqrt(mean[1] * mean[2]) - value / 2 * (own / mean[1] + other / mean[2])
    alone = (kernel * apart).sum(1) / (groups - 1)
    pairs = ((kernel - alone[:, None] - alone[None]) * apart) ** 2
    error, _ = degenerate(spread, 4 * float(pairs.sum()) / (groups * (groups - 1)) / groups**2)
    return over.around(float(groups * value - (groups - 1) * without.mean()), error, (0, 1))


def _ratio(both: np.ndarray, own: np.ndarray, other: np.ndarray) -> np.ndarray:
    sizes = np.sqrt(np.maximum(own * other, 0))
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(both / sizes)


def _products(a: np.ndarray, b: np.ndarray, over: Episodes) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(G, G) sums, over the pairs of frames of two episodes, of likeness in a times likeness in b, in a twice, in b
    twice; 0 for an episode with itself. Takes 512 frames with all others at once, never all with all."""
    order = np.argsort(over.group, kind="stable")
    group = over.group[order]
    firsts = np.searchsorted(group, np.arange(over.count))
    sides = [_Centred(each[order], group, firsts) for each in (a, b)]
    found = tuple(np.zeros((over.count, over.count)) for _ in range(3))
    for start in range(0, len(group), ROWS):
        rows = slice(start, start + ROWS)
        like = [each.rows(rows) for each in sides]
        at = np.flatnonzero(np.r_[True, np.diff(group[rows]) > 0])
        for total, (one, two) in zip(found, ((0, 1), (0, 0), (1, 1)), strict=True):
            by_episode = np.add.reduceat(like[one] * like[two], firsts, axis=1)
            total[group[rows][at]] += np.add.reduceat(by_episode, at, axis=0)
    for total in found:
        np.fill_diagonal(total, 0)
    return found  # type: ignore[return-value]


class _Centred:
    """Products of frames of different episodes, less what each frame has with all others."""

    def __init__(self, values: np.ndarray, group: np.ndarray, firsts: np.ndarray) -> None:
        values = values - values.mean(0)
        self._values = values / (np.linalg.norm(values) or 1.0)
        sizes = np.diff(np.r_[firsts, len(group)])
        sums = np.add.reduceat(self._values, firsts, axis=0)
        whole, groups = sums.sum(0), len(firsts)
        others = len(group) - sizes
        of_row = np.einsum("ij,ij->i", self._values, (whole - sums)[group]) / others[group]
        of_all = float((whole**2).sum() - (sums**2).sum()) / float((sizes * others).sum())
        self._less = of_row * (groups - 1) / (groups - 2)
        self._more = of_all * groups / (groups - 2)

    def rows(self, rows: slice) -> np.ndarray:
        """(k, n) of these rows with all."""
        return self._values[rows] @ self._values.T - self._less[rows][:, None] - self._less[None] + self._more

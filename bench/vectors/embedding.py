"""Vectors as points on a plane: t-SNE and UMAP, seeded."""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np

POINTS = 2000
"""Frames on a map; of more, as many drawn with the seed."""
COMPONENTS = 50
"""Principal components that are left of wider vectors, as t-SNE's authors advise."""


@dataclass(frozen=True)
class Map:
    """(n, 2) places of points, and what they were made with, for people; or why there are none."""

    method: str
    told: str
    places: np.ndarray | None


def chosen(n: int, seed: int = 0) -> np.ndarray:
    """Which of n frames are on the maps, in their order."""
    if n <= POINTS:
        return np.arange(n)
    return np.sort(np.random.default_rng(seed).choice(n, POINTS, replace=False))


def maps(values: np.ndarray, seed: int = 0) -> list[Map]:
    """Of (n, d) values. A method whose package is not installed, or that has nothing to lay out, says so instead."""
    from threadpoolctl import threadpool_limits

    if len(np.unique(values, axis=0)) < 5:
        return [Map("t-SNE", "There are fewer than 5 different vectors: nothing to lay out.", None)]
    # With several threads sums come in any order, and the same seed gives another map.
    with threadpool_limits(1):
        reduced, told = _reduced(values)
        return [_tsne(reduced, told, seed), _umap(reduced, told, seed)]


def _reduced(values: np.ndarray) -> tuple[np.ndarray, str]:
    from sklearn.decomposition import PCA

    components = min(COMPONENTS, *values.shape)
    if values.shape[1] <= components:
        return values - values.mean(0), ""
    model = PCA(components, svd_solver="full").fit(values)
    share = 100 * float(model.explained_variance_ratio_.sum())
    return model.transform(values), f", of {components} principal components ({share:.1f} % of the variance)"


def _tsne(values: np.ndarray, told: str, seed: int) -> Map:
    from sklearn.manifold import TSNE

    perplexity = min(30.0, (len(values) - 1) / 3)
    model = TSNE(perplexity=perplexity, init="pca", learning_rate="auto", max_iter=1000, random_state=seed)
    places = model.fit_transform(values)
    return Map(
        "t-SNE",
        f"perplexity {perplexity:g}, 1000 iterations, begun from PCA, seed {seed}{told}; scikit-learn",
        np.asarray(places),
    )


def _umap(values: np.ndarray, told: str, seed: int) -> Map:
    from vla_bench.program import installing

    try:
        from umap import UMAP
    except ImportError:
        return Map("UMAP", f"No UMAP: the package umap-learn is not installed; type: {installing('analysis')}", None)
    neighbours = min(15, len(values) - 1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a seed means one thread, which it says each time
        places = UMAP(n_neighbors=neighbours, min_dist=0.1, random_state=seed, n_jobs=1).fit_transform(values)
    return Map(
        "UMAP", f"{neighbours} neighbours, least distance 0.1, seed {seed}{told}; umap-learn", np.asarray(places)
    )

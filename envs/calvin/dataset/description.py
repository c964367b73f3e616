"""What a data set holds, in numbers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from vla_bench.envs.calvin.dataset.layout import NUMBERS
from vla_bench.envs.calvin.dataset.packing import plan_packing
from vla_bench.envs.calvin.dataset.source import Dataset
from vla_bench.envs.errors import DatasetError

QUANTILES = (0.0, 0.01, 0.5, 0.99, 1.0)
SAMPLED = 20_000
"""Frames from which quantiles are taken unless all are wanted."""


@dataclass(frozen=True, slots=True, eq=False)
class Description:
    """One split."""

    frames: int
    """In all recordings."""
    recordings: int
    annotations: int
    annotated: int
    """Distinct frames under annotations."""
    slots: int
    """Annotated frames, each counted as often as it is annotated."""
    instructions: int
    """Distinct ones."""
    tasks: Mapping[str, int]
    """Annotations of each task, most first."""
    scenes: Mapping[str, int]
    """Annotations of each scene."""
    lengths: tuple[int, int, int]
    """Shortest, median and longest annotation, frames."""
    shapes: Mapping[str, tuple[int, ...]]
    label: str
    quantiles: Mapping[str, np.ndarray]
    """Key to (5, D): least, 1 %, median, 99 % and greatest of each number over annotated frames."""
    sampled: int
    """Frames the quantiles are of."""

    def as_plain(self) -> dict[str, object]:
        """As JSON."""
        names = ("min", "q01", "median", "q99", "max")
        return {
            **{name: getattr(self, name) for name in ("frames", "recordings", "annotations", "annotated", "slots")},
            **{name: getattr(self, name) for name in ("instructions", "label", "sampled")},
            "tasks": dict(self.tasks),
            "scenes": dict(self.scenes),
            "lengths": dict(zip(("shortest", "median", "longest"), self.lengths, strict=True)),
            "shapes": {key: list(shape) for key, shape in self.shapes.items()},
            "quantiles": {
                key: {name: row.tolist() for name, row in zip(names, rows, strict=True)}
                for key, rows in self.quantiles.items()
            },
        }


def summarise(
    dataset: Dataset, *, sample: int | None = SAMPLED, progress: Callable[[int, int], None] | None = None
) -> Description:
    """Counts what a split holds; reads up to ``sample`` frames' numbers, spread evenly (all when None)."""
    annotations = dataset.annotations
    recordings = np.asarray(dataset.recordings)
    lengths = sorted(each.length for each in annotations) or [0]
    try:
        plan = plan_packing(dataset, everything=not annotations)
        indices = plan.indices(0, plan.rows)
    except DatasetError:
        indices = np.empty(0, np.int64)
    annotated = _distinct(annotations)
    if sample is not None and len(indices) > sample:
        indices = indices[np.unique(np.linspace(0, len(indices) - 1, sample).astype(int))]
    keys = [key for key in NUMBERS if key in dataset.shapes]
    parts: list[dict[str, np.ndarray]] = []
    for begin in range(0, len(indices), 512):
        parts.append(dataset.frames(indices[begin : begin + 512], keys))
        if progress:
            progress(min(begin + 512, len(indices)), len(indices))
    return Description(
        frames=int((recordings[:, 1] - recordings[:, 0] + 1).sum()),
        recordings=len(recordings),
        annotations=len(annotations),
        annotated=annotated,
        slots=sum(max(0, each.length) for each in annotations),
        instructions=len({each.instruction for each in annotations}),
        tasks=dict(Counter(each.task for each in annotations).most_common()),
        scenes=dict(sorted(Counter(each.scene or "unknown" for each in annotations).items())),
        lengths=(lengths[0], lengths[len(lengths) // 2], lengths[-1]),
        shapes=dict(dataset.shapes),
        label=dataset.label,
        quantiles={
            key: np.quantile(np.concatenate([part[key] for part in parts]), QUANTILES, axis=0) for key in keys if parts
        },
        sampled=len(indices),
    )


def _distinct(annotations: object) -> int:
    count, reached = 0, -1
    for start, end in sorted((each.start, each.end) for each in annotations):  # type: ignore[attr-defined]
        count += max(0, end - max(start, reached))
        reached = max(reached, end)
    return count

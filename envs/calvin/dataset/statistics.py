"""Means, deviations and bounds of a data set, and the file ``statistics.yaml`` that keeps them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from vla_bench.envs.calvin.dataset.layout import NUMBERS
from vla_bench.envs.calvin.dataset.pickles import replace_file
from vla_bench.envs.errors import DatasetError

TARGET = "calvin_models.calvin_agent.utils.transforms.NormalizeVector"
"""The class CALVIN's loaders make of an entry; they cut the first part of the name off themselves."""


@dataclass(frozen=True, slots=True, eq=False)
class Moments:
    """Sums over frames, by key, from which all statistics follow; they add up."""

    count: int
    sums: Mapping[str, np.ndarray]
    squares: Mapping[str, np.ndarray]
    low: Mapping[str, np.ndarray]
    high: Mapping[str, np.ndarray]

    @classmethod
    def of(cls, arrays: Mapping[str, np.ndarray]) -> Moments:
        """Of arrays (n, D) by key; images are passed over."""
        held = {key: np.asarray(arrays[key], np.float64) for key in NUMBERS if key in arrays}
        return cls(
            len(next(iter(held.values()))),
            {key: array.sum(0) for key, array in held.items()},
            {key: (array**2).sum(0) for key, array in held.items()},
            {key: array.min(0) for key, array in held.items()},
            {key: array.max(0) for key, array in held.items()},
        )

    @classmethod
    def sum(cls, parts: Iterable[Mapping[str, Any] | Moments]) -> Moments:
        """Of all parts together, which may be plain."""
        whole: Moments | None = None
        for part in parts:
            each = part if isinstance(part, Moments) else cls.from_plain(part)
            whole = each if whole is None else whole._with(each)
        if whole is None:
            raise ValueError("nothing to sum")
        return whole

    def _with(self, other: Moments) -> Moments:
        return Moments(
            self.count + other.count,
            {key: self.sums[key] + other.sums[key] for key in self.sums},
            {key: self.squares[key] + other.squares[key] for key in self.sums},
            {key: np.minimum(self.low[key], other.low[key]) for key in self.sums},
            {key: np.maximum(self.high[key], other.high[key]) for key in self.sums},
        )

    def mean(self, key: str) -> np.ndarray:
        """(D,) mean."""
        return self.sums[key] / self.count

    def deviation(self, key: str) -> np.ndarray:
        """(D,) standard deviation of the frames themselves."""
        return np.sqrt(np.maximum(self.squares[key] / self.count - self.mean(key) ** 2, 0))

    def as_plain(self) -> dict[str, Any]:
        """As JSON."""
        parts = ("sums", "squares", "low", "high")
        return {
            "count": self.count,
            **{part: {key: array.tolist() for key, array in getattr(self, part).items()} for part in parts},
        }

    @classmethod
    def from_plain(cls, plain: Mapping[str, Any]) -> Moments:
        """Inverse of :meth:`as_plain`."""
        parts = ("sums", "squares", "low", "high")
        return cls(plain["count"], *({key: np.array(row) for key, row in plain[part].items()} for part in parts))


def write_statistics(path: Path, moments: Moments) -> None:
    """Writes ``statistics.yaml``. A number that never changed gets the deviation 1, so that nothing divides by 0."""
    lines = []
    for key in ("robot_obs", "scene_obs"):
        deviation = moments.deviation(key)
        lines += [f"{key}:", f"- _target_: {TARGET}"]
        lines += ["  mean:", *_numbers(moments.mean(key), "  ")]
        lines += ["  std:", *_numbers(np.where(deviation < 1e-9, 1.0, deviation), "  ")]
    lines += ["act_min_bound:", *_numbers(moments.low["actions"])]
    lines += ["act_max_bound:", *_numbers(moments.high["actions"])]
    replace_file(path, ("\n".join(lines) + "\n").encode())


def _numbers(values: np.ndarray, indent: str = "") -> list[str]:
    return [f"{indent}- {_number(float(value))}" for value in values]


def _number(value: float) -> str:
    """A number that YAML 1.1 takes for one: ``1e-05`` would be a text there."""
    text = repr(value)
    return text.replace("e", ".0e") if "e" in text and "." not in text else text


@dataclass(frozen=True, slots=True, eq=False)
class Statistics:
    """What ``statistics.yaml`` says; a part that is not there is None."""

    robot_mean: np.ndarray | None
    robot_deviation: np.ndarray | None
    scene_mean: np.ndarray | None
    scene_deviation: np.ndarray | None
    action_low: np.ndarray | None
    action_high: np.ndarray | None


def read_statistics(path: Path) -> Statistics:
    """Reads ``statistics.yaml``: entries named ``NormalizeVector``, by whatever module.

    Raises:
        DatasetError: the file is missing or of another form.
    """
    import yaml

    try:
        held = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise DatasetError(f"cannot read {path}: {error.strerror or error}") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise DatasetError(f"{path} is no YAML: {' '.join(str(error).split())}") from error
    try:
        robot_mean, robot_deviation, scene_mean, scene_deviation = (
            _vector(next((entry for entry in held.get(key) or () if "NormalizeVector" in entry["_target_"]), {}), name)
            for key in ("robot_obs", "scene_obs")
            for name in ("mean", "std")
        )
        bounds = _vector(held, "act_min_bound"), _vector(held, "act_max_bound")
        return Statistics(robot_mean, robot_deviation, scene_mean, scene_deviation, *bounds)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise DatasetError(f"{path} is not of CALVIN's form: {error!r}") from error


def _vector(held: Mapping[str, Any], name: str) -> np.ndarray | None:
    return np.array([float(value) for value in held[name]]) if held.get(name) else None

"""Scaling of action vectors before training, and its inverse afterwards.

All functions take (..., A) float arrays, return new ones of the same dtype, and leave the last number,
the gripper's, as it is unless they say otherwise.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from vla_bench.policies.errors import PolicyError
from vla_bench.policies.vla.config import Bound


def _keep_gripper(result: np.ndarray, actions: np.ndarray) -> np.ndarray:
    result = np.asarray(result, dtype=np.asarray(actions).dtype)
    result[..., -1] = np.asarray(actions)[..., -1]
    return result


def _whole(bound: Bound, gripper: float) -> float | np.ndarray:
    """A bound for all numbers of an action, the gripper's included."""
    return np.array([*bound, gripper]) if isinstance(bound, tuple) else bound


def normalise(actions: np.ndarray, low: Bound = -0.65, high: Bound = 0.65) -> np.ndarray:
    """Clips the arm to [low, high] and maps it to [-1, 1]; 0.65 is the released models' bound."""
    least, most = _whole(low, -1.0), _whole(high, 1.0)
    clipped = np.clip(actions, least, most)
    return _keep_gripper(2 * (clipped - least) / (most - least) - 1, actions)


def unnormalise(
    actions: np.ndarray, low: Bound = -0.65, high: Bound = 0.65, *, gripper_too: bool = False
) -> np.ndarray:
    """Maps the arm from [-1, 1] to [low, high].

    ``gripper_too`` also maps the gripper, as the released evaluation does: {0, 1} becomes {0, 0.65} there,
    which the threshold at 0.5 forgives for bounds above 0.5 only. Bounds for each number of the arm leave it
    as it is.
    """
    actions, least, most = np.asarray(actions), _whole(low, -1.0), _whole(high, 1.0)
    result = 0.5 * (actions + 1) * (most - least) + least
    return result.astype(actions.dtype) if gripper_too else _keep_gripper(result, actions)


def mu_law(actions: np.ndarray, mu: float = 255.0) -> np.ndarray:
    """Companding, sign(x) ln(1 + mu |x|) / ln(1 + mu) (ITU-T G.711), on the arm."""
    return _keep_gripper(np.sign(actions) * np.log1p(mu * np.abs(actions)) / np.log1p(mu), actions)


def inverse_mu_law(actions: np.ndarray, mu: float = 255.0) -> np.ndarray:
    """The inverse of :func:`mu_law`."""
    return _keep_gripper(np.sign(actions) * np.expm1(np.abs(actions) * np.log1p(mu)) / mu, actions)


def standardise(actions: np.ndarray, mean: np.ndarray, std: np.ndarray, eps: float = 1e-6) -> np.ndarray:
    """(x - mean) / (std + eps) on the arm."""
    return _keep_gripper((actions - mean) / (std + eps), actions)


def unstandardise(actions: np.ndarray, mean: np.ndarray, std: np.ndarray, eps: float = 1e-6) -> np.ndarray:
    """The inverse of :func:`standardise`."""
    return _keep_gripper(actions * (std + eps) + mean, actions)


@dataclass(frozen=True, slots=True)
class Quantiles:
    """Bounds of each action number in a data set, between which it was mapped to [-1, 1]."""

    low: tuple[float, ...]
    """q01, one per number."""
    high: tuple[float, ...]
    """q99, one per number."""
    mask: tuple[bool, ...]
    """False for numbers that were not scaled."""

    @classmethod
    def read(cls, path: str | Path) -> Quantiles:
        """From a data set's statistics file: ``{"action": {"q01": [...], "q99": [...], "mask": [...]}}``.

        A file without ``mask``, as the released ones are, means that all numbers were scaled.
        """
        try:
            statistics = json.loads(Path(path).read_text())["action"]
            low, high = ([float(number) for number in statistics[name]] for name in ("q01", "q99"))
            if len(low) != 7 or len(high) != 7:
                raise ValueError
        except FileNotFoundError:
            raise PolicyError(
                f"vla: there is no statistics file {path}; give its path as policy.statistics=..."
            ) from None
        except (ValueError, KeyError, TypeError):
            raise PolicyError(
                f"vla: {path} is no statistics file; it must hold "
                f'{{"action": {{"q01": [...], "q99": [...]}}}}, seven numbers each'
            ) from None
        return cls(tuple(low), tuple(high), tuple(statistics.get("mask", [True] * len(low))))

    def normalise(self, actions: np.ndarray) -> np.ndarray:
        """2 (a - q01) / (q99 - q01) - 1, clipped to [-1, 1]."""
        low, high = np.asarray(self.low), np.asarray(self.high)
        scaled = np.clip(2 * (actions - low) / (high - low + 1e-8) - 1, -1, 1)
        return np.where(self.mask, scaled, actions).astype(np.asarray(actions).dtype)

    def unnormalise(self, actions: np.ndarray) -> np.ndarray:
        """(a + 1) / 2 (q99 - q01) + q01."""
        low, high = np.asarray(self.low), np.asarray(self.high)
        return np.where(self.mask, 0.5 * (actions + 1) * (high - low) + low, actions)

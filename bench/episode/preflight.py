"""A trial of one step before a process's first episode.

Whatever keeps every episode from working shows itself there, within seconds, and as a sentence, before hours are spent
on it. The step is that of an episode, made by the same code (:func:`vla_bench.bench.episode.rollout.play_subtask`).
"""

from __future__ import annotations

import traceback
from pathlib import Path

import numpy as np

from vla_bench.bench.episode.actions import PolicyServerLost
from vla_bench.bench.episode.rollout import Phase, play_subtask
from vla_bench.bench.episode.watch import FirstLook
from vla_bench.bench.protocol import EpisodeSpec
from vla_bench.envs.errors import UserError
from vla_bench.envs.simulation import Simulation
from vla_bench.policies.base import Policy, PolicySpec
from vla_bench.policies.errors import PolicyError

FAR_OUT = 2.0
"""A first action beyond this is remarked on; a convention with bounds clips to [-1, 1]."""


class _Whereabouts:
    """A :class:`vla_bench.bench.episode.rollout.Meter` that remembers who had the word last."""

    phase = Phase.SIMULATE

    def enter(self, phase: Phase) -> None:
        self.phase = phase

    def stepped(self, steps: int) -> None:
        """Steps do not matter here."""


def try_out(simulation: Simulation, policy: Policy, episode: EpisodeSpec, seed: int) -> str:
    """Resets to the episode's start, looks, decides once and executes one action.

    Nothing of it stays: the next reset of either begins afresh.

    Returns:
        What is suspicious though allowed, in a sentence; empty when nothing is.

    Raises:
        PolicyError: the policy's code fails, or its chunk is not what its spec says.
        RendererError: a camera shows one plain colour.
        EnvironmentFault: an observation holds numbers that are not finite.
    """
    look, where = FirstLook(policy.spec.sensors), _Whereabouts()
    simulation.reset(episode.start)
    try:
        (first,) = play_subtask(simulation, policy, episode, 0, seed=seed, look=look, meter=where, step_limit=1)
    except (UserError, PolicyServerLost):
        raise
    except (Exception, SystemExit) as error:
        if where.phase is not Phase.DECIDE:
            raise
        raise _blame(policy.spec.name, "act" if look.looked else "reset", error) from error
    return _far_out(policy.spec, first.chunk)


def _far_out(spec: PolicySpec, chunk: np.ndarray) -> str:
    arm = chunk[:, :-1]
    row, column = np.unravel_index(np.abs(arm).argmax(), arm.shape)
    if not spec.action.bounded or abs(arm[row, column]) <= FAR_OUT:
        return ""
    return (
        f"policy {spec.name!r} begins with {arm[row, column]:g} as number {column} of an action; the "
        f"convention {spec.action.name!r} has -1 to 1, and all beyond is clipped. Another convention, or "
        "normalisation?"
    )


def _blame(name: str, method: str, error: BaseException) -> PolicyError:
    """What the policy's code raised, as a sentence that says where it was raised."""
    frame = traceback.extract_tb(error.__traceback__)[-1]
    return PolicyError(
        f"policy {name!r} fails in its first {method}(): {type(error).__name__}: {error} "
        f"({Path(frame.filename).name}, line {frame.lineno})"
    )

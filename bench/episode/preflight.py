"""A trial of one step before a process's first episode.

Whatever keeps every episode from working shows itself there, within seconds, and as a sentence, before hours are spent
on it. The step is that of an episode, made by the same code (:func:`vla_bench.bench.episode.rollout.play_subtask`).
"""

from __future__ import annotations

from bdb import BdbQuit
from dataclasses import dataclass

import numpy as np

from vla_bench.bench.episode.actions import PolicyServerError, PolicyServerLost, chunks_of
from vla_bench.bench.episode.rollout import SLOT, Phase, black_of, play_subtask
from vla_bench.bench.episode.watch import FirstLook
from vla_bench.bench.protocol import NOT_REPEATABLE, EpisodeSpec
from vla_bench.envs.errors import UserError
from vla_bench.envs.observation import Observation
from vla_bench.envs.simulation import Simulation
from vla_bench.interruption import is_interruption
from vla_bench.policies.answers import as_chunk
from vla_bench.policies.base import Policy, PolicySpec, SubtaskContext
from vla_bench.policies.errors import PolicyError, PolicyQuit, TransientFault, in_words, raised_at

AT_BREAKPOINT = (
    "the policy stops at a breakpoint(), and a worker has no terminal; to stop there in this one, type "
    "run.backend=inline"
)
FARTHEST_STEP = 0.5
"""Metres that no arm moves in a control step; steps of the data sets are a few centimetres."""
FARTHEST_PLACE = 3.0
"""Metres from the origin that no arm of a table reaches."""
FAR_OUT = 2.0
"""A first action beyond this is remarked on; a convention with bounds clips to [-1, 1]."""


class _Whereabouts:
    """A :class:`vla_bench.bench.episode.rollout.Meter` that remembers who had the word last."""

    phase = Phase.SIMULATE

    def enter(self, phase: Phase) -> None:
        self.phase = phase

    def begin(self, position: int) -> None:
        pass

    def stepped(self, steps: int) -> None:
        """Steps do not matter here."""


@dataclass(frozen=True, slots=True)
class TryOut:
    """What a trial has shown."""

    remark: str = ""
    """What is suspicious though allowed, in sentences; empty when nothing is."""
    repeatable: bool = True
    """Whether the policy answered the same when it was reset alike and shown the same again."""


class _Kept:
    """Keeps what :class:`FirstLook` sees, since a policy may write into what it is shown."""

    def __init__(self, look: FirstLook) -> None:
        self.look = look
        self.seen: Observation | None = None

    def check(self, observation: Observation) -> None:
        self.look.check(observation)
        self.seen = Observation({name: np.array(array) for name, array in observation.items()})


def try_out(simulation: Simulation, policy: Policy, episode: EpisodeSpec, seed: int) -> TryOut:
    """Resets to the episode's start, looks, decides, executes one action, and asks once more for the same decision.

    Nothing of it stays: the next reset of either begins afresh. A policy that is shown the simulator's state is
    asked once only, since that has moved on.

    Raises:
        PolicyError: the policy's code fails, or its chunk is not what its spec says.
        RendererError: a camera shows one plain colour.
        EnvironmentFault: an observation holds numbers that are not finite.
    """
    look, where, spec = FirstLook(policy.spec.sensors, black_of(simulation)), _Whereabouts(), policy.spec
    kept, again = _Kept(look), None
    simulation.reset(episode.start)
    try:
        (first,) = play_subtask(simulation, policy, episode, 0, seed=seed, look=kept, meter=where, step_limit=1)
        chunk = np.array(as_chunk(first.chunk, spec.name))
        if kept.seen is not None and not spec.privileged:
            where.phase, look.looked = Phase.DECIDE, False
            context = SubtaskContext(episode.episode, 0, episode.seed(seed, 0))
            policy.reset(SLOT, episode.instructions[0], context)
            look.looked = True
            again = as_chunk(chunks_of(policy.act((SLOT,), (kept.seen,)), 1, spec.name)[0], spec.name)
    except (UserError, PolicyServerLost, TransientFault):
        raise
    except BdbQuit as error:
        raise PolicyError(AT_BREAKPOINT) from error
    except BaseException as error:
        if where.phase is not Phase.DECIDE or is_interruption(error):
            raise
        raise _blame(policy.spec.name, "act" if look.looked else "reset", error) from error
    repeatable = again is None or np.array_equal(chunk, again)
    remarks = [_far_out(spec, chunk), _half_open(spec, chunk), "" if repeatable else f"{spec.name}: {NOT_REPEATABLE}"]
    return TryOut("; ".join(filter(None, remarks)), repeatable)


def _half_open(spec: PolicySpec, chunk: np.ndarray) -> str:
    """A gripper command from 0 to 1 where those of the convention lie on both sides of 0."""
    commands, action = chunk[:, -1], spec.action
    if action.exact_gripper or sorted((action.gripper_open, action.gripper_closed)) != [-1.0, 1.0]:
        return ""
    between = commands[(commands > 0) & (commands < 1)]
    if not len(between) or (commands < 0).any() or (commands > 1).any():
        return ""
    above, below = ("open", "close") if action.gripper_open > 0 else ("close", "open")
    never = f"never {below}" if action.bounded or action.gripper == "relative" else f"never {below} more than half"
    return (
        f"policy {spec.name!r} begins with the gripper command {between[0]:g}; the convention {action.name!r} "
        f"{above}s above 0 and {below}s below, so commands from 0 to 1 {never}. If that is their range, return "
        "2 * command - 1"
    )


def _far_away(spec: PolicySpec, arm: np.ndarray) -> str:
    """A position that no arm reaches, or a change that none makes in a step; joints have bounds of their own."""
    action = spec.action
    if not action.control.startswith("tcp"):
        return ""
    metres = arm[:, :3] * action.position_scale
    row, column = np.unravel_index(np.abs(metres).argmax(), metres.shape)
    change = action.control == "tcp_delta"
    if abs(metres[row, column]) <= (FARTHEST_STEP if change else FARTHEST_PLACE):
        return ""
    what = f"a change of {metres[row, column]:g} m in one step" if change else f"a place {metres[row, column]:g} m away"
    return (
        f"policy {spec.name!r} begins with {arm[row, column]:g} as number {column} of an action; the convention "
        f"{action.name!r} takes it for {what}. Another convention, or another unit?"
    )


def _far_out(spec: PolicySpec, chunk: np.ndarray) -> str:
    arm = chunk[:, :-1]
    if not spec.action.bounded:
        return _far_away(spec, arm)
    row, column = np.unravel_index(np.abs(arm).argmax(), arm.shape)
    if abs(arm[row, column]) <= FAR_OUT:
        return ""
    return (
        f"policy {spec.name!r} begins with {arm[row, column]:g} as number {column} of an action; the "
        f"convention {spec.action.name!r} has -1 to 1, and all beyond is clipped. Another convention, or "
        "normalisation?"
    )


def _blame(name: str, method: str, error: BaseException) -> PolicyError:
    """What the policy's code raised, as a sentence that says where it was raised."""
    told = isinstance(error, PolicyQuit | PolicyServerError)
    at = error.at if isinstance(error, PolicyServerError) else raised_at(error)
    return PolicyError(
        f"policy {name!r} fails in its first {method}(): {error if told else in_words(error)}{f' ({at})' if at else ''}"
    )

"""What can be seen to be wrong with a simulation or a policy before hours are spent on it.

:func:`try_out` is a trial of one step before a process's first episode: whatever keeps every
episode from working shows itself there, within seconds, and as a sentence. :class:`Watch` goes on
looking at the observations of a running episode, since a renderer can lose its context at any time
and then goes on returning pictures of nothing.
"""

from __future__ import annotations

import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from vla_bench.bench.episode.actions import Actions, PolicyServerLost, chunks_of
from vla_bench.bench.protocol import EpisodeSpec
from vla_bench.envs.errors import EnvironmentFault, RendererError, UserError
from vla_bench.envs.observation import Observation, Sensors
from vla_bench.envs.simulation import Simulation
from vla_bench.policies.base import Policy, PolicySpec, SubtaskContext
from vla_bench.policies.errors import PolicyError
from vla_bench.program import program

SLOT = 0
FAR_OUT = 2.0
"""A first action beyond this is remarked on; a convention with bounds clips to [-1, 1]."""
_COARSE = 16
"""Every so many pixels are looked at first: a picture of something differs among those already."""


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
    spec, instruction = policy.spec, episode.instructions[0]
    simulation.reset(episode.start)
    with _blaming(spec.name, "reset"):
        policy.reset(SLOT, instruction, SubtaskContext(episode.episode, 0, episode.seed(seed, 0)))
    simulation.begin(episode.subtasks[0])
    observation = simulation.observe()
    for camera in spec.sensors.cameras:
        image = observation[f"rgb_{camera.name}"]
        if is_plain(image):
            raise RendererError(
                f"the camera {camera.name!r} shows one plain colour, {image[0, 0].tolist()}, in all of its "
                "pixels: the renderer does not work here. Another one: benchmark.renderer=; what there is: "
                f"{program()} doctor"
            )
    if name := not_finite(observation):
        raise EnvironmentFault(f"the simulation's {name!r} holds numbers that are not finite at the very start")
    with _blaming(spec.name, "act"):
        if spec.privileged:
            policy.see(SLOT, simulation.privileged())  # type: ignore[attr-defined]
        answer = policy.act((SLOT,), (observation,))
    (chunk,) = chunks_of(answer, 1, spec.name)
    simulation.advance(Actions(spec).executed(chunk, episode.step_limit)[:1])
    return _far_out(spec, chunk)


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


class Watch:
    """Looks at the observations of one episode; microseconds each."""

    def __init__(self, sensors: Sensors) -> None:
        self._cameras = [f"rgb_{camera.name}" for camera in sensors.cameras]

    def check(self, observation: Observation) -> None:
        """RuntimeError when no camera shows anything, or a state vector is not finite."""
        if self._cameras and all(is_plain(observation[name]) for name in self._cameras):
            raise RuntimeError("every camera shows one plain colour; the renderer seems to have died")
        if name := not_finite(observation):
            raise RuntimeError(f"the simulation's {name!r} holds numbers that are not finite")


def is_plain(image: np.ndarray) -> bool:
    """Whether an image (H, W, 3) has one colour only."""
    coarse = image[::_COARSE, ::_COARSE]
    return bool((coarse == image[0, 0]).all() and (image == image[0, 0]).all())


def not_finite(observation: Observation) -> str:
    """Name of the first state vector (n,) with a NaN or an infinity; empty when there is none."""
    for name, array in observation.items():
        if array.ndim == 1 and array.dtype.kind == "f" and not np.isfinite(array).all():
            return name
    return ""


@contextmanager
def _blaming(name: str, method: str) -> Iterator[None]:
    """Makes what the policy's code raises a sentence that says where it was raised."""
    try:
        yield
    except (UserError, PolicyServerLost):
        raise
    except (Exception, SystemExit) as error:
        frame = traceback.extract_tb(error.__traceback__)[-1]
        raise PolicyError(
            f"policy {name!r} fails in its first {method}(): {type(error).__name__}: {error} "
            f"({Path(frame.filename).name}, line {frame.lineno})"
        ) from error

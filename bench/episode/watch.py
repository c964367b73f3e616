"""What can be seen to be wrong with an observation: pictures of nothing, numbers that are none."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np

from vla_bench.envs.errors import EnvironmentFault, RendererError
from vla_bench.envs.observation import Observation, Sensors
from vla_bench.program import program

_COARSE = 16
"""Every so many pixels are looked at first: a picture of something differs among those already."""


class Look(Protocol):
    """Looks at each observation before a policy does."""

    def check(self, observation: Observation) -> None:
        """Raises what it finds."""
        ...


class FirstLook:
    """Looks at the observation of a trial; what is wrong with it is wrong with all of them."""

    def __init__(self, sensors: Sensors, black: Sequence[str] = ()) -> None:
        """``black``: cameras that show nothing on purpose."""
        self._cameras = [camera.name for camera in sensors.cameras if camera.name not in black]
        self.looked = False
        """Whether there was an observation."""

    def check(self, observation: Observation) -> None:
        """RendererError: a camera shows one plain colour. EnvironmentFault: a number is not finite."""
        self.looked = True
        for camera in self._cameras:
            image = observation[f"rgb_{camera}"]
            if is_plain(image):
                raise RendererError(
                    f"the camera {camera!r} shows one plain colour, {image[0, 0].tolist()}, in all of its "
                    "pixels: the renderer does not work here. Another one: benchmark.renderer=; what there is: "
                    f"{program()} doctor"
                )
        if name := not_finite(observation):
            raise EnvironmentFault(f"the simulation's {name!r} holds numbers that are not finite at the very start")


class Watch:
    """Looks at the observations of one episode; microseconds each."""

    def __init__(self, sensors: Sensors, black: Sequence[str] = ()) -> None:
        """``black``: cameras that show nothing on purpose."""
        self._cameras = [f"rgb_{camera.name}" for camera in sensors.cameras if camera.name not in black]

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

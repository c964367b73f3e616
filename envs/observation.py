"""What a policy asks to be shown, and what it is shown."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np


@dataclass(frozen=True, slots=True)
class Camera:
    """One camera a policy looks through; a camera nobody asks for is never rendered.

    All but the name are given by name: ``Camera("static", width=224, height=224)``.
    """

    name: str
    """Name within the environment, e.g. ``static`` or ``gripper`` in CALVIN."""
    depth: bool = field(default=False, kw_only=True)
    """Whether the depth image (float32, metres) is wanted beside the colours."""
    width: int | None = field(default=None, kw_only=True)
    """Pixels; None means the environment's own size."""
    height: int | None = field(default=None, kw_only=True)
    """Pixels; None means the environment's own size."""


@dataclass(frozen=True, slots=True)
class Sensors:
    """The cameras of an observation. State vectors are always there, since they cost nothing."""

    cameras: tuple[Camera, ...] = ()

    @classmethod
    def of(cls, *names: str, depth: bool = False) -> Sensors:
        """Sensors with these cameras at the environment's own sizes."""
        return cls(tuple(Camera(name, depth=depth) for name in names))

    @classmethod
    def named(cls, names: str | Sequence[str]) -> Sensors:
        """As :meth:`of`, for one name or a list of them, whichever a configuration holds."""
        return cls.of(*((names,) if isinstance(names, str) else names))


@dataclass(frozen=True, slots=True, eq=False)
class Observation(Mapping[str, np.ndarray]):
    """Named arrays, read like a dictionary.

    ``rgb_<camera>``: (H, W, 3) uint8. ``depth_<camera>``: (H, W) float32, metres along the optical axis.
    ``intrinsics_<camera>`` (3, 3) and ``extrinsics_<camera>`` (4, 4), float64: of a pinhole camera with OpenCV's axes,
    and from the world to it (docs/observations.md). CALVIN adds
    ``robot_obs`` (15,) and ``scene_obs`` (24,), float64, whose numbers are named by
    ``vla_bench.envs.calvin.state.ROBOT_OBS`` and ``vla_bench.envs.calvin.state.scene_obs_names``.
    """

    arrays: Mapping[str, np.ndarray]

    def __getitem__(self, name: str) -> np.ndarray:
        try:
            return self.arrays[name]
        except KeyError:
            raise KeyError(
                f"the observation has no {name!r}; it has {', '.join(sorted(self.arrays))}. "
                "A policy is shown only the cameras its `sensors` ask for."
            ) from None

    def __iter__(self) -> Iterator[str]:
        return iter(self.arrays)

    def __len__(self) -> int:
        return len(self.arrays)

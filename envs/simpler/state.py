"""The whole truth about a SimplerEnv scene, the same from both backends."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, slots=True, eq=False)
class SimplerState:
    """Poses are (7,) float32: position in metres, then quaternion wxyz, in the world frame."""

    task: str
    steps: int
    """Control steps since the trial began."""
    base: np.ndarray
    """Pose of the robot's base."""
    tcp: np.ndarray
    """Pose of the point between the fingers."""
    qpos: np.ndarray
    """Joints of the robot, float32, radians and metres; fingers among them."""
    qvel: np.ndarray
    objects: Mapping[str, np.ndarray]
    """Poses of the objects by model, source and target first where a task has them."""
    centres: Mapping[str, np.ndarray]
    """Centres of mass (3,) of the source and the target."""
    extents: Mapping[str, np.ndarray]
    """Bounding boxes (3,) of source and target, metres, along their own axes."""
    source: str = ""
    target: str = ""
    cabinet: np.ndarray | None = None
    """Openings (3,) of the cabinet's drawers, metres; None where there is none."""

    def digest(self) -> str:
        """Hex digest of the bits of robot, objects and cabinet."""
        total = hashlib.sha256(self.steps.to_bytes(4, "little"))
        arrays = {"base": self.base, "tcp": self.tcp, "qpos": self.qpos, "qvel": self.qvel, **self.objects}
        if self.cabinet is not None:
            arrays["cabinet"] = self.cabinet
        for name, array in arrays.items():
            total.update(name.encode())
            total.update(np.ascontiguousarray(array).tobytes())
        return total.hexdigest()[:32]


def camera_matrices(camera: str, intrinsic: np.ndarray, extrinsic: np.ndarray) -> dict[str, np.ndarray]:
    """What an observation holds of a camera: ``intrinsics_`` (3, 3) and ``extrinsics_`` (4, 4), float64, the latter
    from the world to the camera with OpenCV's axes.

    Args:
        camera: its name.
        intrinsic: (3, 3).
        extrinsic: (3, 4) or (4, 4), world to camera, as sapien gives it.
    """
    whole = np.eye(4)
    whole[:3] = extrinsic[:3]
    return {f"intrinsics_{camera}": np.array(intrinsic, dtype=np.float64), f"extrinsics_{camera}": whole}

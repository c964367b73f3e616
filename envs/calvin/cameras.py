"""The two official cameras: where they are and what they see.

Values: the published ``merged_config.yaml`` of the CALVIN data set; see :data:`STATIC`, :data:`GRIPPER`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.spatial.transform import Rotation

from vla_bench.envs.calvin.robot import GRIPPER_CAMERA_LINK
from vla_bench.envs.observation import Camera


@dataclass(frozen=True, slots=True)
class Lens:
    """Fixed properties of a camera."""

    height: int
    width: int
    fov: float
    """Vertical field of view, degrees."""
    near: float
    far: float
    """Clipping planes, metres."""


STATIC = Lens(200, 200, 10.0, 0.01, 10.0)
STATIC_EYE = (2.871459009488717, -2.166602199425597, 2.555159848480571)
STATIC_TARGET = (-0.026242351159453392, -0.0302329882979393, 0.3920000493526459)
STATIC_UP = (0.4041403970338857, 0.22629790978217404, 0.8862616969685161)
GRIPPER = Lens(84, 84, 75.0, 0.01, 2.0)
LENSES = {"static": STATIC, "gripper": GRIPPER}
"""Lens of each camera by name."""
GRIPPER_OF_TOOL = (
    (-0.000796, 0.9999997, 0.0, -0.00008),
    (-0.9635579, -0.000767, 0.267499, -0.058906),
    (0.267499, 0.000213, 0.963558, 0.161648),
)
"""(3, 4): takes a point in the tool's frame, metres, to the gripper camera's, axes as OpenCV's. From the robot's URDF,
in which both are fixed to the hand."""


@dataclass(frozen=True, slots=True)
class View:
    """One image to be rendered: matrices as PyBullet lays them out (column-major, 16 numbers)."""

    name: str
    width: int
    height: int
    view: tuple[float, ...]
    projection: tuple[float, ...]
    near: float
    far: float
    depth: bool

    def metric_depth(self, buffer: np.ndarray) -> np.ndarray:
        """Depth buffer (H, W) in [0, 1] to distance along the optical axis, metres, float32.

        Formula of calvin_env ``camera.py``: far near / (far - (far - near) z).
        """
        return self.far * self.near / (self.far - (self.far - self.near) * buffer)

    def intrinsics(self) -> np.ndarray:
        """(3, 3) float64 ``K`` of a pinhole camera in OpenCV's axes (x right, y down, z into the picture).

        A point (x, y, z) of the camera's frame is seen at ``u = K[0] @ (x, y, z) / z`` pixels from the picture's left
        edge and ``v`` from its upper edge: the pixel in row i and column j covers [j, j + 1) x [i, i + 1).
        """
        across, down = self.width / 2 * self.projection[0], self.height / 2 * self.projection[5]
        return np.array([[across, 0.0, self.width / 2], [0.0, down, self.height / 2], [0.0, 0.0, 1.0]])

    def extrinsics(self) -> np.ndarray:
        """(4, 4) float64, world to camera: ``E @ (x, y, z, 1)`` of a point in the world, metres, is that point in the
        camera's frame with OpenCV's axes. OpenGL's, in which :attr:`view` is, have y up and z out of the picture."""
        return np.diag((1.0, -1.0, -1.0, 1.0)) @ np.array(self.view).reshape(4, 4).T


def seen_places(camera: str, side: int, points: np.ndarray, tool: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Where points of the world are in square pictures of a camera that nobody moved.

    Args:
        camera: ``static`` or ``gripper``.
        side: of the picture, pixels.
        points: (n, k, 3), metres.
        tool: (n, 6) pose of the tool as ``robot_obs`` has it: metres and Euler angles (x, y, z about fixed axes).

    Returns:
        (n, k, 2) pixels from the left and the upper edge, and (n, k) bool, whether they lie in the picture and in
        front of the camera. Whether something hides them is not asked.
    """
    if camera == "static":
        forward = np.subtract(STATIC_TARGET, STATIC_EYE)
        forward /= np.linalg.norm(forward)
        right = np.cross(forward, STATIC_UP)
        right /= np.linalg.norm(right)
        axes = np.stack([right, np.cross(forward, right), forward])
        seen = (points - np.array(STATIC_EYE)) @ axes.T
    else:
        mount = np.array(GRIPPER_OF_TOOL)
        turned = Rotation.from_euler("xyz", tool[:, 3:]).as_matrix()
        own = np.einsum("nji,nkj->nki", turned, points - tool[:, None, :3])
        seen = own @ mount[:, :3].T + mount[:, 3]
    depth = seen[..., 2]
    focal = side / 2 / np.tan(np.radians(LENSES[camera].fov) / 2)
    with np.errstate(divide="ignore", invalid="ignore"):
        places = np.nan_to_num(focal * seen[..., :2] / depth[..., None] + side / 2, posinf=-1.0, neginf=-1.0)
    inside = (depth > LENSES[camera].near) & ((places >= 0) & (places < side)).all(-1)
    return places, inside


def view_of(camera: Camera, bullet: Any, client: int, robot: int) -> View:
    """What ``camera`` sees now.

    The gripper camera's pose is one substep old, as in the original, since PyBullet does not
    recompute link frames after a step unless asked.
    """
    lens = LENSES[camera.name]
    width, height = camera.width or lens.width, camera.height or lens.height
    if camera.name == "static":
        view = bullet.computeViewMatrix(STATIC_EYE, STATIC_TARGET, STATIC_UP)
    else:
        position, quaternion = bullet.getLinkState(robot, GRIPPER_CAMERA_LINK, physicsClientId=client)[:2]
        rotation = np.array(bullet.getMatrixFromQuaternion(quaternion)).reshape(3, 3)
        view = bullet.computeViewMatrix(position, position + rotation[:, 1], -rotation[:, 2])
    projection = bullet.computeProjectionMatrixFOV(
        fov=lens.fov, aspect=width / height, nearVal=lens.near, farVal=lens.far
    )
    return View(camera.name, width, height, tuple(view), tuple(projection), lens.near, lens.far, camera.depth)


def matrices(view: View) -> dict[str, np.ndarray]:
    """Intrinsics (3, 3) and extrinsics (4, 4) as an observation names them: of this very picture, so for the gripper
    camera as old as its pose."""
    return {f"intrinsics_{view.name}": view.intrinsics(), f"extrinsics_{view.name}": view.extrinsics()}

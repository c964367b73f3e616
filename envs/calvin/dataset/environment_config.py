"""``.hydra/merged_config.yaml``: from it, the original code builds the environment that a data set was recorded in.

Names and structure are those of calvin_env 797142c, values ours; JSON, which is YAML too. The original looks for the
file in ``validation/`` and takes cameras it does not need out of ``cameras``.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from vla_bench.envs.calvin.cameras import GRIPPER, STATIC, STATIC_EYE, STATIC_TARGET, STATIC_UP, Lens
from vla_bench.envs.calvin.robot import (
    ARM_FORCE,
    ARM_JOINTS,
    ARM_SPEED,
    FINGER_JOINTS,
    FINGER_OPEN,
    GRIPPER_FORCE,
    POSITION_UNIT,
    REST_JOINTS,
    ROTATION_UNIT,
    TCP_LINK,
)
from vla_bench.envs.calvin.scenes import GLOBAL_SCALING, ROBOT_BASE, SCENES, Scene

FILE = ".hydra/merged_config.yaml"
HAND_LINK, CAMERA_LINK = 7, 12
"""Links that the original's configuration names; it takes the camera's from the URDF by name all the same."""


def merged_config(scene: str, shapes: Mapping[str, Sequence[int]]) -> str | None:
    """The file's text; None when ``scene`` is not one of the four.

    Args:
        scene: Letter.
        shapes: Shapes of the images, by key.
    """
    if scene not in SCENES:
        return None
    held = {
        "seed": 0,
        "use_vr": False,
        "data_path": "data",
        "cameras": _cameras(shapes),
        "robot": _robot(),
        "scene": _scene(SCENES[scene]),
        "env": {
            "_target_": "calvin_env.envs.play_table_env.PlayTableSimEnv",
            "_recursive_": False,
            "cameras": "${cameras}",
            "seed": "${seed}",
            "bullet_time_step": 240.0,
            "use_vr": "${use_vr}",
            "show_gui": False,
            "robot_cfg": "${robot}",
            "scene_cfg": "${scene}",
            "use_scene_info": True,
            "use_egl": True,
            "control_freq": 30,
        },
    }
    return json.dumps(held, indent=1) + "\n"


def _cameras(shapes: Mapping[str, Sequence[int]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, lens in (("static", STATIC), ("gripper", GRIPPER)):
        shape = shapes.get(f"rgb_{name}")
        if shape:
            found[name] = _camera(name, lens, shape)
    if "static" in found:
        found["static"] |= {
            "look_at": list(STATIC_TARGET),
            "look_from": list(STATIC_EYE),
            "up_vector": list(STATIC_UP),
        }
    return found


def _camera(name: str, lens: Lens, shape: Sequence[int]) -> dict[str, Any]:
    return {
        "_target_": f"calvin_env.camera.{name}_camera.{name.capitalize()}Camera",
        "name": name,
        "fov": lens.fov,
        "aspect": shape[1] / shape[0],
        "nearval": lens.near,
        "farval": lens.far,
        "width": shape[1],
        "height": shape[0],
    }


def _robot() -> dict[str, Any]:
    return {
        "_target_": "calvin_env.robot.robot.Robot",
        "filename": "franka_panda/panda_longer_finger.urdf",
        "base_position": list(ROBOT_BASE),
        "base_orientation": [0, 0, 0],
        "initial_joint_positions": list(REST_JOINTS),
        "max_joint_force": ARM_FORCE,
        "gripper_force": GRIPPER_FORCE,
        "arm_joint_ids": list(ARM_JOINTS),
        "gripper_joint_ids": list(FINGER_JOINTS),
        "gripper_joint_limits": [0, FINGER_OPEN],
        "tcp_link_id": TCP_LINK,
        "end_effector_link_id": HAND_LINK,
        "gripper_cam_link": CAMERA_LINK,
        "use_nullspace": True,
        "max_velocity": ARM_SPEED,
        "use_ik_fast": False,
        "max_rel_pos": POSITION_UNIT,
        "max_rel_orn": ROTATION_UNIT,
        "magic_scaling_factor_pos": 1,
        "magic_scaling_factor_orn": 1,
        "use_target_pose": True,
        "euler_obs": True,
    }


def _scene(scene: Scene) -> dict[str, Any]:
    surfaces = zip(("table", "slider_left", "slider_right"), scene.surfaces, strict=True)
    return {
        "_target_": "calvin_env.scene.play_table_scene.PlayTableScene",
        "_recursive_": False,
        "data_path": "${data_path}",
        "global_scaling": GLOBAL_SCALING,
        "euler_obs": True,
        "robot_base_position": list(ROBOT_BASE),
        "robot_base_orientation": [0, 0, 0],
        "robot_initial_joint_positions": list(REST_JOINTS),
        "surfaces": {name: [list(corner) for corner in surface] for name, surface in surfaces},
        "objects": {
            "fixed_objects": {
                "table": {
                    "file": scene.urdf,
                    "initial_pos": [0, 0, 0],
                    "initial_orn": [0, 0, 0],
                    "joints": {name: {"initial_state": 0} for name in ("base__slide", "base__drawer")},
                    "buttons": {"base__button": {"initial_state": 0, "effect": "led"}},
                    "switches": {"base__switch": {"initial_state": 0, "effect": "lightbulb"}},
                    "lights": {
                        "lightbulb": {"link": "light_link", "color": [1, 1, 0, 1]},
                        "led": {"link": "led_link", "color": [0, 1, 0, 1]},
                    },
                }
            },
            "movable_objects": {
                block.name: {"file": block.urdf, "initial_pos": "any", "initial_orn": "any"} for block in scene.blocks
            },
        },
    }

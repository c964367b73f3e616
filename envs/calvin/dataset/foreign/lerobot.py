"""Names and paths of LeRobot's data set form v3.0 (huggingface/lerobot, ``datasets/utils.py``)."""

from __future__ import annotations

VERSION = "v3.0"
INFO = "meta/info.json"
STATISTICS = "meta/stats.json"
TASKS = "meta/tasks.parquet"
EPISODES = "meta/episodes/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet"
DATA = "data/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet"
VIDEO = "videos/{video_key}/chunk-{chunk_index:03d}/file-{file_index:03d}.mp4"
FILES_A_CHUNK = 1000

STATIC, GRIPPER = "observation.images.top", "observation.images.wrist"
STATE, ENVIRONMENT = "observation.state", "observation.environment_state"
ACTION, RELATIVE = "action", "action.relative"
OURS = {
    "robot_obs": STATE,
    "scene_obs": ENVIRONMENT,
    "actions": ACTION,
    "rel_actions": RELATIVE,
    "rgb_static": STATIC,
    "rgb_gripper": GRIPPER,
}
"""Our key to the feature that an export writes."""
CANDIDATES = {
    "robot_obs": (STATE, "robot_obs", "state"),
    "scene_obs": (ENVIRONMENT, "scene_obs"),
    "actions": ("action.absolute", "actions", ACTION, "abs_action"),
    "rel_actions": (RELATIVE, "rel_actions", "rel_action", "action_relative", "relative"),
    "rgb_static": (STATIC, "rgb_static", "observation.images.static", "static", "front", "observation.image", "image"),
    "rgb_gripper": (GRIPPER, "rgb_gripper", "observation.images.gripper", "wrist_image", "wrist"),
}
"""Our key to the features it goes by, the first that is there."""
TASK_COLUMN, SCENE_COLUMN = "calvin_task", "calvin_scene"
"""Columns of the episodes' table that our exports add."""

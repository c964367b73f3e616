"""The Gymnasium face of the play table."""

from __future__ import annotations

import warnings

import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

import vla_bench.envs.calvin.gym_env  # noqa: F401 - registers
from vla_bench.envs.calvin.bundle import BUILTIN_ROOT

ASSETS = "builtin" if (BUILTIN_ROOT / "data").is_dir() else "official"


def make(**arguments):
    return gymnasium.make("vla_bench/CALVIN-v0", assets=ASSETS, **arguments)


def test_passes_gymnasiums_checker_without_warnings():
    env = make(render_mode="rgb_array")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check_env(env.unwrapped)
    env.close()


def test_an_open_gripper_is_a_positive_number():
    env = make(cameras=())
    env.reset(seed=1)
    for _ in range(20):
        observation, *_ = env.step(np.array([0, 0, 0, 0, 0, 0, -0.3], dtype=np.float32))
    assert observation["robot_obs"][6] < 0.005
    for _ in range(40):
        observation, *_ = env.step(np.array([0, 0, 0, 0, 0, 0, 0.3], dtype=np.float32))
    assert observation["robot_obs"][6] > 0.07
    env.close()


def test_seed_decides_where_the_blocks_lie():
    env = make(cameras=())
    first, _ = env.reset(seed=3)
    other, _ = env.reset()
    again, _ = env.reset(seed=3)
    assert np.array_equal(first["scene_obs"], again["scene_obs"])
    assert not np.array_equal(first["scene_obs"], other["scene_obs"])
    env.close()


def test_truncates_after_the_official_number_of_steps():
    env = make(cameras=())
    env.reset(seed=0)
    still = np.array([0, 0, 0, 0, 0, 0, 1], dtype=np.float32)
    for step in range(1, 361):
        *_, terminated, truncated, _ = env.step(still)
        assert not terminated and truncated == (step == 360)
    env.close()


def test_unknown_task_is_refused_by_name():
    with pytest.raises(ValueError, match=r"open_drawr.*open_drawer"):
        make(task="open_drawr")

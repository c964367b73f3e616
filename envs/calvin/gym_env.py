"""The play table as a ``gymnasium.Env``, for everyone who has a loop of their own.

import gymnasium
import vla_bench.envs.calvin.gym_env
env = gymnasium.make("vla_bench/CALVIN-v0", task="open_drawer", render_mode="rgb_array")
"""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces

from vla_bench.envs.calvin.bundle import find_bundle
from vla_bench.envs.calvin.cameras import LENSES
from vla_bench.envs.calvin.robot import ACTIONS
from vla_bench.envs.calvin.simulation import CalvinSimulation
from vla_bench.envs.calvin.state import ROBOT_OBS, TABLE_OBS
from vla_bench.envs.calvin.tasks import TASKS
from vla_bench.envs.calvin.world import CONTROL_HZ
from vla_bench.envs.observation import Observation, Sensors
from vla_bench.envs.simulation import EpisodeStart

STATE_BOUND = 1e3
"""Bound on every number of the state vectors: blocks can be thrown off the table."""


class CalvinEnv(gymnasium.Env):
    """One task on the play table. Reward 1 and termination when the oracle says solved."""

    metadata = {"render_modes": ["rgb_array"], "render_fps": CONTROL_HZ}  # noqa: RUF012

    def __init__(
        self,
        task: str = "open_drawer",
        scene: str = "D",
        assets: str = "builtin",
        cameras: tuple[str, ...] = ("static", "gripper"),
        renderer: str = "auto",
        render_mode: str | None = None,
    ) -> None:
        """Opens a simulation of its own.

        Args:
            task: one of the 34 tasks.
            scene: ``A``, ``B``, ``C`` or ``D``.
            assets: asset bundle, ``builtin`` or ``official``.
            cameras: those in the observation, rendered at every step.
            renderer: ``auto`` or a renderer's name.
            render_mode: ``rgb_array`` makes ``render()`` return the static camera's image.

        Raises:
            ValueError: unknown task, scene or camera.
            AssetError: the asset bundle is not there.
        """
        if task not in TASKS:
            raise ValueError(f"CALVIN has no task {task!r}; the 34 are {', '.join(TASKS)}")
        if render_mode not in (None, *self.metadata["render_modes"]):
            raise ValueError(f"render_mode must be rgb_array or None, not {render_mode!r}")
        self.task, self.scene, self.render_mode = task, scene, render_mode
        # The static camera is there for render() even when the observation has none of it.
        self._cameras = cameras
        extra = ("static",) if render_mode and "static" not in cameras else ()
        self.simulation = CalvinSimulation(find_bundle(assets), Sensors.of(*cameras, *extra), renderer=renderer)
        bound = spaces.Box(-STATE_BOUND, STATE_BOUND, (len(ROBOT_OBS),), np.float64)
        images = {
            f"rgb_{name}": spaces.Box(0, 255, (LENSES[name].height, LENSES[name].width, 3), np.uint8)
            for name in cameras
        }
        scene_bound = spaces.Box(-STATE_BOUND, STATE_BOUND, (len(TABLE_OBS) + 18,), np.float64)
        self.observation_space = spaces.Dict({"robot_obs": bound, "scene_obs": scene_bound, **images})
        self.action_space = spaces.Box(-1.0, 1.0, (ACTIONS[0].size,), np.float32)
        self._last: Observation | None = None

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        """Starts an episode.

        Args:
            seed: draws the blocks' places; without one a new draw is made at each reset.
            options: ``robot_obs`` (15,) and ``scene_obs`` (24,) give the state instead.
        """
        super().reset(seed=seed)
        options = options or {}
        state = {
            name: tuple(np.asarray(options[name], dtype=np.float64).tolist())
            for name in ("robot_obs", "scene_obs")
            if options.get(name) is not None
        }
        self.simulation.reset(EpisodeStart(self.scene, state), seed=int(self.np_random.integers(2**31)))
        self.simulation.begin(self.task)
        return self._observe(), {"instruction": self.simulation.bundle.instructions[self.task]}

    def step(self, action: np.ndarray) -> tuple[dict[str, np.ndarray], float, bool, bool, dict[str, Any]]:
        """One control step (1/30 s). ``action``: (7,), relative; a positive gripper number opens."""
        action = np.clip(np.asarray(action), -1.0, 1.0)
        action[-1] = 1.0 if action[-1] > 0 else -1.0
        outcome = self.simulation.advance(action[None])
        return self._observe(), float(outcome.success), outcome.success, False, {"success": outcome.success}

    def _observe(self) -> dict[str, np.ndarray]:
        self._last = self.simulation.observe()
        shown = ("robot_obs", "scene_obs", *(f"rgb_{name}" for name in self._cameras))
        return {name: self._last[name] for name in shown}

    def render(self) -> np.ndarray | None:
        """The static camera's image (200, 200, 3) uint8 of the last observation, in ``rgb_array`` mode."""
        if self.render_mode is None or self._last is None:
            return None
        return self._last["rgb_static"]

    def close(self) -> None:
        """Closes the simulation."""
        self.simulation.close()


gymnasium.register(
    id="vla_bench/CALVIN-v0",
    entry_point="vla_bench.envs.calvin.gym_env:CalvinEnv",
    max_episode_steps=360,  # what the official protocol grants a subtask
)

"""What both backends do alike: an episode's start as a trial, steps, stop rule, flags, conventions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np

from vla_bench.envs.action_spec import ActionSpec
from vla_bench.envs.observation import Observation, Sensors
from vla_bench.envs.simpler.grids import task_named, variant_named
from vla_bench.envs.simpler.pose_target import PoseTarget
from vla_bench.envs.simpler.rotations import euler_to_axis_angle
from vla_bench.envs.simpler.state import SimplerState
from vla_bench.envs.simpler.tasks import PLACE_IN_DRAWER, Task
from vla_bench.envs.simpler.variants import Variant
from vla_bench.envs.simulation import EpisodeStart, Outcome

Advance = Literal["official", "robovlms"]
"""When the apple task goes on to its second subtask: ``official`` after :data:`FORCED_ADVANCE` steps,
``robovlms`` also as soon as the drawer has been open (RoboVLMs 8adc1d2, ``maniskill2_evaluator.py``)."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a backend's own judge says after a control step."""

    success: bool
    flags: Mapping[str, float]
    final_subtask: bool = True
    """False while the first of two subtasks is on."""


class Backend(Protocol):
    """One simulator, able to set out any trial it knows."""

    def set_out(self, task: Task, variant: Variant, start: EpisodeStart) -> None:
        """Starts a trial; nothing of an earlier one is left."""
        ...

    def step(self, action: np.ndarray) -> Verdict:
        """One control step (7,): base-frame delta, axis-angle, gripper."""
        ...

    def next_subtask(self) -> None:
        """Goes on to the second subtask."""
        ...

    def observe(self, sensors: Sensors) -> Mapping[str, np.ndarray]:
        """State vectors, and the images of the cameras that were asked for, rendered now."""
        ...

    def state(self, task: Task, steps: int) -> SimplerState:
        """The truth about the scene."""
        ...

    def describe(self) -> Mapping[str, object]:
        """Renderer, versions and assets."""
        ...

    def close(self) -> None:
        """Releases the simulator."""
        ...


class SimplerSimulation:
    """A :class:`vla_bench.envs.simulation.Simulation` on one of the backends.

    A trial is never stopped by success: it runs to its step limit, and its last step counts. Only the
    change of subtask in the apple task stops a chunk early.
    """

    def __init__(self, backend: Backend, sensors: Sensors, action: ActionSpec, advance: Advance = "official") -> None:
        camera = next((each for each in sensors.cameras if each.width or each.height), None)
        if camera is not None:
            raise ValueError(f"SimplerEnv renders {camera.name} at its own size only; drop width and height")
        self.backend = backend
        self._sensors = sensors
        self._euler = action.rotation == "euler_xyz"
        self._poses = action.control == "tcp_pose"
        self._target: PoseTarget | None = None
        self._advance: Advance = advance
        self._task: Task | None = None
        self._verdict = Verdict(False, {})
        self._steps = 0
        self._subtask = 0
        self._ever = False

    def reset(self, start: EpisodeStart) -> None:
        """Sets out the trial: ``start.task`` in the variant ``start.scene``.

        Raises:
            ValueError: unknown task or variant, or one that the backend does not have.
        """
        task = task_named(start.task)
        self.backend.set_out(task, variant_named(task, start.scene), start)
        self._task = task
        self._target = None
        self._steps = self._subtask = 0
        self._verdict = Verdict(False, {})

    def begin(self, subtask: str) -> None:
        """Starts a subtask; the second one tells the backend to judge by it."""
        if self._task is None:
            raise RuntimeError("begin() before reset()")
        if subtask not in self._task.subtasks:
            raise ValueError(f"{self._task.name} has no subtask {subtask!r}; it has {', '.join(self._task.subtasks)}")
        self._subtask = self._task.subtasks.index(subtask)
        if self._subtask:
            self.backend.next_subtask()
        self._ever = False

    def advance(self, actions: np.ndarray) -> Outcome:
        """Executes ``actions`` (k, 7), metres, radians and gripper command, judging after each step."""
        if self._task is None:
            raise RuntimeError("advance() before begin()")
        stopped = success = False
        steps = 0
        for action in actions:
            self._verdict = verdict = self.backend.step(self._converted(action))
            steps += 1
            self._steps += 1
            success, changes = self._judge(verdict)
            self._ever = self._ever or success
            stopped = changes or self._steps >= self._task.step_limit
            if stopped:
                break
        return Outcome(steps, success, stopped, self._ever, self._verdict.flags)

    def _judge(self, verdict: Verdict) -> tuple[bool, bool]:
        """Success of the subtask that is on, and whether it is over."""
        assert self._task is not None
        if self._task.rule is not PLACE_IN_DRAWER or self._subtask:
            return verdict.success, False
        if verdict.final_subtask:
            return verdict.flags["qpos"] >= 0.15, True
        if self._advance == "robovlms" and verdict.flags["is_drawer_open"]:
            self.backend.next_subtask()  # the instruction changes after one more step, as there
        return verdict.flags["qpos"] >= 0.15, False

    def _converted(self, action: np.ndarray) -> np.ndarray:
        if self._poses:
            if self._target is None:
                self._target = PoseTarget(self.backend.observe(Sensors()))
            return self._target.change_to(action)
        if not self._euler:
            return action
        converted = np.array(action, dtype=np.float64)
        converted[3:6] = euler_to_axis_angle(converted[3:6])
        return converted

    def observe(self) -> Observation:
        """What policies see.

        ``rgb_<camera>`` (H, W, 3) uint8 and ``depth_<camera>`` (H, W) float32 in metres where asked
        for; always ``robot_obs``, the joint positions (8 WidowX, 11 Google Robot), ``tcp_pose`` and ``base_pose``
        (7,), position and quaternion wxyz in the world frame, and ``gripper_closedness`` (1,) from 0 (open) to 1;
        float32.
        """
        if self._task is None:
            raise RuntimeError("observe() before reset()")
        return Observation(self.backend.observe(self._sensors))

    def privileged(self) -> SimplerState:
        """The whole state."""
        if self._task is None:
            raise RuntimeError("privileged() before reset()")
        return self.backend.state(self._task, self._steps)

    def describe(self) -> Mapping[str, object]:
        """What the backend says of itself."""
        return self.backend.describe()

    def close(self) -> None:
        """Releases the simulator."""
        self.backend.close()

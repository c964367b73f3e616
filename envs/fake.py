"""A toy environment: a point in a box that is pushed about, and that misbehaves on cue.

It needs numpy only, steps in microseconds and repeats itself bit for bit, so that what surrounds a
simulation can be tried out quickly: the engine's tests make it crash, hang, raise, crawl, leak or
succeed exactly when they want. Options of the family (all of them optional):

``cues``
    A list of dictionaries, the fields of :class:`Cue`: what goes wrong, where and when.
``counter``
    A folder shared by all processes of a run, in which cues with a ``times`` limit are counted.
``step_seconds``
    Sleep of every control step, to give a run a duration.

An episode is told apart by the one number in ``start.state["episode"]``; ``start.state["point"]``
places the point. Both may be left out.
"""

from __future__ import annotations

import ctypes
import hashlib
import os
import signal
import time
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Literal, get_args

import numpy as np

from vla_bench.envs.action_spec import ActionSpec
from vla_bench.envs.errors import suggestion
from vla_bench.envs.observation import Observation, Sensors
from vla_bench.envs.simulation import EnvironmentSpec, EpisodeStart, Outcome, Part, SimulationSpec

RELATIVE = ActionSpec(
    name="relative",
    size=4,
    control="tcp_delta",
    frame="world",
    rotation="none",
    position_scale=0.05,
    bounded=True,
)
ABSOLUTE = ActionSpec(name="absolute", size=4, control="tcp_pose", frame="world", rotation="none")

GOALS: Mapping[str, tuple[float, float, float]] = {
    "reach_red": (0.6, 0.2, 0.1),
    "reach_green": (-0.5, 0.4, -0.2),
    "reach_blue": (0.1, -0.6, 0.4),
}
"""Where the point has to get to, in metres."""

INSTRUCTIONS: Mapping[str, str] = {
    "reach_red": "move to the red spot",
    "reach_green": "move to the green spot",
    "reach_blue": "move to the blue spot",
    "raise": "go up",
    "lower": "go down",
    "open_gripper": "open the gripper",
    "close_gripper": "close the gripper",
}
"""Every subtask and its instruction."""

REACH = 0.1
"""Distance to a goal that counts as being there, metres."""
LIFT = 0.2
"""Change of height since ``begin`` that solves ``raise`` and ``lower``, metres."""
MAX_ABSOLUTE_STEP = 0.05
"""Farthest the point gets in one step of absolute control, metres."""

_CAMERAS = {"front": (32, 32), "wrist": (16, 16)}


MAX_SLEEP = 1e5
"""Seconds, or megabytes; more would be a slip of the pen."""

_DO = Literal["abort", "segfault", "exit", "hang", "raise", "slow", "leak", "blank", "garble", "succeed"]
_WHEN = Literal["build", "reset", "step", "observe"]


@dataclass(frozen=True, slots=True)
class Cue:
    """One thing that happens on purpose."""

    do: _DO
    """``hang`` sleeps for ever without letting go of the interpreter lock, like a stuck physics
    engine. ``slow`` sleeps ``amount`` seconds, ``leak`` keeps ``amount`` megabytes for good,
    ``blank`` makes pictures of nothing and ``garble`` a state of no numbers until the next reset,
    ``succeed`` solves the subtask from this step on."""
    when: _WHEN = "step"
    """In which verb."""
    episode: int | None = None
    """Only in the episode of this number; None: in any."""
    subtask: str | None = None
    """Only in this subtask; None: in any."""
    step: int | None = 0
    """For ``step`` and ``observe``: 0-based control step of the subtask; None: at each."""
    times: int | None = None
    """Fires at most so often in all processes together (needs the option ``counter``)."""
    amount: float = 0.0


@dataclass(frozen=True, slots=True)
class FakeState:
    """The whole truth about the toy scene."""

    point: tuple[float, float, float]
    velocity: tuple[float, float, float]
    gripper: float
    subtask: str
    goal: tuple[float, float, float] | None
    """Where the present subtask wants the point; None when it is not about a place."""

    def digest(self) -> str:
        """SHA-256 of the exact numbers, 16 hex digits."""
        numbers = np.array([*self.point, *self.velocity, self.gripper], dtype="<f8")
        return hashlib.sha256(numbers.tobytes()).hexdigest()[:16]


class FakeSimulation:
    """A damped point mass in the box [-1, 1]³ (metres) and a gripper that is open (1) or closed (-1)."""

    def __init__(
        self,
        sensors: Sensors = Sensors(),  # noqa: B008 - frozen
        action: ActionSpec = RELATIVE,
        cues: tuple[Cue, ...] = (),
        counter: str | None = None,
        step_seconds: float = 0.0,
    ) -> None:
        self._cameras = tuple(sensors.cameras)
        self._action = action
        self._cues = cues
        self._counter = counter
        self._step_seconds = step_seconds
        self._leaked: list[bytes] = []
        self._episode: int | None = None
        self.reset(EpisodeStart("box"), first=True)

    def reset(self, start: EpisodeStart, *, first: bool = False) -> None:
        """Puts the point where ``start.state["point"]`` says, at rest, the gripper open."""
        number = start.state.get("episode")
        self._episode = None if number is None else int(number[0])
        self._point = np.array(start.state.get("point", (0.0, 0.0, 0.0)), dtype=np.float64)
        if self._point.shape != (3,):
            raise ValueError(f"start.state['point'] needs 3 numbers, got shape {self._point.shape}")
        self._velocity = np.zeros(3)
        self._gripper = 1.0
        self._blank = self._garbled = False
        self._begin("")
        self._play("build" if first else "reset")

    def begin(self, subtask: str) -> None:
        """Fixes the height that ``raise`` and ``lower`` are measured from."""
        if subtask not in INSTRUCTIONS:
            raise ValueError(f"unknown subtask {subtask!r}; known: {', '.join(INSTRUCTIONS)}")
        self._begin(subtask)

    def _begin(self, subtask: str) -> None:
        self._subtask = subtask
        self._start_height = float(self._point[2])
        self._step = 0
        self._ever = False
        self._gifted = False

    def advance(self, actions: np.ndarray) -> Outcome:
        """Moves the point, (k, 4) actions; stops at success."""
        success = False
        for count, action in enumerate(actions, start=1):
            self._play("step")
            if self._step_seconds:
                time.sleep(self._step_seconds)
            self._move(action)
            self._step += 1
            success = self._solved()
            self._ever |= success
            if success:
                return Outcome(count, success=True, stopped=True, ever=True)
        return Outcome(len(actions), success=success, stopped=False, ever=self._ever)

    def _move(self, action: np.ndarray) -> None:
        if action.shape != (self._action.size,):
            raise ValueError(f"an action has {self._action.size} numbers, got shape {action.shape}")
        if self._action.control == "tcp_delta":
            self._velocity = 0.5 * self._velocity + action[:3] * action.dtype.type(0.05)
        else:
            self._velocity = np.clip(action[:3] - self._point, -MAX_ABSOLUTE_STEP, MAX_ABSOLUTE_STEP)
        self._point = np.clip(self._point + self._velocity, -1.0, 1.0)
        self._gripper = 1.0 if action[3] > 0 else -1.0

    def _solved(self) -> bool:
        if self._gifted:
            return True
        if (goal := GOALS.get(self._subtask)) is not None:
            return float(np.abs(self._point - goal).max()) < REACH
        if self._subtask == "raise":
            return float(self._point[2]) - self._start_height > LIFT
        if self._subtask == "lower":
            return self._start_height - float(self._point[2]) > LIFT
        return self._gripper == (1.0 if self._subtask == "open_gripper" else -1.0)

    def observe(self) -> Observation:
        """``state`` (4,) float64: the point in metres and the gripper; images when asked for."""
        self._play("observe")
        arrays = {"state": np.array([*self._point, self._gripper])}
        if self._garbled:
            arrays["state"][:] = np.nan
        for camera in self._cameras:
            own_height, own_width = _CAMERAS[camera.name]
            height, width = camera.height or own_height, camera.width or own_width
            arrays[f"rgb_{camera.name}"] = self._draw(height, width, top=camera.name == "wrist")
            if camera.depth:
                distance = 2.0 - self._point[2]
                arrays[f"depth_{camera.name}"] = np.full((height, width), distance, dtype=np.float32)
        return Observation(arrays)

    def _draw(self, height: int, width: int, *, top: bool) -> np.ndarray:
        image = np.zeros((height, width, 3), dtype=np.uint8)
        if self._blank:
            return image
        image[..., 0] = np.linspace(0, 255, width, dtype=np.uint8)
        image[..., 1] = np.linspace(0, 255, height, dtype=np.uint8)[:, None]
        image[..., 2] = 64
        across, up = (self._point[0], self._point[1]) if top else (self._point[0], self._point[2])
        column = round((across + 1) / 2 * (width - 1))
        row = round((1 - up) / 2 * (height - 1))
        image[max(row - 1, 0) : row + 2, max(column - 1, 0) : column + 2] = 255
        return image

    def privileged(self) -> FakeState:
        """The state, the present subtask and its goal."""
        x, y, z = self._point.tolist()
        vx, vy, vz = self._velocity.tolist()
        goal = GOALS.get(self._subtask)
        return FakeState((x, y, z), (vx, vy, vz), self._gripper, self._subtask, goal)

    def close(self) -> None:
        """Frees what ``leak`` kept."""
        self._leaked.clear()

    def _play(self, when: str) -> None:
        for number, cue in enumerate(self._cues):
            if (
                cue.when == when
                and cue.episode in (None, self._episode)
                and cue.subtask in (None, self._subtask)
                and (when in ("build", "reset") or cue.step in (None, self._step))
                and self._claim(number, cue)
            ):
                self._act_out(cue)

    def _claim(self, number: int, cue: Cue) -> bool:
        """Whether the cue may fire once more, counted over all processes of the run."""
        if cue.times is None:
            return True
        assert self._counter is not None  # checked when the options were read
        for turn in range(cue.times):
            try:
                path = os.path.join(self._counter, f"cue-{number}-{turn}")
                os.close(os.open(path, os.O_CREAT | os.O_EXCL))
            except FileExistsError:
                continue
            return True
        return False

    def _act_out(self, cue: Cue) -> None:
        match cue.do:
            case "abort":
                os.abort()
            case "segfault":
                signal.raise_signal(signal.SIGSEGV)
            case "exit":
                os._exit(3)
            case "hang":
                while True:  # PyDLL keeps the interpreter lock, as PyBullet does inside a step
                    ctypes.PyDLL(None).sleep(3600)
            case "raise":
                raise RuntimeError("raised on cue")
            case "slow":
                time.sleep(cue.amount)
            case "leak":
                self._leaked.append(b"\1" * int(cue.amount * 1e6))
            case "blank":
                self._blank = True
            case "garble":
                self._garbled = True
            case "succeed":
                self._gifted = True


def environment_spec(options: Mapping[str, Any]) -> EnvironmentSpec:
    """What the toy offers: ``relative`` (default) and ``absolute`` actions, two small cameras."""
    _read(options)
    return EnvironmentSpec(
        "fake",
        (RELATIVE, ABSOLUTE),
        _CAMERAS,
        control_hz=30.0,
        roles={"static": "front", "gripper": "wrist"},
        vectors={"state": (0.1, 0.2, 0.3, 1.0)},
        parts={"position": Part("state", 0, 3), "command": Part("state", 3, 4)},
    )


def build(spec: SimulationSpec) -> FakeSimulation:
    """Builds the toy; ValueError names an unknown option, camera, convention or cue field."""
    environment = environment_spec(spec.options)
    for camera in spec.sensors.cameras:
        if camera.name not in environment.cameras:
            raise ValueError(f"fake has no camera {camera.name!r}; it has {', '.join(environment.cameras)}")
    action = environment.action(spec.action) if spec.action else environment.actions[0]
    return FakeSimulation(spec.sensors, action, **_read(spec.options))


def _read(options: Mapping[str, Any]) -> dict[str, Any]:
    known = ("cues", "counter", "step_seconds")
    for name in options:
        if name not in known:
            hint = suggestion(name, known)
            raise ValueError(f"fake has no option {name!r}; it has {', '.join(known)}.{hint}")
    cues = options.get("cues", ())
    if not isinstance(cues, list | tuple) or not all(isinstance(cue, Mapping) for cue in cues):
        raise ValueError(f"cues is a list of dictionaries, e.g. [{{do: hang, episode: 1}}], not {cues!r}")
    seconds, counter = options.get("step_seconds", 0.0), options.get("counter")
    if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not 0 <= seconds <= MAX_SLEEP:
        raise ValueError(f"step_seconds is a number from 0 to {MAX_SLEEP:g}, not {seconds!r}")
    if counter is not None and not isinstance(counter, str):
        raise ValueError(f"counter is the path of a folder, not {counter!r}")
    for cue in cues:
        _check_cue(cue)
        if cue.get("times") is not None and not options.get("counter"):
            raise ValueError("a cue with 'times' needs the option 'counter', a folder to count in")
    return {
        "cues": tuple(Cue(**cue) for cue in cues),
        "counter": counter,
        "step_seconds": float(seconds),
    }


def _check_cue(cue: Mapping[str, Any]) -> None:
    known = [field.name for field in fields(Cue)]
    for name in cue:
        if name not in known:
            raise ValueError(f"a cue has no field {name!r}; it has {', '.join(known)}")
    for name, hint in (("do", _DO), ("when", _WHEN)):
        if (name in cue or name == "do") and cue.get(name) not in get_args(hint):
            raise ValueError(f"a cue's {name} is one of {', '.join(get_args(hint))}, not {cue.get(name)!r}")
    for name in ("episode", "step", "times"):
        if cue.get(name) is not None and type(cue[name]) is not int:
            raise ValueError(f"a cue's {name} is a whole number, not {cue[name]!r}")
    if type(cue.get("amount", 0)) not in (int, float) or not 0 <= cue.get("amount", 0) <= MAX_SLEEP:
        raise ValueError(f"a cue's amount is a number from 0 to {MAX_SLEEP:g}, not {cue['amount']!r}")
    if not isinstance(cue.get("subtask"), str | None):
        raise ValueError(f"a cue's subtask is a name, not {cue['subtask']!r}")

"""What a policy looks through and commands where it is: as it was trained, or on a robot of a data set."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from vla_bench.envs.action_spec import ActionSpec
from vla_bench.envs.observation import Observation, Sensors
from vla_bench.envs.simulation import EnvironmentSpec
from vla_bench.policies.base import PolicySpec
from vla_bench.policies.errors import PolicyError
from vla_bench.policies.vla.actions.normalisation import Quantiles
from vla_bench.policies.vla.options import VlaOptions

ROBOTS = {"bridge": "widowx", "fractal": "google_robot"}
"""Robot of a data set by the name of its action convention."""
STATE = "robot_obs"
"""What a model calls the vector whose role is ``state``."""


@dataclass(frozen=True, slots=True)
class Embodiment:
    """A robot of a data set. Its static camera is all that it has; a model that was trained with a gripper camera
    too is shown none, as in the released evaluation."""

    robot: str
    """``widowx`` or ``google_robot``."""
    environment: EnvironmentSpec
    action: ActionSpec

    @property
    def camera(self) -> str:
        """The one that is looked through."""
        return self.environment.camera("static")

    def options(self, options: VlaOptions) -> VlaOptions:
        """The options as they are run here. PolicyError: the model needs what is not shown here."""
        _check_state(options, self.environment)
        return dataclasses.replace(options, model=dataclasses.replace(options.model, gripper_camera=False))

    def spec(self, options: VlaOptions) -> PolicySpec:
        """What the policy needs here."""
        spec = self.options(options).spec()
        switches = dict(spec.switches)
        if options.statistics is not None:
            Quantiles.read(options.statistics)
            content = Path(options.statistics).read_bytes()
            switches["statistics"] = hashlib.sha256(content).hexdigest()[:16]
        return dataclasses.replace(spec, action=self.action, sensors=Sensors.of(self.camera), switches=switches)

    def rules(self, options: VlaOptions) -> ChunkCommands:
        """Of one running episode; made anew at every reset."""
        from vla_bench.policies.vla.actions.robot_commands import RobotCommands  # SciPy: describing need not wait

        commands = RobotCommands.for_robot(self.robot, options.model.action_scale)
        if options.statistics is not None:
            commands.quantiles = Quantiles.read(options.statistics)
        return ChunkCommands(commands)

    def shown(self, observation: Mapping[str, np.ndarray]) -> Mapping[str, np.ndarray]:
        """The observation under the names that a model knows."""
        return {"rgb_static": observation[f"rgb_{self.camera}"]}


def _check_state(options: VlaOptions, environment: EnvironmentSpec) -> None:
    """PolicyError: the model needs the robot's state where nothing has that role."""
    model = options.model
    for field, wanted in (("state_token", model.state_token), ("action_frame", model.action_frame != "world")):
        if wanted and environment.roles and "state" not in environment.roles:
            raise PolicyError(
                f"policy.model.{field}={getattr(model, field)} needs the robot's state, which "
                f"{environment.family} does not show"
            )


def spec_by_roles(options: VlaOptions, environment: EnvironmentSpec) -> PolicySpec:
    """What the policy needs where actions are those that a model gives, cameras by their names there."""
    _check_state(options, environment)
    spec = options.spec()
    cameras = [dataclasses.replace(each, name=environment.camera(each.name)) for each in spec.sensors.cameras]
    return dataclasses.replace(spec, sensors=Sensors(tuple(cameras)))


def names_in(environment: EnvironmentSpec) -> Mapping[str, str]:
    """From the names that a model knows to those of the environment's observations, where they differ."""
    names = {f"rgb_{role}": f"rgb_{environment.camera(role)}" for role in ("static", "gripper")}
    names[STATE] = environment.roles.get("state", STATE)
    return {mine: theirs for mine, theirs in names.items() if mine != theirs}


def seen_as(names: Mapping[str, str], observation: Observation) -> Mapping[str, np.ndarray]:
    """The observation with what :func:`names_in` gives under the names that a model knows."""
    if not names:
        return observation
    return {**observation, **{mine: observation[theirs] for mine, theirs in names.items() if theirs in observation}}


@dataclass(frozen=True, slots=True)
class ChunkCommands:
    """Turns chunks of an episode into commands, gripper rules included."""

    commands: Any

    def __call__(self, chunk: np.ndarray) -> np.ndarray:
        """(k, 7) actions in [-1, 1] to (k, 7) commands, float64: metres, axis times angle, gripper."""
        made = [self.commands(action) for action in chunk]
        return np.stack([np.concatenate([c.world_vector, c.axis_angle, [c.gripper]]) for c in made])


def embodiment_in(environment: EnvironmentSpec, options: VlaOptions) -> Embodiment | None:
    """The robot whose data set's actions the environment takes; None: it takes those a model gives.

    PolicyError: an option is for such robots only.
    """
    action = environment.actions[0] if environment.actions else None
    if action is not None and action.name in ROBOTS:
        return Embodiment(ROBOTS[action.name], environment, action)
    if options.statistics is not None:
        raise PolicyError(
            f"policy.statistics={options.statistics} is for robots of the conventions {', '.join(ROBOTS)}; in "
            f"{environment.family} actions are scaled by policy.model.norm"
        )
    return None

"""What a policy looks through and commands where it is: in CALVIN as trained, or on a robot of SimplerEnv."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from vla_bench.envs.action_spec import ActionSpec
from vla_bench.envs.observation import Sensors
from vla_bench.envs.simulation import EnvironmentSpec
from vla_bench.policies.base import PolicySpec
from vla_bench.policies.errors import PolicyError
from vla_bench.policies.vla.actions.normalisation import Quantiles
from vla_bench.policies.vla.options import VlaOptions

ROBOTS = {"bridge": "widowx", "fractal": "google_robot"}
"""Robot of SimplerEnv by the name of its action convention."""


@dataclass(frozen=True, slots=True)
class Embodiment:
    """A robot of SimplerEnv. It has one camera, which stands for the static one; a model that was trained
    with a gripper camera too is shown none, as in the released evaluation."""

    robot: str
    """``widowx`` or ``google_robot``."""
    camera: str
    action: ActionSpec

    def options(self, options: VlaOptions) -> VlaOptions:
        """The options as they are run here. PolicyError: the model needs what SimplerEnv does not show."""
        model = options.model
        for field, wanted in (
            ("state_token", model.state_token),
            ("action_frame", model.action_frame != "world"),
        ):
            if wanted:
                raise PolicyError(
                    f"policy.model.{field}={getattr(model, field)} needs CALVIN's robot_obs, which "
                    "SimplerEnv does not have"
                )
        return dataclasses.replace(options, model=dataclasses.replace(model, gripper_camera=False))

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
        from vla_bench.policies.vla.actions.simpler import (
            SimplerCommands,  # SciPy, which describing need not wait for
        )

        commands = SimplerCommands.for_robot(self.robot, options.model.action_scale)
        if options.statistics is not None:
            commands.quantiles = Quantiles.read(options.statistics)
        return ChunkCommands(commands)

    def shown(self, observation: Mapping[str, np.ndarray]) -> Mapping[str, np.ndarray]:
        """The observation under the names that a model knows."""
        return {"rgb_static": observation[f"rgb_{self.camera}"]}


@dataclass(frozen=True, slots=True)
class ChunkCommands:
    """Turns chunks of an episode into commands, gripper rules included."""

    commands: Any

    def __call__(self, chunk: np.ndarray) -> np.ndarray:
        """(k, 7) actions in [-1, 1] to (k, 7) commands, float64: metres, axis times angle, gripper."""
        made = [self.commands(action) for action in chunk]
        return np.stack([np.concatenate([c.world_vector, c.axis_angle, [c.gripper]]) for c in made])


def embodiment_in(environment: EnvironmentSpec, options: VlaOptions) -> Embodiment | None:
    """The robot of a SimplerEnv environment; None elsewhere. PolicyError: an option is for SimplerEnv."""
    action = environment.actions[0] if environment.actions else None
    if environment.family == "simpler" and action is not None and action.name in ROBOTS:
        return Embodiment(ROBOTS[action.name], next(iter(environment.cameras)), action)
    if options.statistics is not None:
        raise PolicyError(
            f"policy.statistics={options.statistics} is for SimplerEnv's robots; in {environment.family} "
            "actions are scaled by policy.model.norm"
        )
    return None

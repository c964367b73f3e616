"""The play table: sliding door, drawer, button and switch, and the two lights they work.

Joint motors and trigger thresholds are those of calvin_env 797142c (``scene/objects``).
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from vla_bench.envs.calvin.scenes import GLOBAL_SCALING, Scene

JOINT_FORCE = 4.0
"""Slide, drawer and switch are held by a velocity motor at rest of this force, which acts as dry
friction; the button by a position motor to 0 of the same force. Newtons."""
LIGHTS = {"lightbulb": ("light_link", (1, 1, 0, 1)), "led": ("led_link", (0, 1, 0, 1))}
"""Link and colour when on; off is white."""
OFF_COLOUR = (1, 1, 1, 1)


class Table:
    """The table of one scene in one physics client."""

    def __init__(self, bullet: Any, client: int, data: Path, scene: Scene, flags: int) -> None:
        """Loads the table's URDF, with these flags, and sets the motors of its joints."""
        self._bullet = bullet
        self._client = client
        p = bullet
        self.body = p.loadURDF(
            str(data / scene.urdf),
            (0, 0, 0),
            p.getQuaternionFromEuler((0, 0, 0)),
            globalScaling=GLOBAL_SCALING,
            flags=flags,
            physicsClientId=client,
        )
        infos = [
            p.getJointInfo(self.body, joint, physicsClientId=client)
            for joint in range(p.getNumJoints(self.body, physicsClientId=client))
        ]
        joints = {info[1].decode(): info[0] for info in infos}
        links = {info[12].decode(): info[0] for info in infos}
        self.slide, self.drawer = joints["base__slide"], joints["base__drawer"]
        self.button, self.switch = joints["base__button"], joints["base__switch"]
        self._lights = {name: (links[link], colour) for name, (link, colour) in LIGHTS.items()}
        self.fittings = frozenset((self.button, self.switch, *(link for link, _ in self._lights.values())))
        """Links that stand on the table or in its front and are small: button, switch and lights."""
        self.ranges = {
            name: tuple(infos[joints[f"base__{name}"]][8:10]) for name in ("slide", "drawer", "button", "switch")
        }
        """Lower and upper limit of each joint, metres."""
        self._button_threshold = sum(self.ranges["button"]) / 2
        self._switch_threshold = sum(self.ranges["switch"]) / 2
        for joint in (self.slide, self.drawer, self.switch):
            p.setJointMotorControl2(self.body, joint, p.VELOCITY_CONTROL, force=JOINT_FORCE, physicsClientId=client)
        p.setJointMotorControl2(
            self.body,
            self.button,
            p.POSITION_CONTROL,
            targetPosition=0,
            force=JOINT_FORCE,
            physicsClientId=client,
        )
        self.lights = {"lightbulb": 0, "led": 0}
        self._button_on = 0
        self._button_was_pressed = self._position(self.button) > self._button_threshold
        self._switch_on = False

    def _position(self, joint: int) -> float:
        return self._bullet.getJointState(self.body, joint, physicsClientId=self._client)[0]

    def joints(self) -> tuple[float, float, float, float]:
        """Positions of slide, drawer, button and switch, metres."""
        states = self._bullet.getJointStates(
            self.body, (self.slide, self.drawer, self.button, self.switch), physicsClientId=self._client
        )
        return tuple(state[0] for state in states)

    def joint(self, name: str) -> float:
        """Position of ``slide`` or ``drawer``, metres."""
        return self._position(getattr(self, name))

    def reset(self, joints: tuple[float, float, float, float], lightbulb: float, led: float) -> None:
        """Sets the joints (slide, drawer, button, switch; metres) and the lights (0 or 1).

        Whether the button was held down before is not reset, as in the original; after a load it
        was not.

        Raises:
            ValueError: if a light is neither 0 nor 1.
        """
        for joint, value in zip((self.slide, self.drawer), joints[:2], strict=True):
            self._bullet.resetJointState(self.body, joint, value, physicsClientId=self._client)
        for name, value in (("lightbulb", lightbulb), ("led", led)):
            if value not in (0, 1):
                raise ValueError(f"the state of the {name} in scene_obs must be 0 or 1, not {value!r}")
            self._set_light(name, int(value))
        for joint, value in zip((self.button, self.switch), joints[2:], strict=True):
            self._bullet.resetJointState(self.body, joint, value, physicsClientId=self._client)
        self._button_on = self.lights["led"]
        self._switch_on = False

    @property
    def lamps(self) -> Mapping[str, tuple[int, tuple[float, ...]]]:
        """Link and colour of each light."""
        return self._lights

    def show_lights(self, lights: Mapping[str, int]) -> None:
        """Gives each light the look of 1 (on) or 0 (off)."""
        for name, on in lights.items():
            self._set_light(name, on)

    def _set_light(self, name: str, on: int) -> None:
        self.lights[name] = on
        link, colour = self._lights[name]
        self._bullet.changeVisualShape(
            self.body, link, rgbaColor=colour if on else OFF_COLOUR, physicsClientId=self._client
        )

    def update_lights(self) -> None:
        """Works the lights, once per control step.

        The button toggles the LED when it goes down past half its travel; the bulb follows the
        switch, whenever the switch passes half its travel.
        """
        pressed = self._position(self.button) > self._button_threshold
        if pressed and not self._button_was_pressed:
            self._button_on = 1 - self._button_on
            self._set_light("led", self._button_on)
        self._button_was_pressed = pressed
        on = self._position(self.switch) > self._switch_threshold
        if on != self._switch_on:
            self._set_light("lightbulb", int(on))
        self._switch_on = on

"""What can be changed in an evaluation and by how much: axes, their fields, and the zero of each."""

from __future__ import annotations

import dataclasses
import hashlib
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from vla_bench.envs.errors import EnvironmentFault


@dataclass(frozen=True, slots=True)
class Stress:
    """Levels of all axes. Zero (or ``given``, or an empty list) changes nothing."""

    seed: int = 0
    """Seed of all that is drawn for an axis: per episode, whatever else is run."""

    wording: Literal["given", "paraphrase", "annotated", "synonyms", "polite", "order", "other_task", "file"] = "given"
    """words: another sentence of ours, of the official annotations or of words_file; or a changed one."""
    words_file: str = ""
    """words: YAML with sentences for each task (task: [sentence, ...]), for stress.wording=file."""
    typos: float = 0.0
    """words: share of the words with one slip of typing."""

    brightness: float = 0.0
    """image: 0.3 makes it 30 % brighter, -0.3 darker."""
    image_noise: float = 0.0
    """image: standard deviation of noise on every pixel, of 255."""
    black: tuple[str, ...] = ()
    """image: cameras that show black, e.g. gripper."""
    frozen: tuple[str, ...] = ()
    """image: cameras that show the first picture of the episode for ever."""

    camera_shift: float = 0.0
    """cameras: metres by which each is away from its place, in a drawn direction."""
    camera_turn: float = 0.0
    """cameras: degrees by which each is turned about a drawn axis."""
    camera_fov: float = 0.0
    """cameras: 0.1 widens the field of view by 10 %, -0.1 narrows it."""
    camera_blur: float = 0.0
    """cameras: 0.5 halves the resolution, in pictures of the same size."""

    light_turn: float = 0.0
    """light: degrees by which its direction is turned, to a drawn side."""
    light_strength: float = 0.0
    """light: 0.3 is 30 % stronger, -0.3 weaker."""

    colours: float = 0.0
    """surfaces: 0 to 1, how far table and floor are tinted towards drawn colours."""
    textures: Literal["given", "any", "checker", "noise", "stripes", "wood"] = "given"
    """surfaces: drawn patterns on table and floor in place of their textures, of one kind or of any."""

    clutter: int = 0
    """clutter: objects that take part in nothing."""

    arm_shift: float = 0.0
    """start: radians by which each joint of the arm is away from where it starts, at most."""
    block_shift: float = 0.0
    """start: metres by which blocks are away from where they start, at most, within what the task allows."""

    action_noise: float = 0.0
    """body: standard deviation of noise on each number of the arm's actions; 1 is 2 cm or 0.05 rad."""
    lost: float = 0.0
    """body: share of the actions that never arrive; the robot goes on with what it has."""
    repeated: float = 0.0
    """body: share of the actions in whose place the one before is executed once more."""
    gain: float = 0.0
    """body: 0.05: the robot moves 5 % more or less than it is told, drawn for each number of the action."""
    slow_gripper: int = 0
    """body: control steps by which the gripper's command is late."""

    latency_steps: int = 0
    """time: control steps that pass while the policy decides."""
    latency_seconds: float = 0.0
    """time: the same in seconds; rounded up to whole control steps."""
    latency: Literal["stated", "measured"] = "stated"
    """time: measured takes what each decision really took, which differs from machine to machine."""
    meanwhile: Literal["chunk", "hold"] = "chunk"
    """time: what the arm does until the decision is there: goes on with the chunk before, or holds."""

    def __post_init__(self) -> None:
        for each in dataclasses.fields(self):
            value = getattr(self, each.name)
            if isinstance(value, int | float) and not isinstance(value, bool):
                self._check_number(each.name, value)
        if (self.wording == "file") != bool(self.words_file):
            raise EnvironmentFault("stress.wording=file goes with stress.words_file=<file.yaml>; type both or none")
        if self.latency_steps and self.latency_seconds:
            raise EnvironmentFault("stress.latency_steps and stress.latency_seconds say the same; type one of them")
        if self.latency == "measured" and (self.latency_steps or self.latency_seconds):
            raise EnvironmentFault("stress.latency=measured takes what decisions take; drop the stated latency")
        if self.lost + self.repeated > 1:
            raise EnvironmentFault("stress.lost and stress.repeated are shares of the same actions; together at most 1")

    def _check_number(self, name: str, value: float) -> None:
        low, high = RANGES.get(name, (0.0, math.inf))
        if not (math.isfinite(value) and low <= value <= high):
            wanted = f"from {low:g} to {high:g}" if math.isfinite(high) else f"of at least {low:g}"
            raise EnvironmentFault(f"stress.{name}={value:g}: a number {wanted} is wanted")


RANGES: Mapping[str, tuple[float, float]] = {
    "brightness": (-1.0, 4.0),
    "image_noise": (0.0, 255.0),
    "camera_fov": (-0.9, 2.0),
    "camera_turn": (0.0, 90.0),
    "camera_blur": (0.0, 0.99),
    "camera_shift": (0.0, 1.0),
    "light_turn": (0.0, 80.0),
    "light_strength": (-1.0, 4.0),
    "colours": (0.0, 1.0),
    "clutter": (0, 12),
    "arm_shift": (0.0, 0.5),
    "block_shift": (0.0, 0.2),
    "typos": (0.0, 1.0),
    "lost": (0.0, 1.0),
    "repeated": (0.0, 1.0),
    "gain": (0.0, 1.0),
    "action_noise": (0.0, 10.0),
    "slow_gripper": (0, 300),
    "latency_steps": (0, 300),
    "latency_seconds": (0.0, 60.0),
}
"""What a number may be, both ends included; others: 0 or more."""

AXES: Mapping[str, tuple[str, ...]] = {
    "words": ("wording", "typos"),
    "image": ("brightness", "image_noise", "black", "frozen"),
    "cameras": ("camera_shift", "camera_turn", "camera_fov", "camera_blur"),
    "light": ("light_turn", "light_strength"),
    "surfaces": ("colours", "textures"),
    "clutter": ("clutter",),
    "start": ("arm_shift", "block_shift"),
    "body": ("action_noise", "lost", "repeated", "gain", "slow_gripper"),
    "time": ("latency_steps", "latency_seconds", "latency"),
}
"""Fields of each axis that are levels; ``seed``, ``words_file`` and ``meanwhile`` say how, not how much."""
PICTURE = ("brightness", "image_noise", "black", "frozen", "camera_blur")
"""Levels that are laid over a rendered picture, whatever made it."""
WORLD = ("camera_shift", "camera_turn", "camera_fov", "light_turn", "light_strength", "colours", "textures", "clutter")
"""Levels that the family's own simulation has to know."""
START = ("arm_shift", "block_shift")
"""Levels that the family's plan has to know."""

_AWAY, _BESIDE, _COARSE = 4.0, 0.1, 0.9
"""Degrees, metres and a share of the resolution: cameras that are changed by more may look at nothing, or from within
something."""

RULES: Mapping[str, int] = {"clutter": 4, "light_turn": 2}
"""Version of the rule by which what a level stands for is drawn, where it is no longer the first. Raise it with every
change of what is drawn: it is a fact of the protocol, so that numbers before and after are not taken for the same."""


def changed(stress: Stress) -> dict[str, Any]:
    """The levels that are not zero, by field; empty: nothing is changed."""
    zero = Stress()
    return {
        name: getattr(stress, name)
        for names in AXES.values()
        for name in names
        if getattr(stress, name) != getattr(zero, name)
    }


def may_show_nothing(stress: Stress) -> bool:
    """Whether pictures may be of one colour under these levels: all but black or white, or of a camera that looks
    away."""
    dull = not -0.9 < stress.brightness < 2 or not -0.9 < stress.light_strength < 2
    return dull or stress.camera_turn > _AWAY or stress.camera_shift > _BESIDE or stress.camera_blur > _COARSE


def axis_of(field: str) -> str:
    """The axis that a level belongs to."""
    return next(axis for axis, names in AXES.items() if field in names)


def episode_seed(seed: int, episode: str) -> int:
    """Of what is drawn in one episode: 32 bits, from the stress's seed and the episode's name alone."""
    return int.from_bytes(hashlib.sha256(f"stress/{seed}/{episode}".encode()).digest()[:4], "little")

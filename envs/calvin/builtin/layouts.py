"""What tells the four tables apart: where things stand, and the wood they are made of.

Lengths are model units; the table is loaded with a scaling of 0.8, so 1 unit is 0.8 m. Positions and
ranges are facts of the CALVIN scenes, measured from the joints and surfaces of calvin_env 797142c.
"""

from __future__ import annotations

from dataclasses import dataclass

Colour = tuple[int, int, int]


@dataclass(frozen=True, slots=True)
class Wood:
    """The look of a scene's wood: a ramp of colours from dark grain to light ground."""

    ramp: tuple[Colour, ...]
    rings: int
    """Growth rings across one texture."""
    figure: float
    """How far the rings wander, in ring widths."""
    seed: int


@dataclass(frozen=True, slots=True)
class Layout:
    """The table of one scene, in model units; x to the right, y away from the robot's side, z up."""

    button: tuple[float, float]
    """Centre (x, y) of the button."""
    switch: float
    """x of the switch lever's centre."""
    slide: float
    """x of the sliding door's left edge when the joint is at 0; the door moves left from there."""
    slide_range: float
    slide_mass: float
    """x of the door's centre of mass in the door's frame."""
    cabinet: float
    """x of the cabinet's centre."""
    drawer: float
    """x of the drawer's centre."""
    led: float
    """x of the LED bar's centre."""
    light: tuple[float, float]
    """(x, y) of the light bulb's joint; the bulb itself stands at y = 0.2 in every scene."""
    wood: Wood


WALNUT = Wood(((58, 28, 20), (84, 42, 30), (104, 54, 38), (122, 66, 46)), rings=7, figure=1.6, seed=11)
MAPLE = Wood(
    ((186, 140, 92), (206, 164, 114), (220, 182, 134), (230, 196, 150)), rings=6, figure=1.2, seed=23
)
OAK = Wood(((112, 74, 42), (142, 98, 58), (166, 120, 76), (184, 138, 92)), rings=9, figure=1.0, seed=37)
CHESTNUT = Wood(((98, 60, 32), (124, 82, 46), (146, 100, 60), (162, 116, 72)), rings=8, figure=1.4, seed=5)

LAYOUTS = {
    "A": Layout(
        button=(-0.35, -0.15),
        switch=0.375,
        slide=-0.125,
        slide_range=0.35,
        slide_mass=-0.175,
        cabinet=-0.125,
        drawer=0.125,
        led=-0.35,
        light=(0.375, 0.165),
        wood=WALNUT,
    ),
    "B": Layout(
        button=(0.35, -0.15),
        switch=-0.4,
        slide=0.11,
        slide_range=0.38,
        slide_mass=0.175,
        cabinet=0.1,
        drawer=0.225,
        led=0.35,
        light=(-0.4, 0.17),
        wood=MAPLE,
    ),
    "C": Layout(
        button=(-0.15, -0.15),
        switch=-0.4,
        slide=0.075,
        slide_range=0.3,
        slide_mass=0.175,
        cabinet=0.1,
        drawer=0.125,
        led=-0.15,
        light=(-0.4, 0.165),
        wood=OAK,
    ),
    "D": Layout(
        button=(-0.15, -0.15),
        switch=0.375,
        slide=-0.125,
        slide_range=0.35,
        slide_mass=-0.175,
        cabinet=-0.125,
        drawer=0.225,
        led=-0.15,
        light=(0.375, 0.165),
        wood=CHESTNUT,
    ),
}
"""Tables by scene name."""

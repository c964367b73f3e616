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

    name: str
    """Also the name of its texture."""
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
    light_mass: tuple[float, float]
    """Mass (kg) of the bulb, and the height of its centre of mass above the cupboard."""
    body: Wood
    """Wood of everything but the fronts."""
    fronts: Wood
    """Wood of the sliding door and the drawer."""

    @property
    def woods(self) -> tuple[Wood, ...]:
        """The different woods of the table."""
        return tuple(dict.fromkeys((self.body, self.fronts)))


WALNUT = Wood("walnut", ((66, 32, 22), (92, 48, 34), (112, 60, 42), (130, 72, 50)), rings=7, figure=1.6, seed=11)
MAPLE = Wood("maple", ((190, 144, 94), (210, 168, 117), (224, 186, 137), (234, 200, 153)), rings=6, figure=1.2, seed=23)
OAK = Wood("oak", ((118, 74, 38), (148, 100, 56), (172, 122, 74), (190, 140, 90)), rings=9, figure=1.0, seed=37)
CHESTNUT = Wood("chestnut", ((108, 70, 40), (136, 94, 57), (160, 116, 74), (178, 134, 90)), rings=8, figure=1.4, seed=5)

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
        light_mass=(0.173918312, 0.0280266379),
        body=WALNUT,
        fronts=WALNUT,
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
        light_mass=(0.115259641, 0.0299036531),
        body=MAPLE,
        fronts=MAPLE,
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
        light_mass=(0.173918312, 0.0280266379),
        body=OAK,
        fronts=WALNUT,
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
        light_mass=(0.173918312, 0.0280266379),
        body=CHESTNUT,
        fronts=CHESTNUT,
    ),
}
"""Tables by scene name."""

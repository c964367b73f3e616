"""Where the fixtures of the play table are, and the boxes a gripper must not run into.

Positions and sizes are those of the tables' URDFs and collision meshes (calvin_env 797142c),
metres in the world frame, with all joints at 0.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from vla_bench.envs.calvin.state import CalvinState
from vla_bench.policies.expert.boxes import Box, axis_aligned

TABLE_TOP = 0.44
TABLE_X, TABLE_FRONT, TABLE_BACK = 0.44, -0.18, 0.03
"""The table top reaches from -0.44 to 0.44 in x and from its front edge to the foot of the slope."""
SLOPE = math.radians(60)
"""Inclination of the face above the table top, behind which the cabinet lies."""
UPHILL = np.array((0.0, math.cos(SLOPE), math.sin(SLOPE)))
OUTWARD = np.array((0.0, -math.sin(SLOPE), math.cos(SLOPE)))
"""Along the slope, and away from it."""
CABINET_Y = (0.02, 0.16)
"""Front and back of the cabinet's floor, which is as high as the table top."""
DOOR_HALF_WIDTH, DOOR_THICKNESS = 0.141, 0.024
HANDLE_HALF_WIDTH = 0.021
DRAWER_HALF_WIDTH, DRAWER_WALL = 0.202, 0.025
DRAWER_FLOOR, DRAWER_RIM = 0.341, 0.401
DRAWER_FRONT = -0.182
"""Outer face of the closed drawer's front."""
DRAWER_BAR_Y = (-0.261, -0.238)
DRAWER_BAR_Z = (0.340, 0.382)
"""The bar of the closed drawer's handle; there is a gap between it and the front."""
BUTTON_RADIUS, BUTTON_TOP = 0.035, 0.487
SWITCH_HALF_WIDTH = 0.06
SWITCH_BAR = np.array((0.0, 0.020, 0.527))
"""Middle of the bar of the switch when off (y and z; x differs between scenes)."""


@dataclass(frozen=True, slots=True)
class Layout:
    """What differs between the tables of the four scenes."""

    door: float
    """x of the sliding door's handle when the joint is at 0; the door opens towards -x."""
    drawer: float
    """x of the middle of the drawer."""
    button: tuple[float, float]
    switch: float
    cabinet: tuple[float, float]
    """Lowest and highest x inside the cabinet."""


LAYOUTS = {
    "A": Layout(0.04, 0.10, (-0.28, -0.12), 0.30, (-0.36, 0.16)),
    "B": Layout(0.228, 0.18, (0.28, -0.12), -0.32, (-0.18, 0.34)),
    "C": Layout(0.20, 0.10, (-0.12, -0.12), -0.32, (-0.18, 0.34)),
    "D": Layout(0.04, 0.18, (-0.12, -0.12), 0.30, (-0.36, 0.16)),
}


def _on_slope(x: float, half_width: float, low: float, high: float, inner: float, outer: float) -> Box:
    """A box on the slope: ``low`` to ``high`` are heights along its foot-to-top line, ``inner`` to
    ``outer`` distances along its normal."""
    foot = np.array((x, TABLE_BACK, 0.46))
    along = (np.array((low, high)) - 0.46) / UPHILL[2]
    centre = foot + UPHILL * along.mean() + OUTWARD * (inner + outer) / 2
    axes = np.column_stack(((1.0, 0.0, 0.0), UPHILL, OUTWARD))
    return Box(centre, axes, np.array((half_width, (along[1] - along[0]) / 2, (outer - inner) / 2)))


@dataclass(frozen=True, slots=True, eq=False)
class Furniture:
    """The table as it stands at one moment."""

    layout: Layout
    slide: float
    drawer: float
    switch: float
    boxes: tuple[Box, ...]
    """Everything solid, blocks aside."""

    @classmethod
    def of(cls, state: CalvinState) -> Furniture:
        """The table behind ``state``."""
        layout = LAYOUTS[state.scene.name]
        slide, drawer, switch = (state.joint(name) for name in ("slide", "drawer", "switch"))
        fixed = _FIXED.setdefault(state.scene.name, _fixed_boxes(layout))
        return cls(layout, slide, drawer, switch, fixed + _moving_boxes(layout, slide, drawer, switch))

    @property
    def handle_x(self) -> float:
        """x of the sliding door's handle."""
        return self.layout.door - self.slide

    @property
    def door(self) -> tuple[float, float]:
        """Lowest and highest x that the sliding door covers."""
        return self.handle_x - DOOR_HALF_WIDTH, self.handle_x + DOOR_HALF_WIDTH

    @property
    def cabinet_opening(self) -> tuple[float, float]:
        """Lowest and highest x of the wider part of the cabinet that the door leaves open."""
        low, high = self.layout.cabinet
        left, right = (low, max(low, self.door[0])), (min(high, self.door[1]), high)
        return left if left[1] - left[0] >= right[1] - right[0] else right

    @property
    def drawer_space(self) -> tuple[np.ndarray, np.ndarray]:
        """Lowest and highest corner (2,) x y of the drawer's floor in front of the table's edge."""
        half = DRAWER_HALF_WIDTH - DRAWER_WALL
        low = (self.layout.drawer - half, DRAWER_FRONT + DRAWER_WALL - self.drawer)
        return np.array(low), np.array((self.layout.drawer + half, TABLE_FRONT))


_FIXED: dict[str, tuple[Box, ...]] = {}


def _fixed_boxes(layout: Layout) -> tuple[Box, ...]:
    low, high = layout.cabinet
    x, y = layout.button
    edge = TABLE_X
    return (
        axis_aligned((-edge, TABLE_FRONT, 0.40), (edge, CABINET_Y[1], TABLE_TOP)),
        _on_slope((low - edge) / 2, (edge + low) / 2, 0.44, 0.648, -0.15, 0.0),
        _on_slope((high + edge) / 2, (edge - high) / 2, 0.44, 0.648, -0.15, 0.0),
        axis_aligned((low, CABINET_Y[1], TABLE_TOP), (high, 0.2, 0.648)),
        axis_aligned((low, 0.133, 0.628), (high, 0.2, 0.648)),
        axis_aligned((x - BUTTON_RADIUS, y - BUTTON_RADIUS, 0.45), (x + BUTTON_RADIUS, y + BUTTON_RADIUS, BUTTON_TOP)),
    )


def _moving_boxes(layout: Layout, slide: float, drawer: float, switch: float) -> tuple[Box, ...]:
    handle = layout.door - slide
    bar = SWITCH_BAR + UPHILL * switch
    left, right = layout.drawer - DRAWER_HALF_WIDTH, layout.drawer + DRAWER_HALF_WIDTH
    front = DRAWER_FRONT - drawer
    return (
        # The door's outer face is 0.018 in front of the slope's; its handle is a bar along it.
        _on_slope(handle, DOOR_HALF_WIDTH, 0.44, 0.65, 0.021 - DOOR_THICKNESS, 0.021),
        _on_slope(handle, HANDLE_HALF_WIDTH, 0.50, 0.645, 0.021, 0.077),
        # Its lower end stands out level, towards whoever reaches for a block below it.
        axis_aligned((handle - HANDLE_HALF_WIDTH, -0.033, 0.485), (handle + HANDLE_HALF_WIDTH, 0.03, 0.54)),
        axis_aligned(
            (layout.switch - SWITCH_HALF_WIDTH, bar[1] - 0.016, bar[2] - 0.02),
            (layout.switch + SWITCH_HALF_WIDTH, bar[1] + 0.05, bar[2] + 0.02),
        ),
        axis_aligned((left, front, 0.31), (right, 0.05, DRAWER_FLOOR)),
        axis_aligned((left, front, 0.31), (right, front + DRAWER_WALL, DRAWER_RIM)),
        axis_aligned((left, front, 0.31), (left + DRAWER_WALL, 0.05, DRAWER_RIM)),
        axis_aligned((right - DRAWER_WALL, front, 0.31), (right, 0.05, DRAWER_RIM)),
        axis_aligned(
            (layout.drawer - 0.12, DRAWER_BAR_Y[0] - drawer, DRAWER_BAR_Z[0]),
            (layout.drawer + 0.12, DRAWER_BAR_Y[1] - drawer, DRAWER_BAR_Z[1]),
        ),
    )

"""Numbers of an observation by the names a mapping uses for them.

A term is a name with or without a part: ``position``, ``robot_obs[0:7]``, ``euler_xyz[2]``, ``zeros[10]``, ``0.5``. All
are float64. The environment says which vectors its observations have and where in them the tool's pose and the like
are; the pose is in the robot's base frame where the environment knows that, else in the world's.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from vla_bench.envs.errors import suggestion
from vla_bench.envs.simulation import EnvironmentSpec
from vla_bench.policies.errors import PolicyError
from vla_bench.policies.remote.rotations import convert, to_matrix

_TERM = re.compile(r"([a-z_0-9]+?)(?:\[(\d+)(?::(\d+))?\])?")
_BRIDGE_TURN = np.array([[0.0, 0.0, 1.0], [0.0, 1.0, 0.0], [-1.0, 0.0, 0.0]])
"""D of the WidowX in Isaac-GR00T's SimplerEnv environment: its Euler angles are those of R @ D.T."""
OPEN = 0.5
"""A gripper command below this closes (X-VLA's CALVIN client)."""
FORMS = ("euler_xyz", "axis_angle", "quaternion_xyzw", "quaternion_wxyz", "rot6d_rows", "rot6d_columns")
CONSTANTS = ("zeros", "ones")

Arrays = Mapping[str, np.ndarray]
Feature = Callable[[Arrays], np.ndarray]


class Features:
    """The numbers that the observations of an environment have, by name."""

    def __init__(self, environment: EnvironmentSpec) -> None:
        self._family = environment.family
        self.vectors = tuple(environment.vectors)
        """Names of whole state vectors."""
        self._parts = environment.parts
        self._made: dict[str, Feature] = dict(self._numbers())

    def check(self, term: str | float) -> None:
        """PolicyError: there is no such number in the environment's observations."""
        if isinstance(term, int | float) and not isinstance(term, bool):
            return
        found = _TERM.fullmatch(str(term))
        known = [*self._made, *(name for name in self.vectors if name not in self._made), *CONSTANTS]
        if found is None or found[1] not in known:
            raise PolicyError(
                f"a mapping's state has the term {term!r}, which {self._family} does not have."
                f"{suggestion(str(term).partition('[')[0], known)} It has {', '.join(known)}, each with or without a "
                "part, e.g. zeros[10]"
            )

    def vector(self, terms: Sequence[str | float], seen: Arrays) -> np.ndarray:
        """The numbers (n,) float64 of some checked terms, one after the other."""
        return np.concatenate([self._term(term, seen) for term in terms])

    def _term(self, term: str | float, seen: Arrays) -> np.ndarray:
        if isinstance(term, int | float):
            return np.array([float(term)])
        found = _TERM.fullmatch(term)
        assert found is not None  # the mapping was checked
        name, first, last = found.groups()
        if name in CONSTANTS:
            return np.full(int(first or 1), float(name == "ones"))
        made = self._made.get(name)
        whole = np.asarray(made(seen) if made else seen[name], dtype=np.float64)
        if first is None:
            return whole
        return whole[int(first) : int(last) if last else int(first) + 1]

    def _part(self, name: str) -> Feature:
        vector, first, last, _ = self._parts[name]
        return lambda seen: np.asarray(seen[vector][first:last], dtype=np.float64)

    def _numbers(self) -> dict[str, Feature]:
        made = {name: self._part(name) for name in ("width", "joints", "command", "closedness") if name in self._parts}
        if (command := made.get("command")) is not None:
            made["closed"] = lambda seen: (command(seen) < OPEN).astype(np.float64)
        if (closedness := made.get("closedness")) is not None:
            made["openness"] = lambda seen: 1.0 - closedness(seen)
        return {**self._pose(), **made}

    def _pose(self) -> dict[str, Feature]:
        """Position and rotation of the tool, the latter in every form."""
        if "position" not in self._parts:
            return {}
        position = self._part("position")
        if "rotation" not in self._parts:
            return {"position": position}
        numbers, form = self._part("rotation"), self._parts["rotation"].form
        if not {"base_position", "base_rotation"} <= set(self._parts):
            turned = {each: _converted(numbers, form, each) for each in FORMS}
            matrix = _converted(numbers, form, "matrix")
            return {"position": position, **turned, "euler_turned": _bridge_euler(matrix)}
        origin, axes = self._part("base_position"), self._part("base_rotation")
        base_form = self._parts["base_rotation"].form

        def inside(seen: Arrays) -> np.ndarray:
            return to_matrix(axes(seen), base_form).T @ (position(seen) - origin(seen))

        def matrix_inside(seen: Arrays) -> np.ndarray:
            return to_matrix(axes(seen), base_form).T @ to_matrix(numbers(seen), form)

        turned = {each: _converted(matrix_inside, "matrix", each) for each in FORMS}
        return {"position": inside, **turned, "euler_turned": _bridge_euler(matrix_inside)}


def _converted(numbers: Feature, form: str, wanted: str) -> Feature:
    if wanted == "matrix":
        return lambda seen: to_matrix(numbers(seen), form)
    return lambda seen: convert(numbers(seen), form, wanted)


def _bridge_euler(matrix: Feature) -> Feature:
    return lambda seen: convert(matrix(seen) @ _BRIDGE_TURN.T, "matrix", "euler_xyz")

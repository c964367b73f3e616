"""Numbers of an observation by the names a mapping uses for them.

A term is a name with or without a part: ``position``, ``robot_obs[0:7]``, ``euler[2]``, ``zeros[10]``, ``0.5``. All
are float64; the pose is that of the tool, in the frame in which the family's servers want it: CALVIN the world,
SimplerEnv the robot's base.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from vla_bench.envs.errors import suggestion
from vla_bench.policies.errors import PolicyError
from vla_bench.policies.remote.rotations import convert, to_matrix

_TERM = re.compile(r"([a-z_0-9]+?)(?:\[(\d+)(?::(\d+))?\])?")
_BRIDGE_TURN = np.array([[0.0, 0.0, 1.0], [0.0, 1.0, 0.0], [-1.0, 0.0, 0.0]])
"""D of the WidowX in Isaac-GR00T's SimplerEnv environment: its Euler angles are those of R @ D.T."""

Arrays = Mapping[str, np.ndarray]


def _calvin(form: str) -> Callable[[Arrays], np.ndarray]:
    return lambda seen: convert(np.asarray(seen["robot_obs"][3:6], dtype=np.float64), "euler_xyz", form)


def _base(seen: Arrays) -> tuple[np.ndarray, np.ndarray]:
    """Position (3,) and rotation matrix of the tool in the robot's base frame."""
    base, tool = (np.asarray(seen[name], dtype=np.float64) for name in ("base_pose", "tcp_pose"))
    turned = to_matrix(base[3:], "quaternion_wxyz").T
    return turned @ (tool[:3] - base[:3]), turned @ to_matrix(tool[3:], "quaternion_wxyz")


def _simpler(form: str) -> Callable[[Arrays], np.ndarray]:
    return lambda seen: convert(_base(seen)[1], "matrix", form)


FORMS = ("euler_xyz", "axis_angle", "quaternion_xyzw", "quaternion_wxyz", "rot6d_rows", "rot6d_columns")

FEATURES: Mapping[str, Mapping[str, Callable[[Arrays], np.ndarray]]] = {
    "calvin": {
        "position": lambda seen: seen["robot_obs"][0:3],
        **{form: _calvin(form) for form in FORMS},
        "width": lambda seen: seen["robot_obs"][6:7],
        "joints": lambda seen: seen["robot_obs"][7:14],
        "command": lambda seen: seen["robot_obs"][14:15],
        "closed": lambda seen: (np.asarray(seen["robot_obs"][14:15]) < 0.5).astype(np.float64),
    },
    "simpler": {
        "position": lambda seen: _base(seen)[0],
        **{form: _simpler(form) for form in FORMS},
        "euler_turned": lambda seen: convert(_base(seen)[1] @ _BRIDGE_TURN.T, "matrix", "euler_xyz"),
        "closedness": lambda seen: seen["gripper_closedness"],
        "openness": lambda seen: 1.0 - np.asarray(seen["gripper_closedness"], dtype=np.float64),
    },
    "fake": {
        "position": lambda seen: seen["state"][0:3],
        "command": lambda seen: seen["state"][3:4],
    },
}
"""Numbers that are made of an observation's own, by family. The observation's arrays have their names too."""

ARRAYS: Mapping[str, tuple[str, ...]] = {
    "calvin": ("robot_obs", "scene_obs"),
    "simpler": ("robot_obs", "tcp_pose", "base_pose", "gripper_closedness"),
    "fake": ("state",),
}


def check_term(term: str | float, family: str) -> None:
    """PolicyError: there is no such number in the family's observations."""
    if isinstance(term, int | float) and not isinstance(term, bool):
        return
    found = _TERM.fullmatch(str(term))
    known = [*FEATURES.get(family, {}), *ARRAYS.get(family, ()), "zeros", "ones"]
    if found is None or found[1] not in known:
        raise PolicyError(
            f"a mapping's state has the term {term!r}, which {family} does not have."
            f"{suggestion(str(term).partition('[')[0], known)} It has {', '.join(known)}, each with or without a part, "
            "e.g. position[0:2]"
        )


def vector(terms: Sequence[str | float], seen: Arrays, family: str) -> np.ndarray:
    """The numbers (n,) float64 of some terms, one after the other."""
    return np.concatenate([_numbers(term, seen, family) for term in terms])


def _numbers(term: str | float, seen: Arrays, family: str) -> np.ndarray:
    if isinstance(term, int | float):
        return np.array([float(term)])
    found = _TERM.fullmatch(term)
    assert found is not None  # the mapping was checked
    name, first, last = found.groups()
    if name in ("zeros", "ones"):
        return np.full(int(first or 1), float(name == "ones"))
    made = FEATURES[family].get(name)
    whole = np.asarray(made(seen) if made else seen[name], dtype=np.float64)
    if first is None:
        return whole
    return whole[int(first) : int(last) if last else int(first) + 1]

"""Information for the oracle, frozen at one moment."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from vla_bench.envs.calvin.oracle import BLOCKS, ROBOT, Contact, Information


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Everything that :class:`vla_bench.envs.calvin.oracle.Information` answers, as plain data."""

    bodies: Mapping[str, int]
    positions: Mapping[int, tuple[float, ...]]
    quaternions: Mapping[int, tuple[float, ...]]
    velocities: Mapping[int, tuple[float, ...]]
    touched: Mapping[int, frozenset[Contact]]
    joints: Mapping[str, float]
    lights: Mapping[str, int]

    @classmethod
    def take(cls, source: Information, blocks: tuple[str, ...]) -> Snapshot:
        """Freezes ``source``, whose blocks have these names."""
        return cls(
            bodies={block: source.body(block) for block in blocks},
            positions={body: tuple(source.position(body)) for body in BLOCKS},
            quaternions={body: tuple(source.quaternion(body)) for body in BLOCKS},
            velocities={body: tuple(source.velocity(body)) for body in BLOCKS},
            touched={body: source.contacts(body) for body in (ROBOT, *BLOCKS)},
            joints={name: source.joint(name) for name in ("slide", "drawer")},
            lights={name: source.light(name) for name in ("lightbulb", "led")},
        )

    def body(self, block: str) -> int:
        """Body id of a block by name."""
        return self.bodies[block]

    def position(self, body: int) -> tuple[float, ...]:
        """World position (3,), metres."""
        return self.positions[body]

    def quaternion(self, body: int) -> tuple[float, ...]:
        """World orientation (4,), x y z w."""
        return self.quaternions[body]

    def velocity(self, body: int) -> tuple[float, ...]:
        """Linear and angular velocity, (6,), m/s and rad/s."""
        return self.velocities[body]

    def contacts(self, body: int) -> frozenset[Contact]:
        """What the body touched."""
        return self.touched[body]

    def joint(self, name: str) -> float:
        """Position of ``slide`` or ``drawer``, metres."""
        return self.joints[name]

    def light(self, name: str) -> int:
        """1 when ``lightbulb`` or ``led`` was on."""
        return self.lights[name]

"""Who races in :mod:`tools.calvin_step`: ours, a bare Bullet loop, the original.

Each does the same control steps from the same state and tells what they cost and where they ended.
Run as a script it serves rounds of the original, in an interpreter that has calvin_env.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
TASK = "lift_red_block_table"


def actions(steps: int) -> np.ndarray:
    """(steps, 7) float64: smooth motion with the gripper closing now and then; always the same."""
    generator = np.random.default_rng(0)
    motion = np.clip(np.cumsum(generator.normal(size=(steps, 7)), axis=0) / 5, -1, 1) / 2
    motion[:, 6] = np.where(np.arange(steps) // 60 % 2, -1, 1)
    return motion


def start() -> Any:
    """The state of the first official sequence, in scene D."""
    from vla_bench.envs.calvin.initial_states import initial_state
    from vla_bench.envs.calvin.sequences import official_sequences

    return initial_state(official_sequences()[0].condition)


@dataclass(frozen=True, slots=True)
class Round:
    """One measured round."""

    seconds: float
    """CPU seconds per control step."""
    state: str
    """Digest of robot_obs and scene_obs at its end."""


def measured(step: Callable[[], None], steps: int, state: Callable[[], tuple[np.ndarray, np.ndarray]]) -> Round:
    """The CPU time of ``step``, which does ``steps`` control steps."""
    before = time.process_time()
    step()
    seconds = (time.process_time() - before) / steps
    digest = hashlib.sha256(b"".join(vector.tobytes() for vector in state())).hexdigest()[:16]
    return Round(seconds, digest)


class Ours:
    """Our environment."""

    def __init__(self, assets: str, cameras: Sequence[str] = (), renderer: str = "auto", chunk: int = 1) -> None:
        from vla_bench.envs.calvin.bundle import find_bundle
        from vla_bench.envs.calvin.simulation import CalvinSimulation
        from vla_bench.envs.observation import Sensors

        self.simulation = CalvinSimulation(find_bundle(assets), Sensors.of(*cameras), renderer=renderer)
        self._chunk = chunk

    def round(self, sequence: np.ndarray) -> Round:
        """A look before every chunk."""
        simulation = self.simulation
        simulation.reset(start())
        simulation.begin(TASK)

        def run() -> None:
            for first in range(0, len(sequence), self._chunk):
                simulation.observe()
                simulation.advance(sequence[first : first + self._chunk])

        world = simulation.world
        return measured(run, len(sequence), lambda: (world.robot.observation(), world.scene_obs()))


class BareLoop:
    """Nothing but the Bullet calls of a step, an observation and a verdict, written out."""

    def __init__(self, assets: str) -> None:
        self._ours = Ours(assets)

    def round(self, sequence: np.ndarray) -> Round:
        """The same state is made first, then our code is left aside."""
        import pybullet as p

        from vla_bench.envs.calvin import robot as arm

        simulation = self._ours.simulation
        simulation.reset(start())
        world, client = simulation.world, simulation._client
        body, table, blocks = world.robot.body, world.table.body, world.blocks
        joints = (world.table.slide, world.table.drawer, world.table.button, world.table.switch)
        red = world.body("block_red")
        position, euler = world.robot.target_position, world.robot.target_euler
        limits = ([-7] * 9, [7] * 9, [7] * 9, [*arm.REST_JOINTS, arm.FINGER_OPEN, arm.FINGER_OPEN])

        def run() -> None:
            for action in sequence:
                p.getLinkState(body, arm.TCP_LINK, physicsClientId=client)
                p.getJointStates(body, (*arm.FINGER_JOINTS, *arm.ARM_JOINTS), physicsClientId=client)
                p.getJointStates(table, joints, physicsClientId=client)
                for block in blocks:
                    pose = p.getBasePositionAndOrientation(block, physicsClientId=client)
                    p.getEulerFromQuaternion(pose[1])
                position[:] = position + action[:3] * arm.POSITION_UNIT
                euler[:] = euler + action[3:6] * arm.ROTATION_UNIT
                quaternion = p.getQuaternionFromEuler(euler)
                solution = p.calculateInverseKinematics(
                    body, arm.TCP_LINK, position, quaternion, *limits, physicsClientId=client
                )
                targets = np.clip(solution[:7], arm.LOWER_LIMITS, arm.UPPER_LIMITS)
                for joint in arm.ARM_JOINTS:
                    p.setJointMotorControl2(
                        body,
                        joint,
                        p.POSITION_CONTROL,
                        targetPosition=targets[joint],
                        force=arm.ARM_FORCE,
                        maxVelocity=arm.ARM_SPEED,
                        physicsClientId=client,
                    )
                opening = action[6] == 1
                for joint in arm.FINGER_JOINTS:
                    p.setJointMotorControl2(
                        body,
                        joint,
                        p.POSITION_CONTROL,
                        targetPosition=arm.FINGER_OPEN if opening else 0.0,
                        force=arm.OPENING_FORCE if opening else arm.GRIPPER_FORCE,
                        maxVelocity=arm.GRIPPER_SPEED,
                        physicsClientId=client,
                    )
                for _ in range(8):
                    p.stepSimulation(physicsClientId=client)
                p.getJointState(table, world.table.button, physicsClientId=client)
                p.getJointState(table, world.table.switch, physicsClientId=client)
                p.getBasePositionAndOrientation(red, physicsClientId=client)
            world.robot.gripper_command = sequence[-1, 6]

        return measured(run, len(sequence), lambda: (world.robot.observation(), world.scene_obs()))


class Original:
    """The installed calvin_env, used as its own evaluation uses it."""

    def __init__(self, assets: str, cameras: Sequence[str]) -> None:
        from vla_bench.envs.calvin.bundle import find_bundle
        from vla_bench.envs.calvin.original import OriginalSimulation
        from vla_bench.envs.observation import Sensors

        self._simulation = OriginalSimulation(find_bundle(assets), Sensors.of(*cameras), renderer="tiny")

    def round(self, sequence: np.ndarray) -> Round:
        """Its ``step`` renders its cameras and collects its information every time."""
        simulation = self._simulation
        simulation.reset(start())
        env, oracle = simulation.original, simulation.original_oracle
        env.cameras = simulation.original_cameras
        begun = env.get_info()

        def run() -> None:
            for action in sequence:
                info = env.step(action)[3]
                oracle.get_task_info_for_set(begun, info, {TASK})

        result = measured(run, len(sequence), lambda: tuple(env.get_state_obs().values()))
        env.cameras = []
        return result

    def close(self) -> None:
        """Frees the process's first Bullet client for another one."""
        self._simulation.close()


def serve_original(assets: str) -> None:
    """Rounds on request, in an interpreter that has calvin_env: a JSON line in, one out."""
    for line in sys.stdin:
        asked = json.loads(line)
        contender = Original(assets, asked["cameras"])
        result = contender.round(actions(asked["steps"]))
        contender.close()
        print(f"\n@{json.dumps([result.seconds, result.state])}", flush=True)


class OriginalElsewhere:
    """The original in a process of its own."""

    def __init__(self, python: str, assets: str, cameras: Sequence[str] = ()) -> None:
        self._cameras = list(cameras)
        path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
        self._process = subprocess.Popen(
            [python, "-m", "tools.calvin_contenders", assets],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": path},
        )

    def round(self, sequence: np.ndarray) -> Round:
        """One round there."""
        asked = json.dumps({"cameras": self._cameras, "steps": len(sequence)})
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.write(f"{asked}\n")
            self._process.stdin.flush()
        for line in self._process.stdout:
            if line.startswith("@"):
                return Round(*json.loads(line[1:]))
        raise SystemExit("error: the original environment ended; its message stands above")

    def close(self) -> None:
        """Ends the process."""
        self._process.stdin.close()
        self._process.wait()


if __name__ == "__main__":
    serve_original(sys.argv[1])

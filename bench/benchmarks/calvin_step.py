"""What a control step of CALVIN costs: ours, a bare loop of the same Bullet calls, and the original.

CPU time of one process, the same actions from the same state for everyone, in alternating rounds;
the least disturbed round counts. Every contender must end in the same state to the last bit.

  python -m bench.benchmarks.calvin_step
  python -m bench.benchmarks.calvin_step --original-python ~/calvin/bin/python   (has calvin_env)
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
TASK = "lift_red_block_table"
CAMERAS = ("static", "gripper")
CHUNK = 10
"""Steps between two looks of a policy that predicts several actions at once."""
LOOKING_STEPS = 40
"""Steps of a round in which frames are rendered; a frame may cost fifty times a step."""


def actions(steps: int) -> np.ndarray:
    """(steps, 7) float64: smooth motion with the gripper closing now and then; always the same."""
    generator = np.random.default_rng(0)
    motion = np.clip(np.cumsum(generator.normal(size=(steps, 7)), axis=0) / 5, -1, 1) / 2
    motion[:, 6] = np.where(np.arange(steps) // 60 % 2, -1, 1)
    return motion


def start() -> Any:
    """The state of the first official sequence, in scene D."""
    from envs.calvin.initial_states import initial_state
    from envs.calvin.sequences import official_sequences

    return initial_state(official_sequences()[0].condition)


@dataclass(frozen=True, slots=True)
class Round:
    """One measured round."""

    seconds: float
    """CPU seconds per control step."""
    state: str
    """Digest of robot_obs and scene_obs at its end."""


def measured(
    step: Callable[[], None], steps: int, state: Callable[[], tuple[np.ndarray, np.ndarray]]
) -> Round:
    """The CPU time of ``step``, which does ``steps`` control steps."""
    before = time.process_time()
    step()
    seconds = (time.process_time() - before) / steps
    digest = hashlib.sha256(b"".join(vector.tobytes() for vector in state())).hexdigest()[:16]
    return Round(seconds, digest)


class Ours:
    """Our environment."""

    def __init__(
        self, assets: str, cameras: Sequence[str] = (), renderer: str = "auto", chunk: int = 1
    ) -> None:
        from envs.calvin.bundle import find_bundle
        from envs.calvin.simulation import CalvinSimulation
        from envs.observation import Sensors

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

        from envs.calvin import robot as arm

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
        from envs.calvin.bundle import find_bundle
        from envs.calvin.reference import ReferenceSimulation
        from envs.observation import Sensors

        self._simulation = ReferenceSimulation(find_bundle(assets), Sensors.of(*cameras), renderer="tiny")

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
            [python, "-m", "bench.benchmarks.calvin_step", "--serve", "--assets", assets],
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


def race(contenders: dict[str, Any], sequence: np.ndarray, rounds: int) -> dict[str, float]:
    """The best CPU seconds per step of each, in alternating rounds; all must end in one state."""
    best: dict[str, float] = {}
    states = set()
    for _ in range(rounds):
        for name, contender in contenders.items():
            result = contender.round(sequence)
            states.add(result.state)
            best[name] = min(result.seconds, best.get(name, float("inf")))
    if len(states) != 1:
        raise SystemExit(f"error: the contenders end in {len(states)} different states")
    return best


def table(title: str, best: dict[str, float], against: Sequence[str]) -> None:
    """Prints milliseconds and how many times as fast as each of ``against``."""
    known = [name for name in against if name in best]
    print(f"\n{title}")
    print(f"  {'':<34}{'CPU ms/step':>12}" + "".join(f"{'x ' + name:>14}" for name in known))
    for name, seconds in best.items():
        ratios = "".join(f"{best[other] / seconds:14.2f}" for other in known)
        print(f"  {name:<34}{seconds * 1e3:12.3f}{ratios}")


def reset_cost(contender: Ours) -> float:
    """Best CPU seconds of a reset, of seven."""
    seconds = []
    for _ in range(7):
        before = time.process_time()
        contender.simulation.reset(start())
        seconds.append(time.process_time() - before)
    return min(seconds)


def resident() -> float:
    """Resident memory of this process, MB."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def growth(contender: Ours, resets: int) -> float:
    """MB by which memory grows over that many resets and a few steps after each."""
    moves = actions(2)
    for number in range(resets + 20):
        if number == 20:  # caches are full by now
            before = resident()
        contender.simulation.reset(start())
        contender.simulation.begin(TASK)
        contender.simulation.advance(moves)
        contender.simulation.observe()
    return resident() - before


FIRST_STEP = """
from envs.calvin.bundle import find_bundle
from envs.calvin.simulation import CalvinSimulation
from bench.benchmarks.calvin_step import TASK, actions, resident, start
simulation = CalvinSimulation(find_bundle("{assets}"))
simulation.reset(start())
simulation.begin(TASK)
simulation.advance(actions(1))
print(resident())
"""


def first_step(assets: str) -> tuple[float, float]:
    """Wall seconds from nothing to the first step of a new process, and its memory in MB."""
    before = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-c", FIRST_STEP.format(assets=assets)],
        capture_output=True,
        text=True,
        check=True,
        cwd=ROOT,
    )
    return time.perf_counter() - before, float(done.stdout.split()[-1])


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--assets", choices=("official", "builtin"), default="official")
    parser.add_argument("--steps", type=int, default=360, help="control steps of a round")
    parser.add_argument("--rounds", type=int, default=5, help="rounds of each contender")
    parser.add_argument("--resets", type=int, default=200, help="resets over which memory is watched")
    parser.add_argument("--renderers", nargs="*", help="default: all that work here; none: no rendering")
    parser.add_argument("--original-python", metavar="PYTHON", help="interpreter that has calvin_env")
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.serve:
        serve_original(arguments.assets)
        return
    python = arguments.original_python or (sys.executable if find_spec("calvin_env") else "")
    if not python:
        print("calvin_env is not installed here: no comparison with the original (--original-python)")
    states(arguments, python)
    looks(arguments, python)
    bounds(arguments)


def states(arguments: argparse.Namespace, python: str) -> None:
    """Physics, state vectors and the verdict on one task; no camera."""
    assets = arguments.assets
    contenders: dict[str, Any] = {
        "bare loop": BareLoop(assets),
        "ours": Ours(assets),
        f"ours, a look every {CHUNK}th step": Ours(assets, chunk=CHUNK),
    }
    if python:
        contenders["original"] = OriginalElsewhere(python, assets)
    best = race(contenders, actions(arguments.steps), arguments.rounds)
    table("physics, state vectors and one task's verdict; no camera", best, ("bare loop", "original"))
    if python:
        contenders["original"].close()


def looks(arguments: argparse.Namespace, python: str) -> None:
    """With both cameras, at every step and at every tenth."""
    contenders: dict[str, Any] = {}
    for renderer in usable_renderers() if arguments.renderers is None else arguments.renderers:
        contenders[f"{renderer}, a look at every step"] = Ours(arguments.assets, CAMERAS, renderer)
        name = f"{renderer}, a look every {CHUNK}th step"
        contenders[name] = Ours(arguments.assets, CAMERAS, renderer, CHUNK)
    if not contenders:
        return
    if python:
        contenders["original"] = OriginalElsewhere(python, arguments.assets, CAMERAS)
    best = race(contenders, actions(LOOKING_STEPS), max(2, arguments.rounds // 2))
    table("with both cameras (the original: TinyRenderer, at every step)", best, ("original",))
    if python:
        contenders["original"].close()


def usable_renderers() -> list[str]:
    """The renderers that work on this machine."""
    from envs.calvin.renderers import RENDERERS, resolve_renderer
    from envs.errors import RendererError

    usable = []
    for name in RENDERERS:
        try:
            usable.append(resolve_renderer(name))
        except RendererError as error:
            print(f"renderer {name} left out: {error}")
    return usable


def bounds(arguments: argparse.Namespace) -> None:
    """Resets, memory and start-up."""
    seconds, megabytes = first_step(arguments.assets)
    ours = Ours(arguments.assets)
    print("\nno camera")
    print(f"  reset, fresh semantics          {reset_cost(ours) * 1e3:8.1f} CPU ms")
    print(f"  new process to first step       {seconds:8.2f} s")
    print(f"  memory of that process          {megabytes:8.0f} MB")
    if arguments.resets:
        per_thousand = growth(ours, arguments.resets) * 1000 / arguments.resets
        print(f"  growth over 1000 resets         {per_thousand:8.1f} MB (from {arguments.resets})")


if __name__ == "__main__":
    main()

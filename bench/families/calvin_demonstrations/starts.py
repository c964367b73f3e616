"""Fresh start states of single tasks: the table set for the task, the arm where chains leave it.

A state is a function of the seed it is drawn from. The suite's own seeds (``tools/make_task_suite.py``) and
those of recordings never meet: each kind begins its seed sequence with a number of its own
(:data:`RECORDING`, :data:`FIXED_SUITE`, :data:`VARIED_SUITE`).
"""

from __future__ import annotations

from typing import Literal

import numpy as np

from vla_bench.bench.errors import UserError
from vla_bench.bench.families.calvin_demonstrations.feasible import feasible_tasks, kind_of
from vla_bench.bench.families.calvin_demonstrations.table_setting import Redraw, TableSetting, subject_of
from vla_bench.envs.calvin.initial_states import ROBOT_OBS
from vla_bench.envs.calvin.oracle import BLOCKS, DRAWER_LINK, PLANK_LINK, ROBOT, TABLE
from vla_bench.envs.calvin.robot import POSITION_UNIT, ROTATION_UNIT
from vla_bench.envs.calvin.scenes import Block, Scene, scene_named
from vla_bench.envs.calvin.simulation import CalvinSimulation
from vla_bench.envs.calvin.task_suite import HELD_TASKS
from vla_bench.envs.observation import Observation
from vla_bench.envs.simulation import EpisodeStart, environment_spec
from vla_bench.policies.base import SubtaskContext
from vla_bench.policies.expert import ExpertPolicy

Arm = Literal["rest", "moved", "after_task", "varied"]
"""Where the arm starts: at rest as at the beginning of every CALVIN sequence, moved at random, where another
task has left it, or one of the latter two by chance."""

FIXED_SUITE = 2026
VARIED_SUITE = 2027
RECORDING = 1
"""First words of the seed sequences."""

MOST_DRAWS = 200
MOVED_STEPS = (5, 18)
"""Control steps of a random motion, from and below."""
MOVED_LOW, MOVED_HIGH = np.array((-0.20, -0.32, 0.53)), np.array((0.32, -0.08, 0.70))
"""Where a random motion heads for, metres: the air above the table."""
MOVED_TURN = 0.5
"""How far it turns the tool about the vertical, at most, radians."""
UP_STEPS = 5
"""Control steps straight up, out of what another task has left the hand in."""
TASK_STEPS = 200
SETTLE_STEPS = 4
OPENING, CLOSING = np.array((0.0,) * 6 + (1.0,)), np.array((0.0,) * 6 + (-1.0,))
SQUEEZE = 0.0006
"""How much nearer to each other than recorded the fingers are set around a held block, metres."""
LEAVES_HAND_EMPTY = ("move_slider", "drawer", "turn_lightbulb", "turn_led", "push_block", "rotate_block")
"""Kinds of tasks that may come before another."""


def recorded_start(simulation: CalvinSimulation, scene: str, task: str, seed: int, arm: Arm = "varied") -> EpisodeStart:
    """The start of a demonstration; the same for the same arguments, whatever the simulation has done before.

    Args:
        simulation: of relative actions.
        scene: A, B, C or D.
        task: one of the 34.
        seed: non-negative.
        arm: where the arm starts.

    Raises:
        UserError: no state was found in :data:`MOST_DRAWS` draws.
    """
    generator = np.random.default_rng([RECORDING, seed, ord(scene), *task.encode()])
    for _ in range(MOST_DRAWS):
        try:
            start = draw(simulation, scene_named(scene), task, generator, arm)
            simulation.reset(start)
            check_contacts(simulation, task)
        except Redraw:
            continue
        return start
    raise UserError(f"no start state of {task} in scene {scene} was found in {MOST_DRAWS} draws")


def draw(
    simulation: CalvinSimulation, scene: Scene, task: str, generator: np.random.Generator, arm: Arm = "rest"
) -> EpisodeStart:
    """One candidate state; Redraw when the blocks did not fit or what was done first failed."""
    setting = TableSetting(scene, generator, varied=arm != "rest")
    subject = subject_of(scene, task, generator)
    setting.set_table(task)
    setting.place_blocks(task, subject)
    start = rounded(scene, ROBOT_OBS, setting.scene_obs())
    if subject is not None and task in HELD_TASKS:
        return _take(simulation, start, subject, generator if arm != "rest" else None)
    if arm == "varied":
        arm = ("moved", "after_task")[generator.integers(2)]
    return start if arm == "rest" else _vary(simulation, start, task, generator, after_task=arm == "after_task")


def rounded(scene: Scene, robot_obs: object, scene_obs: object) -> EpisodeStart:
    """A start of these vectors (15,) and (24,), to a millionth."""
    vectors = {"robot_obs": robot_obs, "scene_obs": scene_obs}
    return EpisodeStart(
        scene.name, {name: tuple(np.round(np.array(v, float), 6).tolist()) for name, v in vectors.items()}
    )


# Where the arm is ---------------------------------------------------------------------------------


def _vary(
    simulation: CalvinSimulation, start: EpisodeStart, task: str, generator: np.random.Generator, *, after_task: bool
) -> EpisodeStart:
    simulation.reset(start)
    simulation.begin(task)
    if after_task:
        others = [
            other
            for other in sorted(feasible_tasks(simulation.privileged()))
            if kind_of(other) in LEAVES_HAND_EMPTY and kind_of(other) != kind_of(task)
        ]
        kinds = sorted({kind_of(other) for other in others})
        kind = kinds[generator.integers(len(kinds))]
        chosen = [other for other in others if kind_of(other) == kind]
        solve(simulation, chosen[generator.integers(len(chosen))], TASK_STEPS)
        simulation.begin(task)
        hand = CLOSING if simulation.privileged().robot_obs[14] < 0 else OPENING
        up = hand + np.array((0.0, -0.3, 1.0, 0.0, 0.0, 0.0, 0.0))
        simulation.advance(np.tile(up, (UP_STEPS, 1)))
    else:
        move_at_random(simulation, generator, OPENING)
    simulation.advance(np.tile(OPENING, (SETTLE_STEPS, 1)))
    state = simulation.privileged()
    if task not in feasible_tasks(state):
        raise Redraw
    return rounded(state.scene, state.robot_obs, state.scene_obs)


def move_at_random(
    simulation: CalvinSimulation, generator: np.random.Generator, hand: np.ndarray, turn: float = MOVED_TURN
) -> None:
    """Heads for a random place above the table for some steps; ``hand`` (7,) keeps the gripper as it is."""
    goal = generator.uniform(MOVED_LOW, MOVED_HIGH)
    yaw = generator.uniform(-turn, turn)
    steps = int(generator.integers(*MOVED_STEPS))
    shift = (goal - simulation.privileged().target_position) / POSITION_UNIT
    action = hand.copy()
    action[:3] = shift / max(1.0, float(np.abs(shift).max()))
    action[5] = np.clip(yaw / steps / ROTATION_UNIT, -1, 1)
    arrives = max(1, int(np.ceil(np.abs(shift).max())))
    simulation.advance(np.tile(action, (min(steps, arrives), 1)))


def solve(simulation: CalvinSimulation, task: str, steps: int) -> None:
    """Lets the expert solve a task from where things are; Redraw if it does not within so many steps."""
    expert = ExpertPolicy(environment_spec("calvin"))
    expert.reset(0, "", SubtaskContext("start", 0, 0))
    simulation.begin(task)
    for _ in range(steps):
        expert.see(0, simulation.privileged())
        (action,) = expert.act([0], [Observation({})])
        if simulation.advance(action).success:
            return
    raise Redraw


def _take(
    simulation: CalvinSimulation, start: EpisodeStart, subject: Block, generator: np.random.Generator | None
) -> EpisodeStart:
    """The state after the expert lifted the block a little higher than the lifting task asks; with a
    generator, the arm then moves at random."""
    simulation.reset(start)
    solve(simulation, f"lift_{subject.name.removeprefix('block_')}_block_table", TASK_STEPS)
    simulation.advance(np.tile(CLOSING, (10, 1)))
    if generator is not None:
        simulation.begin("stack_block")
        move_at_random(simulation, generator, CLOSING)
        simulation.advance(np.tile(CLOSING, (SETTLE_STEPS, 1)))
    return _centred(simulation, subject)


def _centred(simulation: CalvinSimulation, subject: Block) -> EpisodeStart:
    """The simulation's state with the held block midway between the fingers.

    A reset sets both fingers to half of the gripper's width, wherever they were within the hand.
    """
    state, world = simulation.privileged(), simulation.world
    bullet = simulation._bullet
    left, right = (
        np.array(bullet.getLinkState(world.robot.body, link, physicsClientId=simulation._client)[0])
        for link in (10, 12)
    )
    opening = (left - right) / np.linalg.norm(left - right)
    scene_obs = state.scene_obs.copy()
    first = 6 + 6 * [block.name for block in state.scene.blocks].index(subject.name)
    middle = (left + right) / 2
    scene_obs[first : first + 3] += ((middle - scene_obs[first : first + 3]) @ opening) * opening
    robot_obs = state.robot_obs.copy()
    robot_obs[6] -= 2 * SQUEEZE
    return rounded(state.scene, robot_obs, scene_obs)


# Proof --------------------------------------------------------------------------------------------


def check_contacts(simulation: CalvinSimulation, task: str) -> None:
    """Redraw unless the state just reset to is what the task starts from, and nothing else touches."""
    world = simulation.world
    touching = {block.name: world.contacts(world.body(block.name)) for block in world.scene.blocks}
    bodies = {name: {body for body, _ in contacts} for name, contacts in touching.items()}
    held = [name for name, found in bodies.items() if found == {ROBOT}]
    on_blocks = [name for name, found in bodies.items() if found and found <= BLOCKS]
    robot = {body for body, _ in world.contacts(ROBOT)}
    lying = [name for name, found in bodies.items() if TABLE in found and ROBOT not in found]
    if task in HELD_TASKS:
        good = len(held) == 1 and robot == {world.body(held[0])} and len(lying) == 2
    elif task == "unstack_block":
        good = len(on_blocks) == 1 and len(lying) == 2 and not robot
    else:
        good = len(lying) == 3 and not robot and not any(found & BLOCKS for found in bodies.values())
    if task.startswith("lift_"):
        link = {"table": -1, "slider": PLANK_LINK, "drawer": DRAWER_LINK}[task.rsplit("_", 1)[1]]
        subject = "block_" + task.split("_")[1]
        good = good and touching[subject] == {(TABLE, link)}
    if not good:
        raise Redraw

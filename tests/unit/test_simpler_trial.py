"""A trial's rules on a scripted backend: the last step counts, the apple task changes its instruction."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest

from vla_bench.bench.episode.rollout import run_episode
from vla_bench.bench.protocol import EpisodeSpec, record_from_plain, to_plain
from vla_bench.envs.observation import Camera, Sensors
from vla_bench.envs.simpler.put_on import RULES, PutOnJudge, PutOnRule, turned_half_extents
from vla_bench.envs.simpler.robots import GOOGLE_ROBOT, WIDOWX
from vla_bench.envs.simpler.rotations import euler_to_axis_angle
from vla_bench.envs.simpler.state import SimplerState
from vla_bench.envs.simpler.tasks import APPLE_TASK, FORCED_ADVANCE, TASKS, Task
from vla_bench.envs.simpler.trial import SimplerSimulation, Verdict
from vla_bench.envs.simulation import EpisodeStart
from vla_bench.policies.base import PolicySpec


class Scripted:
    """A backend that succeeds at the steps it is told, and has a drawer that opens at one of them."""

    def __init__(self, succeeds: set[int] = frozenset(), opens: int = 10**6) -> None:  # type: ignore[assignment]
        self.succeeds, self.opens = succeeds, opens
        self.actions: list[np.ndarray] = []
        self.second = False
        self.looked = 0
        self.advanced_at: list[int] = []

    def set_out(self, task: Task, variant: Any, start: EpisodeStart) -> None:
        self.task, self.actions, self.second = task, [], False

    def step(self, action: np.ndarray) -> Verdict:
        self.second = self.second or len(self.actions) >= FORCED_ADVANCE
        self.actions.append(np.array(action))
        done = len(self.actions)
        flags = {"grasped": float(done > 2)}
        if self.task == APPLE_TASK:
            is_open = done >= self.opens
            flags = {"qpos": 0.2 if is_open else 0.0, "is_drawer_open": float(is_open), "has_contact": 0.0}
        return Verdict(done in self.succeeds, flags, self.second or self.task != APPLE_TASK)

    def next_subtask(self) -> None:
        self.second = True
        self.advanced_at.append(len(self.actions))

    def observe(self, sensors: Sensors) -> Mapping[str, np.ndarray]:
        self.looked += bool(sensors.cameras)
        return {"robot_obs": np.zeros(8, dtype=np.float32)}

    def state(self, task: Task, steps: int) -> SimplerState:
        pose = np.zeros(7, dtype=np.float32)
        return SimplerState(task.name, steps, pose, pose, pose, pose, {}, {}, {})

    def describe(self) -> Mapping[str, object]:
        return {}

    def close(self) -> None:
        pass


class Noting:
    """Holds still and notes its instructions."""

    def __init__(self, robot=GOOGLE_ROBOT, execute: int = 1) -> None:
        self.spec = PolicySpec("noting", robot.actions[0], chunk=execute, execute=execute)
        self.instructions: list[str] = []
        self.asked: list[str] = []

    def reset(self, slot: int, instruction: str, context: Any) -> None:
        self.instructions.append(instruction)

    def act(self, slots: Any, observations: Any) -> list[np.ndarray]:
        self.asked.append(self.instructions[-1])
        return [np.zeros((self.spec.chunk, 7))]

    def close(self) -> None:
        pass


def run(task: Task, backend: Scripted, *, execute: int = 1, advance: str = "official"):
    state = {"robot": (0.0, 0.0, 0.0)}
    variant = "photo" if task.robot is WIDOWX else "arm_default"
    episode = EpisodeSpec(
        *(0, "trial", EpisodeStart(variant, state, task.name), task.subtasks, task.instructions),
        step_limit=task.step_limit,
        judged="last",
    )
    policy = Noting(task.robot, execute)
    simulation = SimplerSimulation(backend, Sensors(), task.robot.actions[0], advance)  # type: ignore[arg-type]
    return run_episode(simulation, policy, episode, seed=0), policy


SPOON, CAN = TASKS["widowx_spoon_on_towel"], TASKS["google_robot_pick_standing_coke_can"]


def test_success_in_mid_trial_neither_stops_it_nor_counts():
    record, policy = run(SPOON, Scripted(succeeds={20, 21}))
    (subtask,) = record.subtasks
    assert (subtask.steps, subtask.success, subtask.ever) == (60, False, True)
    assert record.chain_length == 0 and len(policy.asked) == 60


def test_the_last_step_counts():
    record, _ = run(CAN, Scripted(succeeds={80}))
    assert record.chain_length == 1 and record.subtasks[0].steps == 80


def test_partial_successes_are_recorded_and_cross_a_process_border():
    record, _ = run(CAN, Scripted())
    assert dict(record.subtasks[0].flags) == {"grasped": 1.0}
    assert record_from_plain(to_plain(record)) == record


def test_the_apple_task_changes_its_instruction_after_the_forced_step():
    record, policy = run(APPLE_TASK, Scripted(succeeds={200}))
    assert policy.instructions == ["open top drawer", "place apple into top drawer"]
    assert policy.asked.count("open top drawer") == FORCED_ADVANCE + 1
    assert [subtask.steps for subtask in record.subtasks] == [101, 99]
    assert [subtask.success for subtask in record.subtasks] == [False, True]
    assert record.chain_length == 1


def test_an_opened_drawer_advances_one_step_later_by_the_robovlms_rule_only():
    backend = Scripted(opens=30)
    record, _ = run(APPLE_TASK, backend, advance="robovlms")
    assert [subtask.steps for subtask in record.subtasks] == [31, 169]
    assert backend.advanced_at[0] == 30 and record.subtasks[0].success
    record, _ = run(APPLE_TASK, Scripted(opens=30))
    assert record.subtasks[0].steps == 101 and record.chain_length == 0


def test_the_rest_of_a_chunk_is_dropped_when_the_instruction_changes():
    record, policy = run(APPLE_TASK, Scripted(), execute=8)
    assert [subtask.steps for subtask in record.subtasks] == [101, 99]
    assert policy.asked.count("open top drawer") == 13  # 12 * 8 + 5 steps


def test_euler_actions_are_converted_and_others_left_alone():
    backend = Scripted()
    start = EpisodeStart("photo", {"robot": (0.0, 0.0, 0.0)}, SPOON.name)
    action = np.array([0.01, 0, 0, 0.1, -0.2, 0.3, 1.0], dtype=np.float32)
    for convention, expected in (("bridge", action[3:6]), ("bridge_euler", euler_to_axis_angle(action[3:6]))):
        spec = next(each for each in WIDOWX.actions if each.name == convention)
        simulation = SimplerSimulation(backend, Sensors(), spec)
        simulation.reset(start)
        simulation.begin(SPOON.name)
        simulation.advance(action[None])
        assert backend.actions[-1][3:6] == pytest.approx(expected, abs=1e-7)


def test_another_image_size_is_refused():
    with pytest.raises(ValueError, match="its own size only"):
        SimplerSimulation(Scripted(), Sensors((Camera("3rd_view_camera", width=64),)), WIDOWX.actions[0])


def test_an_unknown_subtask_is_refused():
    simulation = SimplerSimulation(Scripted(), Sensors(), WIDOWX.actions[0])
    simulation.reset(EpisodeStart("photo", {}, SPOON.name))
    with pytest.raises(ValueError, match="has no subtask 'fork'"):
        simulation.begin("fork")


def judge(rule: PutOnRule = RULES["widowx_carrot_on_plate"]) -> PutOnJudge:
    settled = {"carrot": np.array([0.0, 0.0, 0.02]), "plate": np.array([0.2, 0.0, 0.01])}
    half = {"carrot": np.array([0.05, 0.01, 0.02]), "plate": np.array([0.06, 0.06, 0.01])}
    return PutOnJudge(rule, settled, half)


def verdict(judged: PutOnJudge, carrot: list[float], **facts: bool):
    places = {"carrot": np.array(carrot), "plate": np.array([0.2, 0.0, 0.01])}
    given = {"grasped": False, "touches_else": False, **facts}
    return judged.judge(origins=places, centres=places, **given)


def test_on_the_plate_is_a_matter_of_place_height_and_contact():
    assert verdict(judge(), [0.2, 0.0, 0.04])[0]
    assert verdict(judge(), [0.2 + 0.0878, 0.0, 0.04])[0]  # within the half diagonal + 3 mm
    assert not verdict(judge(), [0.2 + 0.0882, 0.0, 0.04])[0]
    assert verdict(judge(), [0.2, 0.0, 0.0599])[0]
    assert not verdict(judge(), [0.2, 0.0, 0.0601])[0]  # more than 2 cm above resting
    assert not verdict(judge(), [0.2, 0.0, 0.005])[0]  # below the plate's centre
    assert not verdict(judge(), [0.2, 0.0, 0.04], touches_else=True)[0]
    assert verdict(judge(RULES["widowx_spoon_on_towel"]), [0.2, 0.0, 0.04], touches_else=True)[0]


def test_moved_and_grasped_are_told_apart():
    judged = judge()
    assert verdict(judged, [0.029, 0, 0.02])[1]["moved_correct_obj"] == 0.0
    assert verdict(judged, [0.031, 0, 0.02])[1]["moved_correct_obj"] == 1.0
    for _ in range(4):
        flags = verdict(judged, [0.1, 0, 0.1], grasped=True)[1]
    assert (flags["is_src_obj_grasped"], flags["consecutive_grasp"]) == (1.0, 0.0)
    assert verdict(judged, [0.1, 0, 0.1], grasped=True)[1]["consecutive_grasp"] == 1.0
    assert verdict(judged, [0.1, 0, 0.02])[1]["consecutive_grasp"] == 1.0  # it stays


def test_extents_keep_the_originals_signs():
    half = turned_half_extents(np.array([0.2, 0.1, 0.04]), np.array([0.0, 0.0, 0.0, 1.0]))  # half a turn
    assert half == pytest.approx([-0.1, -0.05, 0.02])

"""What every policy may know beside observations: an episode's end, what was executed, the first observation."""

from __future__ import annotations

import numpy as np
import pytest

from vla_bench.bench.episode.rollout import run_episode
from vla_bench.bench.latency import RATIO, Latency, added, class_of, quantiles
from vla_bench.bench.protocol import EpisodeSpec
from vla_bench.envs.fake import FakeSimulation, environment_spec
from vla_bench.envs.simpler.pose_target import PoseTarget
from vla_bench.envs.simpler.robots import closedness
from vla_bench.envs.simpler.rotations import euler_to_quaternion, rotation_matrix
from vla_bench.envs.simulation import EpisodeStart
from vla_bench.policies.one_slot import OneSlotPolicy

FAKE = environment_spec({})
EPISODE = EpisodeSpec(0, "seq-0000", EpisodeStart("box"), ("open_gripper", "raise"), ("open", "go up"), 6)


class Curious:
    action = "relative"
    execute = 4

    def __init__(self):
        self.heard = []

    def reset(self, instruction, observation):
        self.heard.append((instruction, observation["state"].tolist()))

    def act(self, observation):
        return np.tile([0.0, 0.0, 0.5, 1.0], (4, 1))

    def finished(self, outcome):
        self.heard.append(outcome)


def test_a_plain_class_may_see_the_first_observation_and_the_end():
    plain = Curious()
    record = run_episode(FakeSimulation(), OneSlotPolicy(plain, FAKE), EPISODE, seed=0)
    (first, start), (second, later), outcome = plain.heard
    assert (first, second) == ("open", "go up") and start == [0.0, 0.0, 0.0, 1.0] and later != start
    assert (outcome.success, outcome.chain_length) == (record.chain_length == 2, record.chain_length)
    assert outcome.steps == sum(subtask.steps for subtask in record.subtasks) and outcome.seconds >= 0


def test_a_policy_is_told_how_much_of_its_last_chunk_was_executed():
    told = []

    class Watching(OneSlotPolicy):
        def reset(self, slot, instruction, context):
            told.append((context.position, context.executed))
            super().reset(slot, instruction, context)

    run_episode(FakeSimulation(), Watching(Curious(), FAKE), EPISODE, seed=0)
    assert told == [(0, 0), (1, 1)]  # the gripper is open after the first action


def test_latency_is_counted_in_classes_of_two_per_cent():
    ticks = iter([0.0, 0.010, 1.0, 1.020, 2.0, 2.5])
    latency = Latency(lambda: next(ticks), lambda slot: 0.004)
    for _ in range(3):
        latency.begin()
        latency.end(0)
    found = quantiles(latency.counts()["decision"])
    assert found["n"] == 3 and found["median"] == pytest.approx(20.0, rel=RATIO - 1)
    assert found["p99"] == pytest.approx(500.0, rel=RATIO - 1)
    assert quantiles(latency.counts()["model"])["p95"] == pytest.approx(4.0, rel=RATIO - 1)
    assert class_of(0.0) == 0 == class_of(-1.0)
    both = added([latency.counts(), latency.counts(), {"decision": {"x": 1, "3": "y"}}, {}])
    assert quantiles(both["decision"])["n"] == 6 and set(both) == {"decision", "model"}


def test_records_have_latencies_that_are_no_part_of_the_outcome():
    record = run_episode(FakeSimulation(), OneSlotPolicy(Curious(), FAKE), EPISODE, seed=0)
    assert sum(record.latency["decision"].values()) == sum(subtask.decisions for subtask in record.subtasks)
    assert "latency" not in record.outcome()


def test_how_far_simplers_grippers_are_closed():
    limits = np.array([[-1.0, 1.0]] * 6 + [[0.015, 0.037]] * 2)
    assert closedness(np.array([0.0] * 6 + [0.037, 0.015]), limits) == pytest.approx([0.5])
    google = np.array([[-1.0, 1.0]] * 7 + [[0.0, 1.3]] * 2 + [[-1.0, 1.0]] * 2)
    assert closedness(np.array([0.0] * 7 + [0.65, 1.3, 0.0, 0.0]), google) == pytest.approx([0.75])
    assert closedness(np.array([0.0] * 7 + [-0.1, -0.1, 0.0, 0.0]), google) == [0.0]


def test_poses_become_the_changes_that_lead_there():
    base = np.array([0.1, 0.2, 0.9, *euler_to_quaternion(np.array([0.0, 0.0, 0.3]))])
    tool = np.array([0.4, 0.1, 1.1, *euler_to_quaternion(np.array([0.2, -0.1, 0.5]))])
    target = PoseTarget({"base_pose": base, "tcp_pose": tool})
    turned = rotation_matrix(base[3:]).T
    position, rotation = turned @ (tool[:3] - base[:3]), turned @ rotation_matrix(tool[3:])
    for pose in ([0.3, 0.0, 0.2, 0.1, 1.4, -3.0, 1.0], [0.31, 0.01, 0.2, 0.1, 1.5, 3.1, -1.0]):
        change = target.change_to(np.array(pose))
        angle = np.linalg.norm(change[3:6])
        assert angle <= np.pi + 1e-9
        axis = change[3:6] / angle
        rotation = rotation_matrix(np.array([np.cos(angle / 2), *(axis * np.sin(angle / 2))])) @ rotation
        position = position + change[:3]
        np.testing.assert_allclose(position, pose[:3], atol=1e-12)
        np.testing.assert_allclose(rotation, rotation_matrix(euler_to_quaternion(np.array(pose[3:6]))), atol=1e-9)
        assert change[6] == pose[6]

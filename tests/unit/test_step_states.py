"""Step traces: every state of an episode in a file, and the episode itself the same to the last bit."""

from __future__ import annotations

import json

import numpy as np
import pytest
from pyarrow import parquet

from vla_bench.bench.dispatch.job import Job
from vla_bench.bench.dispatch.tracing import run_traced
from vla_bench.bench.episode.rollout import NoMeter
from vla_bench.bench.errors import ConfigError
from vla_bench.bench.protocol import EpisodeSpec
from vla_bench.bench.runner import evaluate
from vla_bench.bench.setup.presets import load_config
from vla_bench.bench.setup.run_config import RunConfig
from vla_bench.envs.calvin.bundle import find_bundle
from vla_bench.envs.calvin.initial_states import initial_state
from vla_bench.envs.calvin.robot import ACTIONS
from vla_bench.envs.calvin.sequences import official_sequences
from vla_bench.envs.calvin.simulation import CalvinSimulation
from vla_bench.envs.observation import Sensors
from vla_bench.envs.simulation import SimulationSpec
from vla_bench.envs.stress.levels import Stress
from vla_bench.envs.stress.wrapped import StressedSimulation, to_option
from vla_bench.policies.base import PolicySpec
from vla_bench.policies.choice import PolicyChoice

SEQUENCE = official_sequences()[3]
EPISODE = EpisodeSpec(
    3, "seq-0003", initial_state(SEQUENCE.condition), SEQUENCE.subtasks[:2], ("first", "then"), step_limit=7
)


class Wave:
    """Plays chunks of three, two of which are executed."""

    spec = PolicySpec("wave", ACTIONS[0], chunk=3, execute=2)

    def __init__(self):
        self.played = []

    def reset(self, slot, instruction, context):
        self.decision = 0

    def act(self, slots, observations):
        self.decision += 1
        chunk = np.array([[0.5, -0.3, -1.0 / k, 0.1, 0.0, 0.2, -1.0] for k in range(1, 4)], dtype=np.float32)
        self.played.append(chunk[:2] * np.float32(1))
        return [chunk]

    def close(self): ...


def run(folder, trace, stress=None):
    simulation, policy = CalvinSimulation(find_bundle("builtin")), Wave()
    if stress is not None:
        simulation = StressedSimulation(simulation, to_option(stress, ACTIONS[0], 30.0), Sensors())
    job = Job(
        SimulationSpec("calvin", action="relative"), PolicyChoice("wave"), RunConfig(trace=trace), folder=str(folder)
    )
    record = run_traced(simulation, policy, EPISODE, job, meter=NoMeter())
    simulation.close()
    return record, policy


def test_every_step_is_in_the_file_and_changes_nothing(tmp_path):
    (traced, policy), (plain, _) = run(tmp_path, "states"), run(tmp_path, "none")
    assert traced.outcome() == plain.outcome()
    (path,) = tmp_path.rglob("*.parquet")
    assert path.relative_to(tmp_path).as_posix() == "states/seq-0003.parquet"
    table = parquet.read_table(path)
    about = json.loads(table.schema.metadata[b"vla_bench"])
    assert about["episode"] == "seq-0003" and about["scene"] == "D" and about["action"] == "relative"
    rows = table.to_pylist()
    assert [row["step"] for row in rows] == [0, 1, 2, 3, 4, 5, 6, 7]
    assert [row["decision"] for row in rows] == [0, 1, 1, 2, 2, 3, 3, 4]
    assert {row["subtask"] for row in rows} == {SEQUENCE.subtasks[0]}
    assert rows[0]["action"] is None
    played = np.concatenate(policy.played)[:7]
    assert np.array([row["action"] for row in rows[1:]]) == pytest.approx(played, abs=0)
    # Replayed without a trace, the states are those.
    again = CalvinSimulation(find_bundle("builtin"))
    again.reset(EPISODE.start)
    again.begin(SEQUENCE.subtasks[0])
    for row, action in zip(rows, [None, *played], strict=True):
        if action is not None:
            again.advance(action[None])
        state = again.privileged()
        assert row["robot_obs"] == state.robot_obs.tolist()
        assert row["scene_obs"] == state.scene_obs.tolist()
        assert row["target_pose"] == [*state.target_position, *state.target_euler]
        assert row["block_velocities"][6:12] == state.block_velocities["block_blue"].tolist()
        for block in ("block_red", "block_blue", "block_pink"):
            body = again.world.body(block)
            touched = {
                (c["other"], c["other_link"]) if c["body"] == block else (c["body"], c["link"])
                for c in row["contacts"]
                if block in (c["body"], c["other"])
            }
            names = {0: "robot", 5: "table", **{again.world.body(f"block_{c}"): f"block_{c}" for c in COLOURS}}
            assert touched == {(names[other], link) for other, link in again.world.contacts(body)}
            assert touched
    names = about["vectors"]
    assert {name: len(names[name]) for name in names} == {
        name: len(rows[0][name]) for name in ("robot_obs", "scene_obs", "target_pose", "block_velocities")
    }
    assert names["scene_obs"][12] == "block_blue_x" and names["block_velocities"][6] == "block_blue_velocity_x"
    again.close()


@pytest.mark.parametrize("stress", [Stress(latency_steps=3), Stress(lost=0.4, slow_gripper=2)])
def test_a_stressed_episode_is_the_same_with_its_trace(tmp_path, stress):
    """A world that does not wait goes on without waiting, and every step is in the file."""
    (traced, _), (plain, _), (ordinary, _) = run(tmp_path, "states", stress), run("", "none", stress), run("", "none")
    assert traced.outcome() == plain.outcome() != ordinary.outcome()
    (path,) = tmp_path.rglob("*.parquet")
    assert [row["step"] for row in parquet.read_table(path).to_pylist()] == [0, 1, 2, 3, 4, 5, 6, 7]


COLOURS = ("red", "blue", "pink")


def test_a_run_goes_on_with_the_traces_it_has(tmp_path):
    words = ["benchmark=calvin_smoke", "policy=random", "run.backend=inline", "benchmark.step_limit=3"]
    words += ["benchmark.sequences=2", "run.trace=states", f"run.results={tmp_path}", "run.name=x"]
    evaluate(load_config([*words, "run.only=seq-0000"]))
    first = tmp_path / "x/states/seq-0000.parquet"
    written = first.read_bytes()
    made = evaluate(load_config(words))
    assert first.read_bytes() == written and len(made.records) == 2
    for record in made.records:
        rows = parquet.read_table(tmp_path / f"x/states/{record.episode}.parquet").to_pylist()
        assert len(rows) == sum(subtask.steps + 1 for subtask in record.subtasks)
    untraced = [word for word in words if "trace" not in word]
    evaluate(load_config([*untraced, "run.overwrite=true", "run.only=seq-0001"]))
    assert not list((tmp_path / "x/states").glob("*.parquet"))


def test_what_cannot_be_traced_is_said_before_anything_runs(tmp_path):
    with pytest.raises(ConfigError, match=r"run.trace=states: the simulations of fake do not tell their states"):
        evaluate(load_config(["benchmark=fake", "policy=stub", "run.trace=states", f"run.results={tmp_path}"]))
    with pytest.raises(ConfigError, match=r"run.trace=all is not one of none, states"):
        load_config(["benchmark=calvin_smoke", "run.trace=all"])

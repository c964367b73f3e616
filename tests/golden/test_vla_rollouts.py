"""Rollouts of 26 steps, two instructions, against those of the original's evaluation wrapper."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

from safetensors.torch import load_file  # noqa: E402
from vla_recordings import FOLDER, STRUCTURES, arguments, needs_recordings, observations  # noqa: E402

from vla_bench.envs.simpler.robots import GOOGLE_ROBOT, WIDOWX  # noqa: E402
from vla_bench.envs.simulation import EnvironmentSpec  # noqa: E402
from vla_bench.policies.base import SubtaskContext  # noqa: E402
from vla_bench.policies.vla.actions.robot_commands import RobotCommands  # noqa: E402
from vla_bench.policies.vla.engine import Engine  # noqa: E402
from vla_bench.policies.vla.options import VlaOptions  # noqa: E402
from vla_bench.policies.vla.policy import VlaPolicy  # noqa: E402

pytestmark = needs_recordings

TOLERANCE = 2e-5
INSTRUCTIONS = {0: "take the blue block and rotate it to the right", 20: "open the drawer"}


def present(recorded: torch.Tensor) -> torch.Tensor:
    """Without the rows of NaN that pad a recording."""
    return recorded[~recorded.flatten(1).isnan().any(dim=1)]


@pytest.mark.parametrize("structure", STRUCTURES)
def test_released_rollout(structure: str) -> None:
    engine = Engine.from_options(VlaOptions.from_arguments(arguments(structure, compat="released")))
    recorded = load_file(FOLDER / structure / "rollout.safetensors")

    def same(ours: torch.Tensor, theirs: torch.Tensor) -> None:
        torch.testing.assert_close(ours, theirs, atol=TOLERANCE, rtol=0)

    for step, observation in enumerate(observations()):
        if step in INSTRUCTIONS:
            engine.reset(0, INSTRUCTIONS[step])
        (chunk,) = engine.act([0], [observation])
        np.testing.assert_allclose(chunk[0], recorded["action"][step], atol=TOLERANCE, rtol=0)
        said = engine.last(0)
        if "generated_ids" in said:
            assert torch.equal(said["generated_ids"], recorded["generated_ids"][step])
            continue
        assert said["length"] == recorded["llm_seq_len"][step]
        features = present(recorded["action_hs"][step]).flatten(1)
        same(said["features"][-len(features) :], features)
        with torch.inference_mode():
            output = engine.model.act_head(said["features"][None])
        arm, gripper = present(recorded["arm"][step]), present(recorded["gripper_logit"][step])
        same(output.arm[0, -len(arm) :], arm)
        same(output.gripper[0, -len(gripper) :], gripper)


def test_intended_interleaved_executes_the_newest_frame() -> None:
    structure = "interleaved_cont"
    engine = Engine.from_options(VlaOptions.from_arguments(arguments(structure)))
    recorded = load_file(FOLDER / structure / "rollout.safetensors")
    lagged = 0
    for step, observation in enumerate(observations()):
        if step in INSTRUCTIONS:
            engine.reset(0, INSTRUCTIONS[step])
        (chunk,) = engine.act([0], [observation])
        newest = recorded["arm"][step, recorded["history_len"][step] - 1, 0] * 0.65
        np.testing.assert_allclose(chunk[0, :6], newest, atol=TOLERANCE, rtol=0)
        lagged += not np.allclose(chunk[0, :6], recorded["action"][step, :6], atol=1e-3)
    assert lagged > 20


@pytest.mark.parametrize("setup, robot", [("google_robot", "google_robot"), ("widowx_bridge", "widowx")])
def test_simpler_commands(setup: str, robot: str) -> None:
    recorded = load_file(FOLDER / "simpler_rollout_ph_lstm.safetensors")
    gripper = RobotCommands.for_robot(robot).gripper
    assert [gripper(value) for value in recorded[f"{setup}.gripper_in"].tolist()] == recorded[
        f"{setup}.gripper_out"
    ].tolist()
    robots = {"widowx": WIDOWX, "google_robot": GOOGLE_ROBOT}
    camera, actions = robots[robot].camera, robots[robot].actions
    policy = VlaPolicy(
        EnvironmentSpec("simpler", actions, {camera: (200, 200)}, 5.0, roles={"static": camera}),
        **arguments("ph_lstm", compat="released"),
    )
    policy.reset(0, "pick coke can", SubtaskContext("trial", 0, 0))
    for step in range(20):
        (chunk,) = policy.act([0], [{f"rgb_{camera}": observations()[step]["rgb_static"]}])
        np.testing.assert_allclose(chunk[0], recorded[f"{setup}.steps"][step][:7], atol=TOLERANCE, rtol=0)

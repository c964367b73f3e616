"""Arithmetic on actions: bins, chunks, frames, gripper rules, commands."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from vla_bench.policies.errors import PolicyError
from vla_bench.policies.vla.actions.chunks import TemporalEnsemble, sliding_chunks
from vla_bench.policies.vla.actions.commands import Prediction, commands
from vla_bench.policies.vla.actions.frames import rotation_vectors, tcp_to_world, tool_pose_to_world, world_to_tcp
from vla_bench.policies.vla.actions.gripper import DelayedGripper, StickyGripper
from vla_bench.policies.vla.actions.normalisation import (
    Quantiles,
    inverse_mu_law,
    mu_law,
    normalise,
    standardise,
    unnormalise,
    unstandardise,
)
from vla_bench.policies.vla.actions.robot_commands import RobotCommands
from vla_bench.policies.vla.actions.tokenizer import ActionTokens, BinClassifier
from vla_bench.policies.vla.config import VlaConfig

RANDOM = np.random.default_rng(0)
ACTIONS = np.concatenate([RANDOM.uniform(-0.6, 0.6, (5, 6)), RANDOM.choice([-1.0, 1.0], (5, 1))], axis=1)


@pytest.mark.parametrize(
    "forth, back",
    [
        (normalise, unnormalise),
        (mu_law, inverse_mu_law),
        (lambda a: standardise(a, 0.1, 0.3), lambda a: unstandardise(a, 0.1, 0.3)),
    ],
)
def test_scaling_and_back_leaves_the_gripper(forth, back) -> None:  # type: ignore[no-untyped-def]
    np.testing.assert_allclose(back(forth(ACTIONS)), ACTIONS, atol=1e-12)
    assert (forth(ACTIONS)[:, 6] == ACTIONS[:, 6]).all()
    assert not np.allclose(forth(ACTIONS)[:, :6], ACTIONS[:, :6])
    assert forth(ACTIONS.astype(np.float32)).dtype == np.float32


def test_quantiles(tmp_path: Path) -> None:
    statistics = {"action": {"q01": [-0.1] * 6 + [0.0], "q99": [0.2] * 6 + [1.0]}}
    path = tmp_path / "statistics.json"
    path.write_text(json.dumps(statistics))
    quantiles = Quantiles.read(path)
    assert quantiles.mask == (True,) * 7
    np.testing.assert_allclose(quantiles.unnormalise(np.array([-1.0] * 3 + [1.0] * 4)), [-0.1] * 3 + [0.2] * 3 + [1.0])
    inside = np.full(7, 0.05)
    np.testing.assert_allclose(quantiles.unnormalise(quantiles.normalise(inside)), inside, atol=1e-6)
    assert quantiles.normalise(np.full(7, 9.0)).max() == 1.0
    path.write_text("{}")
    with pytest.raises(PolicyError, match="is no statistics file"):
        Quantiles.read(path)
    with pytest.raises(PolicyError, match="there is no statistics file"):
        Quantiles.read(tmp_path / "other.json")


def test_bins_of_a_classifier() -> None:
    bins = BinClassifier(256)
    values = np.array([-1.5, -1.0, -0.0001, 0.0, 0.9999, 1.0, 2.0])
    assert bins.encode(values).tolist() == [0, 0, 127, 128, 255, 255, 255]
    centres = bins.decode(np.arange(256))
    assert (bins.encode(centres) == np.arange(256)).all()
    np.testing.assert_allclose(np.diff(centres), 2 / 256)


def test_action_tokens_need_room() -> None:
    tokenizer = SimpleNamespace(vocab_size=300, eos_token="</s>", additional_special_tokens=["<a>", "<b>"])
    assert ActionTokens.for_tokenizer(tokenizer).end == 300 - 3 - 10
    with pytest.raises(PolicyError, match="no room for 256"):
        ActionTokens.for_tokenizer(SimpleNamespace(vocab_size=260))


def test_chunks_of_a_window() -> None:
    chunks = sliding_chunks(np.arange(5)[:, None], window=3, chunk=3)
    assert chunks[..., 0].tolist() == [[0, 1, 2], [1, 2, 3], [2, 3, 4]]
    with pytest.raises(ValueError, match="has 5 actions, not 4"):
        sliding_chunks(np.zeros((4, 7)), window=3, chunk=3)


def test_temporal_ensemble() -> None:
    ensemble = TemporalEnsemble(decay=np.log(2.0))
    assert ensemble(np.array([[0.0], [0.0], [0.0]])).tolist() == [[0.0]]
    # The older prediction weighs 1, the newer one half.
    np.testing.assert_allclose(ensemble(np.array([[3.0], [3.0], [3.0]])), [[1.0]])
    np.testing.assert_allclose(ensemble(np.array([[7.0], [7.0], [7.0]])), [[(0 + 1.5 + 1.75) / 1.75]])
    # The first chunk ends here.
    np.testing.assert_allclose(ensemble(np.array([[1.0], [1.0], [1.0]])), [[(3.0 + 3.5 + 0.25) / 1.75]])


def test_temporal_ensemble_over_several_steps() -> None:
    ensemble = TemporalEnsemble(decay=0.0)
    assert ensemble(np.array([[1.0], [2.0], [3.0]]), execute=2).tolist() == [[1.0], [2.0]]
    assert ensemble(np.array([[5.0], [6.0], [7.0]]), execute=2).tolist() == [[4.0], [6.0]]


def test_tool_frame_and_back() -> None:
    states = np.concatenate([RANDOM.normal(size=(5, 3)), RANDOM.uniform(-1.2, 1.2, (5, 3))], axis=1)
    there = world_to_tcp(ACTIONS, states)
    assert not np.allclose(there[:, :3], ACTIONS[:, :3])
    np.testing.assert_allclose(tcp_to_world(there, states), ACTIONS, atol=1e-9)
    # A tool that is turned by 90 degrees about z moves along the world's y when it moves along its own x.
    quarter = np.array([0, 0, 0, 0, 0, np.pi / 2])
    moved = tcp_to_world(np.array([[1.0, 0, 0, 0, 0, 0, 1]]), quarter)
    np.testing.assert_allclose(moved, [[0, 1, 0, 0, 0, 0, 1]], atol=1e-12)


def test_metric_tool_pose() -> None:
    quarter = np.array([0, 0, 0, 0, 0, np.pi / 2])
    moved = tool_pose_to_world(np.array([[0.02, 0, 0, 0, 0, 0.05, 1]]), quarter)
    np.testing.assert_allclose(moved, [[0, 1, 0, 0, 0, 1, 1]], atol=1e-12)


def test_gripper_rules() -> None:
    sticky, delayed = StickyGripper(repeat=3), DelayedGripper(needed=2)
    assert [sticky(x) for x in (1, 0, 0, 0, 0, 1)] == [0.0, 2.0, 2.0, 2.0, 0.0, -2.0]
    assert [delayed(x) for x in (1, 1, 1, 0, 1)] == [-1.0, 1.0, 1.0, -1.0, -1.0]
    with pytest.raises(PolicyError, match="Did you mean 'widowx'"):
        RobotCommands.for_robot("widow")


def prediction(opening: float, chunk: int = 3) -> Prediction:
    return Prediction(np.full((chunk, 6), 0.5, np.float32), np.full(chunk, opening, np.float32), 0.5)


def test_commands() -> None:
    config = VlaConfig(chunk=3)
    made = commands(prediction(0.6), config, execute=2)
    assert made.shape == (2, 7) and made.dtype == np.float32
    np.testing.assert_allclose(made, [[0.325] * 6 + [1.0]] * 2, rtol=1e-6)
    assert commands(prediction(0.5), config)[0, 6] == -1.0
    raw = commands(prediction(0.6), VlaConfig(chunk=3, norm=None))
    np.testing.assert_allclose(raw[0, :6], 0.5)


def test_released_gripper_depends_on_the_bound() -> None:
    narrow = VlaConfig(norm=(-0.4, 0.4))
    assert commands(prediction(0.9), narrow)[0, 6] == 1.0
    # The released evaluation scales the gripper down with the arm, below its own threshold.
    assert commands(prediction(0.9), narrow, released=True)[0, 6] == -1.0
    assert commands(prediction(0.9), VlaConfig(), released=True)[0, 6] == 1.0


def test_tool_frame_commands_need_the_robot() -> None:
    config = VlaConfig(action_frame="tcp", norm=None)
    with pytest.raises(PolicyError, match="needs robot_obs"):
        commands(prediction(0.9), config)
    state = np.zeros(15)
    state[5] = np.pi / 2
    np.testing.assert_allclose(commands(prediction(0.9), config, robot_state=state)[0, :3], [-0.5, 0.5, 0.5], atol=1e-6)


def test_ensembled_gripper_is_decided_on_the_average() -> None:
    ensemble = TemporalEnsemble(decay=0.0)
    config = VlaConfig(chunk=3)
    assert commands(prediction(0.9), config, ensemble=ensemble)[0, 6] == 1.0
    assert commands(prediction(0.2), config, ensemble=ensemble)[0, 6] == 1.0
    assert commands(prediction(0.2), config, ensemble=ensemble)[0, 6] == -1.0


def test_training_steps_are_undone_from_the_last_to_the_first() -> None:
    """In training an action is scaled and then companded; so it is expanded first, and scaled back then."""
    actions = ACTIONS.copy()
    low, high = -0.4, 0.7
    clipped = np.clip(actions[:, :6], low, high)
    said = mu_law(normalise(actions, low, high), 255.0)
    config = VlaConfig(structure="one_step", head="fc", window=1, norm=(low, high), mu_law=255.0)
    undone = commands(Prediction(said[:, :6], (said[:, 6] + 1) / 2, 0.5), config, execute=5)
    np.testing.assert_allclose(undone[:, :6], clipped, atol=1e-12)
    other_way = unnormalise(said, low, high)
    assert np.abs(inverse_mu_law(other_way)[:, :6] - clipped).max() > 0.1, "the order counts"


def test_the_sign_of_a_rotation_in_the_tools_frame_is_the_released_one() -> None:
    """Its rotation takes the new tool frame to the old one: an upright tool's turn by +z is -z in its own frame."""
    upright = np.zeros(6)
    for axis in (3, 4, 5):
        action = np.zeros((1, 7))
        action[0, axis] = 0.5
        np.testing.assert_allclose(world_to_tcp(action, upright), -action, atol=1e-12)
        np.testing.assert_allclose(tcp_to_world(action, upright), -action, atol=1e-12)


@pytest.mark.parametrize(
    ("threshold", "norm", "wanted"),
    [
        (0.5, (-0.65, 0.65), [1.0, -1.0]),
        (0.5, (-0.3, 0.3), [-1.0, -1.0]),
        (0.5, (-1.0, 3.0), [1.0, 1.0]),
        (0.0, (-0.65, 0.65), [1.0, -1.0]),
        (0.0, (-1.0, 3.0), [1.0, -1.0]),
        (0.0, None, [1.0, -1.0]),
    ],
)
def test_the_released_evaluation_scales_the_gripper_too(threshold, norm, wanted) -> None:
    """A probability becomes 1 or 0, a value 1 or -1, is scaled like the arm, and only then compared."""
    said = Prediction(np.zeros((2, 6)), np.array([threshold + 0.1, threshold - 0.1]), threshold)
    config = VlaConfig(structure="one_step", head="fc", window=1, norm=norm)
    assert commands(said, config, execute=2, released=True)[:, 6].tolist() == wanted
    said = Prediction(np.zeros((2, 6)), np.array([threshold + 0.1, threshold - 0.1]), threshold)
    ours = commands(said, config, execute=2)
    assert ours[:, 6].tolist() == [1.0, -1.0]
    assert np.ptp(ours[:, :6]) == 0.0
    said = Prediction(np.zeros((2, 6)), np.array([threshold, threshold]), threshold)
    assert commands(said, replace(config, norm=None), execute=2, released=True)[:, 6].tolist() == [-1.0, -1.0]


@pytest.mark.parametrize("axis", [0, 2])
@pytest.mark.parametrize("side", [1, -1])
def test_small_turns_stay_small_where_angles_jump(axis, side) -> None:
    """Across π an Euler angle goes on at -π; the change is still the short way."""
    state, action = np.zeros(6), np.zeros((1, 7))
    state[3 + axis], action[0, 3 + axis] = side * (np.pi - 1e-4), -0.5 * side
    for convert in (tcp_to_world, world_to_tcp):
        np.testing.assert_allclose(convert(action, state), -action, atol=1e-9)


def test_frames_of_many_actions_are_those_of_each() -> None:
    actions = RANDOM.uniform(-1, 1, (2, 4, 7))
    states = RANDOM.uniform(-1, 1, (2, 4, 15))
    for convert in (tcp_to_world, world_to_tcp):
        whole = convert(actions, states)
        for i in range(2):
            for j in range(4):
                np.testing.assert_allclose(whole[i, j], convert(actions[i, j], states[i, j]), atol=1e-12)
        np.testing.assert_allclose(convert(actions, states[:, :1])[1], convert(actions[1], states[1, 0]), atol=1e-12)


@pytest.mark.parametrize("shape", [(3,), (2, 3), (4, 2, 3)])
def test_rotation_vectors_are_axis_times_angle(shape) -> None:
    angles = RANDOM.uniform(-1.5, 1.5, shape)
    vectors = rotation_vectors(angles)
    assert vectors.shape == shape
    for each, vector in zip(angles.reshape(-1, 3), vectors.reshape(-1, 3), strict=True):
        x, y, z = (np.array(m) for m in _turns(each))
        angle = np.linalg.norm(vector)
        k = np.cross(np.eye(3), vector / angle)
        rodrigues = np.eye(3) + np.sin(angle) * k + (1 - np.cos(angle)) * k @ k
        np.testing.assert_allclose(rodrigues, z @ y @ x, atol=1e-12)


def _turns(angles: np.ndarray) -> tuple[list[list[float]], ...]:
    """Rotation matrices about x, y and z."""
    (a, b, c), (d, e, f) = np.cos(angles), np.sin(angles)
    return ([[1, 0, 0], [0, a, -d], [0, d, a]], [[b, 0, e], [0, 1, 0], [-e, 0, b]], [[c, -f, 0], [f, c, 0], [0, 0, 1]])


def test_bounds_for_each_number_leave_the_gripper_as_it_is() -> None:
    low, high = (-1.0, -2.0, -3.0, 0.0, 0.0, 0.0), (1.0, 2.0, 3.0, 0.5, 1.0, 2.0)
    said = np.array([[0.5, 0.5, 0.5, 0.0, 0.0, 1.0, 0.3]])
    for too in (True, False):
        wanted = [[0.5, 1.0, 1.5, 0.25, 0.5, 2.0, 0.3]]
        np.testing.assert_allclose(unnormalise(said, low, high, gripper_too=too), wanted, atol=1e-12)

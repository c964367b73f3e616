"""What is checked about a chunk, and what becomes of it."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from vla_bench.bench.dispatch.job import Job
from vla_bench.bench.dispatch.placement import connect
from vla_bench.bench.episode.actions import Actions, chunks_of
from vla_bench.envs.fake import ABSOLUTE, RELATIVE
from vla_bench.envs.simulation import SimulationSpec, environment_spec
from vla_bench.policies.base import PolicySpec
from vla_bench.policies.choice import PolicyChoice
from vla_bench.policies.errors import PolicyError


def actions(execute: int = 1, convention=RELATIVE) -> Actions:
    return Actions(PolicySpec("mine", convention, chunk=8, execute=execute))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_chunk_in_range_passes_bit_for_bit_in_its_own_dtype(dtype: str):
    chunk = np.array([[0.1, -1.0, 1.0, 1.0], [0.3, 0.0, -0.2, -1.0]], dtype=dtype)
    executed = actions(2).executed(chunk, 10)
    assert executed.dtype == dtype and executed.tobytes() == chunk.tobytes()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_bounded_convention_is_clipped_and_its_gripper_made_binary(dtype: str):
    chunk = np.array(
        [[1.5, -2.0, 0.1, 0.2], [0.0, 0.5, -1.0, 0.0], [0.0, 0.0, 0.0, -7.0], [0.0, 0.0, 0.0, 1e-9]],
        dtype=dtype,
    )
    before = chunk.copy()
    executed = actions(4).executed(chunk, 10)
    wanted = np.array([[1, -1, 0.1, 1], [0, 0.5, -1, -1], [0, 0, 0, -1], [0, 0, 0, 1]], dtype=dtype)
    assert executed.dtype == dtype
    np.testing.assert_array_equal(executed, wanted)
    np.testing.assert_array_equal(chunk, before, "the policy's own array is left alone")


def test_a_gripper_that_opens_downwards_is_read_that_way():
    convention = dataclasses.replace(RELATIVE, gripper_open=0.0, gripper_closed=1.0)
    chunk = np.array([[0, 0, 0, 0.4], [0, 0, 0, 0.6], [0, 0, 0, 0.5]])
    assert actions(3, convention).executed(chunk, 3)[:, -1].tolist() == [0.0, 1.0, 0.0]


def test_an_unbounded_convention_passes_unchanged():
    chunk = np.array([[3.0, -4.0, 0.5, 0.3]])
    assert actions(1, ABSOLUTE).executed(chunk, 1).tolist() == chunk.tolist()


def test_cuts_to_execute_and_to_the_steps_left():
    chunk = np.zeros((8, 4))
    chunk[:, -1] = 1.0
    assert len(actions(5).executed(chunk, 360)) == 5
    assert len(actions(5).executed(chunk, 2)) == 2


@pytest.mark.parametrize(
    ("chunk", "message"),
    [
        (np.zeros((1, 7)), r"shape \(1, 7\); its convention has 4 numbers"),
        (np.zeros(4), r"shape \(4,\)"),
        (np.zeros((1, 1, 4)), r"shape \(1, 1, 4\)"),
        (np.zeros((5, 4), dtype=complex), "complex128 numbers; actions must be float32 or float64"),
        (np.zeros((5, 4), dtype=bool), "bool numbers"),
        (np.zeros((0, 4)), "a chunk without actions"),
        (None, r"None from act\(\): is a `return` missing"),
        (
            {"action": np.zeros(4)},
            r"a dict with 'action' from act\(\); return the array itself, e.g. answer\['action'\]",
        ),
        ("left", "the text 'left'"),
        ((np.zeros(4), {"x": 1}), "a tuple of ndarray, dict"),
        (iter([0.0] * 4), "a list_iterator"),
        (0.5, "0.5 from act"),
        ([[1.0, 2.0], [3.0]], "a list of parts of different lengths"),
    ],
)
def test_refuses_what_is_not_a_chunk(chunk: object, message: str):
    with pytest.raises(PolicyError, match=f"policy 'mine' returned .*{message}"):
        actions(5).executed(chunk, 360)


@pytest.mark.parametrize(
    ("answer", "dtype"),
    [
        (np.array([0, 0, 0, 1]), "float64"),
        ([0, 0, 0, 1], "float64"),
        (np.array([0, 0, 0, 1], np.float16), "float32"),
        (np.array([[0, 0, 0, 1]], np.float32), "float32"),
    ],
)
def test_numbers_of_other_types_are_taken_exactly(answer, dtype):
    done = actions(1).executed(answer, 9)
    assert done.dtype == dtype and done.tolist() == [[0, 0, 0, 1]]


def test_tensors_are_taken():
    torch = pytest.importorskip("torch")
    for tensor in (torch.tensor([0.0, 0, 0, 1]), torch.tensor([0.0, 0, 0, 1]).bfloat16()):
        for answer in (tensor, torch.nn.Parameter(tensor), [tensor, tensor]):
            assert actions(2).executed(answer, 9)[0].tolist() == [0, 0, 0, 1]
    with pytest.raises(PolicyError, match="which is no array"):
        actions(1).executed(torch.zeros(4, device="meta"), 9)


def test_a_shorter_chunk_is_played_to_its_end():
    assert len(actions(5).executed(np.ones((2, 4)), 360)) == 2


@pytest.mark.parametrize("command", [0.97, 0.0, -0.5])
def test_a_gripper_command_that_the_environment_does_not_take_is_the_policys_mistake(command):
    calvin = next(each for each in environment_spec("calvin").actions if each.name == "absolute")
    chunk = np.zeros((3, 7))
    chunk[:, -1] = [1.0, command, -1.0]
    with pytest.raises(
        PolicyError, match=rf"returned {command:g} as the gripper command of action 1 .*exactly 1 \(open"
    ):
        actions(3, calvin).executed(chunk, 360)
    chunk[1, -1] = 1
    assert actions(3, calvin).executed(chunk, 360).tolist() == chunk.tolist()


@pytest.mark.parametrize("convention", [RELATIVE, ABSOLUTE])
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_refuses_numbers_that_are_none(convention, bad: float):
    chunk = np.zeros((2, 4))
    chunk[1, 3] = bad
    with pytest.raises(PolicyError, match=f"returned {bad} as number 3 of action 1"):
        actions(2, convention).executed(chunk, 360)
    chunk[1] = [bad, 5.0, 0.0, 1.0]
    with pytest.raises(PolicyError, match="as number 0 of action 1"):
        actions(2, convention).executed(chunk, 360)


def test_connects_to_a_policy_in_this_process():
    assert connect(Job(SimulationSpec("fake"), PolicyChoice("stub"))).spec.name == "stub"


def test_the_first_actions_of_a_chunk_are_executed_in_their_order():
    chunk = np.tile(np.arange(8.0)[:, None] / 10, (1, 4))
    chunk[:, -1] = 1.0
    assert actions(3).executed(chunk, 360)[:, 0].tolist() == [0.0, 0.1, 0.2]
    assert actions(8).executed(chunk, 2)[:, 0].tolist() == [0.0, 0.1]
    assert actions(1).executed(chunk, 1)[:, 0].tolist() == [0.0]


def test_one_array_for_all_slots_is_as_good_as_a_list_and_a_number_is_not():
    answer = np.zeros((2, 1, 4))
    assert chunks_of(answer, 2, "mine") is answer
    with pytest.raises(PolicyError, match=r"was asked for 3 and returned a ndarray of 2"):
        chunks_of(answer, 3, "mine")
    with pytest.raises(PolicyError, match=r"was asked for 1 and returned a ndarray; act\(\) must"):
        chunks_of(np.array(1.0), 1, "mine")

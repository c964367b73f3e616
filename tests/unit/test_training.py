"""Training on a small made-up data set, with the tiny backbone."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from calvin_sets import write_set

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")
pytest.importorskip("accelerate")

from vla_bench.policies.errors import PolicyError  # noqa: E402
from vla_bench.policies.vla.config import VlaConfig  # noqa: E402
from vla_bench.policies.vla.training.assembly import assemble  # noqa: E402
from vla_bench.policies.vla.training.config import TrainingConfig  # noqa: E402
from vla_bench.policies.vla.training.events import StepDone  # noqa: E402
from vla_bench.policies.vla.training.loop import TrainingFailed, TrainingRun  # noqa: E402

SMALL = {"backbone": "tiny", "hidden": 16, "lstm_layers": 1, "window": 2, "chunk": 3, "gripper_camera": True}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_set(tmp_path_factory.mktemp("set"), count=6)


@pytest.fixture(autouse=True)
def _one_thread() -> Any:
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)


def make_run(data: Path, structure: dict[str, Any] | None = None, **more: Any) -> TrainingRun:
    chosen = {"steps": 4, "batch": 4, "threads": 1, "device": "cpu", "learning_rate": 1e-3, **more}
    return assemble(VlaConfig.from_mapping({**SMALL, **(structure or {})}), TrainingConfig(data=str(data), **chosen))


def weights(folder: Path) -> dict[str, Any]:
    from safetensors.torch import load_file

    return load_file(folder / "last" / "model.safetensors")


def same(one: dict[str, Any], other: dict[str, Any]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def test_a_trained_checkpoint_runs_as_a_policy(data: Path, tmp_path: Path) -> None:
    from vla_bench.envs.calvin.family import environment_spec
    from vla_bench.policies.base import SubtaskContext
    from vla_bench.policies.vla.policy import VlaPolicy

    make_run(data, {"state_token": True, "state_encoding": "sincos"}).train(tmp_path)
    about = json.loads((tmp_path / "last" / "training.json").read_text())
    assert about["step"] == 4 and len(about["data"]["digest"]) == 16
    policy = VlaPolicy(environment_spec({}), checkpoint=str(tmp_path / "last"))
    policy.reset(0, "open the drawer", SubtaskContext("seq-0000", 0, 0))
    seen = {
        "rgb_static": np.zeros((200, 200, 3), np.uint8),
        "rgb_gripper": np.zeros((84, 84, 3), np.uint8),
        "robot_obs": np.zeros(15),
    }
    (chunk,) = policy.act([0], [seen])
    assert chunk.shape == (1, 7) and abs(chunk[0, 6]) == 1


def test_going_on_gives_the_same_weights(data: Path, tmp_path: Path) -> None:
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    whole.mkdir(), parts.mkdir()
    make_run(data, colour=0.2, save_every=1).train(whole)
    for _ in range(4):
        asked = iter([False, True])
        make_run(data, colour=0.2, save_every=1).train(parts, stop=lambda asked=asked: next(asked))
    assert same(weights(whole), weights(parts))


def test_the_first_step_is_not_wasted_unless_it_was(data: Path) -> None:
    for compat, rate in (("intended", 1e-3), ("released", 0.0)):
        steps: list[Any] = []
        make_run(data, compat=compat, schedule="constant", steps=1).train(None, report=steps.append)
        assert [each.rate for each in steps if isinstance(each, StepDone)] == [rate]


def test_accumulated_batches_weigh_labels_alike(data: Path) -> None:
    """Two batches of 4 make the step of one of 8, though their ends differ in length."""
    structure = {"window": 2, "chunk": 8}
    one, two = (make_run(data, structure, dropout=0.0, steps=1, rgb_pad=0, gripper_pad=0) for _ in range(2))
    chosen = [0, 10, 3, 8, 20, 9, 5, 1]
    from vla_bench.policies.vla.training.sampling import FixedOrder

    norms = []
    for run, batches in ((one, (chosen,)), (two, (chosen[:4], chosen[4:]))):
        run.order = FixedOrder(tuple(tuple(batch) for batch in batches))
        run.config = make_run(data, structure, batch=len(batches[0]), accumulate=len(batches), steps=1).config
        steps: list[Any] = []
        run.train(None, report=steps.append)
        norms += [(each.gradient, each.losses["total"]) for each in steps if isinstance(each, StepDone)]
    assert norms[0] == pytest.approx(norms[1], rel=1e-5)


def test_a_loss_that_is_no_number_ends_the_run_and_keeps_its_batch(data: Path, tmp_path: Path) -> None:
    run = make_run(data)
    with torch.no_grad():
        run.model.action_token.fill_(float("nan"))
    with pytest.raises(TrainingFailed, match=r"step 1: .*nan.*kept in"):
        run.train(tmp_path)
    kept = torch.load(tmp_path / "nan_batch.pt", weights_only=True)
    assert kept["step"] == 1 and len(kept["items"][0]) == 4 and "arm_target" in kept["batches"][0]


@pytest.mark.parametrize(
    "structure, chosen, said",
    [
        ({}, {"learning_rate": 0.0}, "train.learning_rate=0: nothing would be learnt"),
        ({}, {"batch": 1000}, "train.batch=1000 is larger than the data"),
        ({}, {"freeze": ("act_head.rn",)}, "no such part. Did you mean 'act_head.rnn'"),
        ({}, {"device": "cuda"}, "no GPU is found here"),
        ({}, {"precision": "fp16"}, "train.precision=fp16"),
        ({"window": 13}, {}, "holds no window of 13 frames"),
        ({}, {"lora_r": 2, "lora_targets": ("q_prj",)}, "Did you mean 'q_proj'"),
        ({}, {"train_decoder_layers": 0}, "trains all layers in the original"),
    ],
)
def test_bad_input_is_said_before_the_first_step(
    data: Path, structure: dict[str, Any], chosen: dict[str, Any], said: str
) -> None:
    if chosen.get("device") == "cuda" and torch.cuda.is_available():
        pytest.skip("there is a GPU")
    with pytest.raises(PolicyError, match=said):
        make_run(data, structure, **chosen).train(None)

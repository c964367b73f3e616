"""The network against tensors, losses and gradients recorded from the original."""

from __future__ import annotations

import math
from typing import Any

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

from safetensors.torch import load_file  # noqa: E402
from vla_recordings import FOLDER, STRUCTURES, needs_recordings, read_json  # noqa: E402

from vla_bench.policies.vla.actions.tokenizer import ActionTokens  # noqa: E402
from vla_bench.policies.vla.backbones import backbone_class  # noqa: E402
from vla_bench.policies.vla.build import build  # noqa: E402
from vla_bench.policies.vla.checkpoints import parameters_on_meta, plain_name  # noqa: E402
from vla_bench.policies.vla.model import VlaModel  # noqa: E402
from vla_bench.policies.vla.robovlms_config import from_robovlms, read_config  # noqa: E402
from vla_bench.policies.vla.training.step import TrainingBatch, forward, losses_of  # noqa: E402

pytestmark = needs_recordings

TOLERANCE = 2e-5


@pytest.fixture(autouse=True)
def _one_thread() -> Any:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def recorded_batch(tensors: dict[str, Any], *, gripper: bool, tokens: bool) -> TrainingBatch:
    cameras = {
        "static": tensors["in.rgb"].float(),
        "gripper": tensors["in.hand_rgb"].float() if gripper else None,
    }
    if tokens:
        names = {"text": "ids", "text_mask": "mask", "labels": "labels"}
        return TrainingBatch(**cameras, **{k: tensors[f"in.instr_and_action_{v}"] for k, v in names.items()})
    return TrainingBatch(
        **cameras,
        text=tensors["in.text"],
        text_mask=tensors["in.text_mask"],
        arm_target=tensors["in.action_chunck"][..., :6],
        gripper_target=tensors["in.action_chunck"][..., 6],
        chunk_mask=tensors["in.chunck_mask"],
    )


@pytest.mark.parametrize("structure", STRUCTURES)
def test_training_step(structure: str) -> None:
    config = read_config(FOLDER / structure / "config.json")
    built = build(
        config,
        backbone_path=FOLDER / "tiny_kosmos",
        checkpoint=FOLDER / structure / "weights_fp16.safetensors",
    )
    model = built.model.requires_grad_(True)
    tensors = load_file(FOLDER / structure / "train.safetensors")
    recorded = read_json(f"{structure}/train.json")
    batch = recorded_batch(tensors, gripper=config.gripper_camera, tokens=config.generates_tokens)
    result = forward(model, batch, keep_padding=True)

    def same(ours: Any, name: str) -> None:
        torch.testing.assert_close(ours.detach(), tensors[name], atol=TOLERANCE, rtol=0)

    same(result.rows.embeds, "mid.inputs_embeds")
    assert torch.equal(result.rows.mask.bool(), tensors["mid.attention_mask"].bool())
    if config.generates_tokens:
        same(result.logits, "mid.logits")
    else:
        same(result.hidden, "mid.last_hidden")
        same(result.tokens, "mid.action_hs")
        same(result.output.arm, "out.arm")
        same(result.output.gripper, "out.gripper_logit")

    losses = losses_of(model, batch, result, tokens=ActionTokens.for_tokenizer(built.tokenizer))
    names = {
        "total": "loss",
        "arm": "loss_arm_act",
        "gripper": "loss_gripper_act",
        "arm_accuracy": "acc_arm_act",
        "gripper_accuracy": "acc_gripper_act",
        "action_l1": "action_l1",
    }
    for ours, theirs in names.items():
        if recorded[theirs] is not None:
            assert losses[ours].item() == pytest.approx(recorded[theirs], abs=1e-5), ours

    losses["total"].backward()
    if not config.generates_tokens:
        same(model.action_token.grad, "grad.action_token")
    for prefix, norm in recorded["grad_norm"].items():
        squares = [
            p.grad.square().sum().item()
            for name, p in model.named_parameters()
            if name.startswith(prefix) and p.grad is not None
        ]
        assert math.sqrt(sum(squares)) == pytest.approx(norm, rel=1e-5), prefix


@pytest.mark.parametrize("structure", STRUCTURES)
def test_every_recorded_name_is_ours(structure: str) -> None:
    config = read_config(FOLDER / structure / "config.json")
    built = build(config, backbone_path=FOLDER / "tiny_kosmos", seed=0)
    theirs = {
        plain_name(name): tuple(shape) for name, (shape, _) in read_json(f"{structure}/state_dict_keys.json").items()
    }
    assert {name: tuple(value.shape) for name, value in built.model.state_dict().items()} == theirs


@pytest.mark.parametrize("head", ["LSTMDecoder", "GPTDecoder", "FCDecoder"])
def test_full_size_names_and_shapes(head: str) -> None:
    from transformers import Kosmos2Config

    recorded = read_json("full_size_keys.json")
    window = 16
    config = from_robovlms(
        {
            "model": "kosmos",
            "window_size": window,
            "fwd_pred_next_n": 10,
            "act_head": {"type": head, "hidden_size": 1024, "history_type": "post"},
        }
    )
    adapter = backbone_class("kosmos2")
    with parameters_on_meta(), torch.device("meta"):
        model = VlaModel(config, adapter(adapter.build(Kosmos2Config())))
    ours = {f"model.{name}": list(value.shape) for name, value in model.state_dict().items()}
    theirs = recorded[head]["keys"]
    if head == "LSTMDecoder":
        assert len(theirs) == 919
        assert ours == theirs
        parameters = sum(p.numel() for p in model.backbone.parameters())
        assert parameters == recorded[head]["n_backbone_params"]
    else:
        assert {name: shape for name, shape in ours.items() if ".act_head." in name} == {
            name: shape for name, shape in theirs.items() if ".act_head." in name
        }
    assert sum(p.numel() for p in model.act_head.parameters()) == recorded[head]["n_head_params"]

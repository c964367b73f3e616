"""Reading weights in every form they come in, and what is said when they do not fit."""

from __future__ import annotations

import argparse
import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

from result_sets import write_chains  # noqa: E402
from safetensors.torch import save_file  # noqa: E402
from vla_models import engine, observation, options  # noqa: E402

from vla_bench.bench.cli.main import main  # noqa: E402
from vla_bench.policies.errors import PolicyError  # noqa: E402
from vla_bench.policies.vla.backbones import BACKBONES  # noqa: E402
from vla_bench.policies.vla.build import build  # noqa: E402
from vla_bench.policies.vla.checkpoints import load_into, parameters_on_meta, plain_name, read_tensors, save  # noqa: E402
from vla_bench.policies.vla.describe import describe  # noqa: E402
from vla_bench.policies.vla.engine import Engine  # noqa: E402
from vla_bench.policies.vla.model import VlaModel  # noqa: E402
from vla_bench.policies.vla.options import VlaOptions  # noqa: E402

CONFIG = options("policy_head_lstm").model


@pytest.fixture(scope="module")
def tensors() -> dict[str, torch.Tensor]:
    """A released-looking state dict: the trainer's ``model.`` before every name."""
    model = build(CONFIG, seed=1).model
    return {f"model.{name}": value.clone() for name, value in model.state_dict().items()}


def same(path: Path, tensors: dict[str, Any], **more: Any) -> None:
    model = build(CONFIG, checkpoint=path, **more).model
    loaded = model.state_dict()
    assert {f"model.{name}" for name in loaded} == {name for name in tensors if name.startswith("model.")}
    for name, value in loaded.items():
        assert torch.equal(value, tensors[f"model.{name}"]), name


@pytest.mark.parametrize(
    "wrap",
    [
        lambda t: {"state_dict": t, "epoch": 4, "global_step": 77},
        lambda t: {"model_state_dict": t},
        lambda t: {"state_dict": {f"module.{name}": value for name, value in t.items()}},
        lambda t: {"module": {f"_forward_module.{name}": value for name, value in t.items()}},
        lambda t: {name.removeprefix("model."): value for name, value in t.items()},
        lambda t: {
            "state_dict": {
                **t,
                "model.backbone.text_model.model.embed_positions.weights": torch.zeros(3, 4),
                "model.backbone.vision_model.model.embeddings.position_ids": torch.arange(5)[None],
                "model.lm_head.rnn.weight_ih_l0": torch.zeros(2),
            }
        },
    ],
    ids=["lightning", "model_state_dict", "module", "deepspeed", "bare", "old buffers"],
)
def test_torch_files(wrap: Any, tensors: dict[str, Any], tmp_path: Path) -> None:
    torch.save(wrap(tensors), tmp_path / "model.pt")
    same(tmp_path / "model.pt", tensors)


def test_safetensors_and_a_tied_tensor_stored_once(tensors: dict[str, Any], tmp_path: Path) -> None:
    once = {name: value for name, value in tensors.items() if not name.endswith("lm_head.weight")}
    save_file(once, tmp_path / "model.safetensors")
    same(tmp_path / "model.safetensors", tensors)
    model = build(CONFIG, checkpoint=tmp_path / "model.safetensors").model
    text = model.backbone.text_model
    assert text.lm_head.weight.data_ptr() == text.model.embed_tokens.weight.data_ptr()


def test_own_format_says_what_it_is(tmp_path: Path) -> None:
    made = engine("policy_head_lstm_bins", model={"state_token": True})
    save(tmp_path, made.model, made.config, made.tokenizer)
    again = Engine.from_options(VlaOptions.from_arguments({"checkpoint": str(tmp_path)}))
    assert again.config == made.config
    for each in (made, again):
        each.reset(0, "push")
    assert (made.act([0], [observation(0)])[0] == again.act([0], [observation(0)])[0]).all()


def test_weights_are_mapped_not_copied(tensors: dict[str, Any], tmp_path: Path) -> None:
    torch.save({"state_dict": tensors}, tmp_path / "model.pt")
    mapped = read_tensors(tmp_path / "model.pt")
    model = build(CONFIG, checkpoint=tmp_path / "model.pt").model
    assert all(value.is_cpu and not value.is_meta for value in model.state_dict().values())
    with parameters_on_meta():
        other = VlaModel(CONFIG, _adapter())
    load_into(other, mapped, dtype=torch.float32)
    assert other.act_head.rnn.weight_hh_l0.data_ptr() == mapped["act_head.rnn.weight_hh_l0"].data_ptr()
    load_into(other, mapped, dtype=torch.bfloat16)
    assert {p.dtype for p in other.parameters()} == {torch.bfloat16}


def _adapter() -> Any:
    from vla_bench.policies.vla.backbones import backbone_class

    chosen = backbone_class("tiny")
    return chosen(chosen.build(chosen.tiny_config()))


def test_names() -> None:
    assert plain_name("module.model.act_head.fc.weight") == "act_head.fc.weight"
    assert plain_name("_forward_module.model.action_token") == "action_token"
    # Only the trainer's own prefix is taken off.
    assert plain_name("model.backbone.text_model.model.x") == "backbone.text_model.model.x"


def test_misfits_are_listed(tensors: dict[str, Any], tmp_path: Path) -> None:
    wrong = dict(tensors)
    del wrong["model.action_token"]
    wrong["model.something_else"] = torch.zeros(2)
    wrong["model.act_head.rnn.weight_hh_l0"] = torch.zeros(3, 3)
    torch.save(wrong, tmp_path / "model.pt")
    with pytest.raises(PolicyError) as caught:
        build(CONFIG, checkpoint=tmp_path / "model.pt")
    for part in (
        "1 missing: action_token",
        "1 unexpected: something_else",
        "act_head.rnn.weight_hh_l0 (3, 3), not (64, 16)",
        "vla-bench describe",
    ):
        assert part in str(caught.value)


def test_misfits_that_are_allowed(tensors: dict[str, Any], tmp_path: Path) -> None:
    wrong = {name: value for name, value in tensors.items() if ".act_head." not in name}
    torch.save({**wrong, "model.something_else": torch.zeros(2)}, tmp_path / "model.pt")
    model = build(
        CONFIG,
        checkpoint=tmp_path / "model.pt",
        allow_missing=["act_head."],
        allow_unexpected=["something_else"],
        seed=3,
    ).model
    assert torch.equal(model.backbone.text_model.lm_head.weight, tensors["model.backbone.text_model.lm_head.weight"])
    assert model.act_head.rnn.weight_hh_l0.abs().sum() > 0


def test_checkpoint_of_another_structure(tensors: dict[str, Any], tmp_path: Path) -> None:
    torch.save(tensors, tmp_path / "model.pt")
    with pytest.raises(
        PolicyError, match=r"missing: act_head\.gpt.*unexpected: act_head\.rnn.*fit policy\.model\.head=lstm"
    ):
        build(options("policy_head_gpt").model, checkpoint=tmp_path / "model.pt")
    with pytest.raises(PolicyError, match=r"no state token.*policy\.model\.state_token=false"):
        build(dataclasses.replace(CONFIG, state_token=True), checkpoint=tmp_path / "model.pt")


@pytest.mark.parametrize("name", ["model.pt", "old.pt", "model.safetensors"])
def test_truncated_file(name: str, tensors: dict[str, Any], tmp_path: Path) -> None:
    path = tmp_path / name
    if name.endswith(".pt"):
        torch.save(tensors, path, _use_new_zipfile_serialization=name != "old.pt")
    else:
        save_file({k: v for k, v in tensors.items() if "lm_head" not in k}, path)
    content = path.read_bytes()
    for share in (0.0, 1e-4, 0.3, 0.9):
        path.write_bytes(content[: int(len(content) * share)])
        with pytest.raises(PolicyError, match=r"cannot be read.*truncated"):
            read_tensors(path)


def test_code_in_a_file_is_refused(tensors: dict[str, Any], tmp_path: Path) -> None:
    path = tmp_path / "model.pt"
    torch.save({"state_dict": tensors, "hyper_parameters": argparse.Namespace(lr=1)}, path)
    with pytest.raises(PolicyError, match=r"argparse\.Namespace.*policy\.trust_checkpoint=true"):
        read_tensors(path)
    same(path, tensors, trust=True)


def test_files_that_are_no_checkpoint(tmp_path: Path) -> None:
    with pytest.raises(PolicyError, match="there is no checkpoint"):
        read_tensors(tmp_path / "model.pt")
    (tmp_path / "model.pt").write_text("not found")
    with pytest.raises(PolicyError, match=r"cannot be read.*starts with b'not found'.*no checkpoint"):
        read_tensors(tmp_path / "model.pt")
    torch.save({"optimizer": {"lr": 1.0}}, tmp_path / "model.pt")
    with pytest.raises(PolicyError, match="no state_dict or model_state_dict; it holds optimizer"):
        read_tensors(tmp_path / "model.pt")
    (tmp_path / "two").mkdir()
    with pytest.raises(PolicyError, match="holds 0 checkpoint files"):
        read_tensors(tmp_path / "two")
    (tmp_path / "two" / "latest").write_text("global_step1")
    with pytest.raises(PolicyError, match=r"zero_to_fp32\.py"):
        read_tensors(tmp_path / "two")


def test_lora_is_merged(tensors: dict[str, Any], tmp_path: Path) -> None:
    peft = pytest.importorskip("peft")
    torch.save(tensors, tmp_path / "model.pt")
    plain = build(CONFIG, checkpoint=tmp_path / "model.pt").model
    base = build(CONFIG, checkpoint=tmp_path / "model.pt").model
    adapter = peft.LoraConfig(r=2, lora_alpha=4, target_modules=["q_proj"], init_lora_weights=False)
    peft.get_peft_model(base.backbone, adapter).save_pretrained(tmp_path / "lora")
    merged = build(CONFIG, checkpoint=tmp_path / "model.pt", lora=tmp_path / "lora").model
    assert set(merged.state_dict()) == set(plain.state_dict())
    changed = {name for name, value in merged.state_dict().items() if not torch.equal(value, plain.state_dict()[name])}
    assert changed and all("q_proj.weight" in name for name in changed)
    with pytest.raises(PolicyError, match=r"no adapter_config\.json"):
        build(CONFIG, checkpoint=tmp_path / "model.pt", lora=tmp_path)


@pytest.fixture
def adapter(tensors: dict[str, Any], tmp_path: Path) -> Path:
    """A folder with an adapter that fits; beside it the checkpoint."""
    peft = pytest.importorskip("peft")
    torch.save(tensors, tmp_path / "model.pt")
    base = build(CONFIG, checkpoint=tmp_path / "model.pt").model
    made = peft.LoraConfig(r=2, target_modules=["q_proj"], init_lora_weights=False)
    peft.get_peft_model(base.backbone, made).save_pretrained(tmp_path / "lora")
    return tmp_path / "lora"


def _rewritten(folder: Path, change: Any) -> None:
    from safetensors.torch import load_file

    path = folder / "adapter_model.safetensors"
    save_file(change({name: value.clone() for name, value in load_file(path).items()}), path)


ADAPTER_FAULTS = {
    "half": (lambda t: dict(list(t.items())[::2]), r"missing: base_model\.model\.\S+lora_[AB]"),
    "more": (lambda t: {**t, "base_model.model.x": torch.zeros(1)}, r"1 unexpected: base_model\.model\.x"),
    "shape": (
        lambda t: {n: v[:1].contiguous() if "lora_A" in n else v for n, v in t.items()},
        r"\(1, \d+\), not \(2, \d+\)",
    ),
    "prefix": (
        lambda t: {n.replace("base_model.model.", "base_model.model.model.backbone."): v for n, v in t.items()},
        r"missing.*unexpected.*begin with base_model\.model\.model\.backbone\. where base_model\.model\. is expected",
    ),
    "none": (lambda t: {"x": torch.zeros(1)}, r"missing.*1 unexpected: x"),
}


@pytest.mark.parametrize("fault", ADAPTER_FAULTS)
def test_an_adapter_that_does_not_fit_is_refused_with_a_list(fault: str, adapter: Path) -> None:
    change, message = ADAPTER_FAULTS[fault]
    _rewritten(adapter, change)
    with pytest.raises(PolicyError, match=message):
        build(CONFIG, checkpoint=adapter.parent / "model.pt", lora=adapter)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda f: (f / "adapter_model.safetensors").unlink(), "has no weights: neither adapter_model.safetensors"),
        (
            lambda f: (f / "adapter_model.safetensors").write_text(
                "version https://git-lfs.github.com/spec/v1\nsize 9\n"
            ),
            "is a Git-LFS pointer",
        ),
        (lambda f: (f / "adapter_config.json").write_text("{"), "is no adapter's configuration"),
        (lambda f: (f / "adapter_config.json").write_text("{}"), "it has no peft_type"),
        (
            lambda f: (f / "adapter_config.json").write_text('{"peft_type": "LORA", "target_modules": ["nowhere"]}'),
            "does not go with this backbone",
        ),
        (lambda f: (f / "adapter_config.json").write_text('{"peft_type": "LOAR"}'), "does not go with this backbone"),
    ],
    ids=["no weights", "pointer", "broken", "empty", "target", "type"],
)
def test_an_adapter_that_is_none_is_one_sentence(spoil: Any, message: str, adapter: Path) -> None:
    spoil(adapter)
    with pytest.raises(PolicyError, match=message) as caught:
        build(CONFIG, checkpoint=adapter.parent / "model.pt", lora=adapter)
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize(
    "structure, model",
    [
        ("policy_head_lstm", {"latent": 2}),
        ("policy_head_gpt", {}),
        ("policy_head_lstm_bins", {}),
        ("interleaved", {"latent": 2, "state_token": True}),
        ("pooled", {}),
        ("resampled", {}),
        ("one_step_tokens", {}),
    ],
)
def test_describe_names_the_structure(structure: str, model: dict[str, Any], tmp_path: Path) -> None:
    made = build(options(structure, model=model).model, seed=0)
    torch.save(made.model.state_dict(), tmp_path / "model.pt")
    description = describe(tmp_path / "model.pt")
    assert sum(group.tensors for group in description.groups) == len(made.model.state_dict())
    fits = {**description.fits, "backbone": "tiny"}
    assert fits.items() <= {**dataclasses.asdict(made.model.config)}.items()
    assert {"head", "action_space"} <= set(fits)


@pytest.mark.parametrize("backbone", [name for name in BACKBONES if name not in ("moondream", "uform", "tiny")])
def test_describe_names_the_backbone(backbone: str, tmp_path: Path) -> None:
    made = engine("pooled", model={"backbone": backbone})
    save(tmp_path, made.model, made.config, made.tokenizer)
    fits = describe(tmp_path).fits
    assert (fits["backbone"], fits["latent"], fits["readout"]) == (backbone, 2, "pooling")
    loaded = [Engine.from_options(VlaOptions.from_arguments({"checkpoint": str(tmp_path)})) for _ in range(2)]
    chunks = []
    for each in (made, *loaded):
        each.reset(0, "push")
        chunks.append(each.act([0], [observation(0)])[0])
    # Weights in a mapped file lie where the file has them, and some processors' products round by where they lie.
    np.testing.assert_allclose(chunks[0], chunks[1], rtol=0, atol=2e-7)
    np.testing.assert_array_equal(chunks[1], chunks[2])


def test_describe_on_the_command_line(tensors: dict[str, Any], tmp_path: Path, capsys: Any) -> None:
    torch.save({"state_dict": tensors}, tmp_path / "model.pt")
    assert main(["describe", str(tmp_path / "model.pt"), "--shapes"]) == 0
    shown = capsys.readouterr().out
    assert "action_token  (32,)  float32" in shown
    assert "policy.model.head=lstm" in shown
    parameters = sum(value.numel() for value in read_tensors(tmp_path / "model.pt").values())
    assert f"{parameters:,d}" in next(line for line in shown.splitlines() if line.startswith("total"))


def test_describe_names_what_is_no_checkpoint(tmp_path: Path, capsys: Any) -> None:
    assert main(["describe", str(tmp_path / "other.pt")]) == 1
    assert f"there is no {tmp_path / 'other.pt'}" in capsys.readouterr().err
    torch.save({"model.action_token": Path("/")}, tmp_path / "code.pt")
    assert main(["describe", str(tmp_path / "code.pt")]) == 1
    assert "--trust" in capsys.readouterr().err


def test_describe_tells_a_result_set(tmp_path: Path, capsys: Any) -> None:
    assert main(["describe", str(write_chains(tmp_path / "set", [5, 3, 0]))]) == 0
    assert "3 of 3 episodes judged" in capsys.readouterr().out


def test_own_configuration_is_plain(tmp_path: Path) -> None:
    made = engine()
    save(tmp_path, made.model, made.config, made.tokenizer)
    assert json.loads((tmp_path / "vla.json").read_text())["head"] == "lstm"

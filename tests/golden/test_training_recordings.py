"""Windows, batches, optimiser runs and what trains, against the original training code."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")
pytest.importorskip("accelerate")

from safetensors.torch import load_file  # noqa: E402
from training_recordings import DATASET, FOLDER, needs_training_recordings, read_json  # noqa: E402
from vla_recordings import FOLDER as MODELS  # noqa: E402
from vla_recordings import needs_recordings  # noqa: E402

from vla_bench.envs.calvin.dataset import open_dataset  # noqa: E402
from vla_bench.policies.vla.backbones.kosmos2 import Kosmos2  # noqa: E402
from vla_bench.policies.vla.backbones.tokenizers import load_tokenizer  # noqa: E402
from vla_bench.policies.vla.build import Built, build  # noqa: E402
from vla_bench.policies.vla.config import VlaConfig  # noqa: E402
from vla_bench.policies.vla.robovlms_config import read_config  # noqa: E402
from vla_bench.policies.vla.training.config import TrainingConfig  # noqa: E402
from vla_bench.policies.vla.training.events import StepDone  # noqa: E402
from vla_bench.policies.vla.training.items import WindowItems  # noqa: E402
from vla_bench.policies.vla.training.loop import TrainingRun  # noqa: E402
from vla_bench.policies.vla.training.sampling import FixedOrder  # noqa: E402
from vla_bench.policies.vla.training.trainable import choose, plain_state, set_dropout, trained  # noqa: E402

pytestmark = [needs_training_recordings, needs_recordings]

RECORDED = bool(FOLDER.name) and FOLDER.is_dir()
RUNS = sorted(path.parent.name for path in FOLDER.glob("*/run.json")) if RECORDED else []
BATCHES = sorted(read_json("batches.json")) if RECORDED else []
LISTS = sorted(read_json("trainable.json")["trainable"]) if RECORDED else []
LORA_LISTS = sorted(read_json("trainable_lora.json")) if RECORDED else []
ITEMS = sorted(read_json("items.json")) if RECORDED else []
NORMS: dict[str, Any] = {"no_norm": None, "norm_1": (-1.0, 1.0)}


def window_and_chunk(name: str) -> tuple[int, int]:
    found = re.search(r"W(\d+)_C(\d+)", name)
    assert found is not None
    return int(found[1]), int(found[2])


def structure(name: str) -> VlaConfig:
    window, chunk = window_and_chunk(name)
    discrete = name.startswith("discrete")
    return VlaConfig(
        structure="one_step" if window == 1 else "interleaved",
        head="none" if discrete else "fc",
        action_space="discrete" if discrete else "continuous",
        window=window,
        chunk=chunk,
        gripper_camera=True,
        image_size=56,
        norm=next((norm for start, norm in NORMS.items() if name.startswith(start)), (-0.65, 0.65)),
    )


def items_of(name: str, *, augment: bool = False, split: str = "training", skip: int = 1) -> WindowItems:
    training = TrainingConfig(
        compat="released",
        shifts="released" if "traj_cons" in name else "frame",
        rgb_pad=10,
        gripper_pad=4,
        skip_frames=skip,
    )
    tokenizer = load_tokenizer(MODELS / "tiny_kosmos")
    return WindowItems(open_dataset(DATASET, split), structure(name), training, Kosmos2, tokenizer, augment=augment)


@pytest.mark.parametrize("name", ITEMS)
def test_window_lists(name: str) -> None:
    split = "validation" if name.startswith("validation") else "training"
    skip = re.search(r"skip_frames_(\d+)", name)
    made = items_of(name, split=split, skip=int(skip[1]) if skip else 1)
    assert [[each.first, each.annotation, -each.padding] for each in made.windows] == read_json("items.json")[name]


@pytest.mark.parametrize("name", BATCHES)
def test_batches(name: str) -> None:
    recorded = read_json("batches.json")[name]
    augmented = name.startswith("augmented")
    made = items_of(name, augment=augmented)
    torch.manual_seed(0)
    batch = made.collate([made.item(number) for number in recorded["indices"]])
    chunks = torch.cat([batch.arm_target, batch.gripper_target[..., None]], dim=-1)
    ours = {
        "rgb": batch.static,
        "hand_rgb": batch.gripper,
        "action": torch.cat([chunks[:, :, 0], chunks[:, -1, 1:]], dim=1),
        "action_chunck": chunks,
        "chunck_mask": batch.chunk_mask,
    }
    names = {"text": "text", "text_mask": "text_mask"}
    if name.startswith("discrete"):
        names = {f"instr_and_action_{theirs}": mine for theirs, mine in (("ids", "text"), ("mask", "text_mask"))}
        names["instr_and_action_labels"] = "labels"
    ours |= {theirs: getattr(batch, mine) for theirs, mine in names.items()}
    compared = 0
    with np.load(FOLDER / "batches.npz") as tensors:
        for key, value in ours.items():
            if f"{name}.{key}" not in tensors.files:
                continue
            theirs = tensors[f"{name}.{key}"]
            mine = value.numpy()
            if key in ("rgb", "hand_rgb"):  # some are recorded as every fifth pixel
                step = -(-mine.shape[-1] // theirs.shape[-1])
                mine = mine[..., ::step, ::step]
            if augmented:
                np.testing.assert_allclose(mine, theirs, atol=1e-5, rtol=0)
            elif key.startswith("instr_and_action"):
                # The rows of prompts that generate are compared by what they say, bool or whole numbers.
                np.testing.assert_array_equal(mine.astype(theirs.dtype), theirs)
            else:
                assert mine.dtype == theirs.dtype, key
                np.testing.assert_array_equal(mine, theirs)
            compared += 1
    assert compared >= 2


def network(start: str, settings: dict[str, Any] | None = None) -> Built:
    folder = MODELS / Path(start).name
    config = read_config(folder / "config.json")
    if settings:
        plain = config.to_mapping()
        plain |= {"window": settings["window_size"], "chunk": settings["fwd_pred_next_n"]}
        plain |= {"gripper_camera": settings["use_hand_rgb"], "gripper_loss_ratio": settings["arm_gripper_loss_ratio"]}
        config = VlaConfig.from_mapping(plain)
    built = build(
        config,
        backbone_path=MODELS / "tiny_kosmos",
        checkpoint=folder / "weights_fp16.safetensors",
        trainable=True,
    )
    set_dropout(built.model, 0.0)
    return built


def training_of(settings: dict[str, Any]) -> TrainingConfig:
    setup = settings["train_setup"]
    layers = setup["train_decoder_layers"]
    return TrainingConfig(
        learning_rate=settings["learning_rate"],
        weight_decay=settings["weight_decay"],
        warmup_epochs=settings["warmup_epochs"],
        warmup_steps=settings.get("warmup_steps", 0),
        schedule=settings.get("scheduler", "constant"),
        batch=settings["batch_size"],
        accumulate=settings["accumulate"],
        clip=settings["clip"],
        epochs=settings["epochs"],
        freeze_backbone=setup["freeze_backbone"],
        train_decoder_layers=-1 if layers is None else layers,
        train_vision=setup["train_vision"],
        train_text_embedding=setup["train_text_embedding"],
        lora_r=setup.get("lora_r", 64) if setup["lora_enable"] else 0,
        rgb_pad=0,
        gripper_pad=0,
        threads=1,
        device="cpu",
        compat="released",
    )


@pytest.mark.parametrize("name", RUNS)
def test_optimiser_runs(name: str) -> None:
    try:
        run_again(name)
    except AssertionError:
        if "lstm" not in name or torch.cpu.get_capabilities().get("avx512_f"):
            raise
        # Where a gradient is next to nothing, Adam's step hangs on the last bit of a sum: oneDNN's LSTM sums in
        # another order on a processor without AVX-512 than on the one that recorded.
        with torch.backends.mkldnn.flags(enabled=False):
            run_again(name)


def run_again(name: str) -> None:
    """Trains as recorded, and compares."""
    recorded = json.loads((FOLDER / name / "run.json").read_text())
    settings = recorded["settings"]
    built, config = network(recorded["start"], settings), training_of(settings)
    choose(built.model, config)
    start = {name: value.clone() for name, value in built.model.state_dict().items()}
    seen: list[dict[str, float]] = []
    dataset = open_dataset(DATASET)
    made = WindowItems(dataset, built.model.config, config, Kosmos2, built.tokenizer, augment=False)
    order = FixedOrder(tuple(tuple(batch) for batch in recorded["indices"][: settings["batches_per_epoch"]]))
    steps: list[StepDone] = []
    run = TrainingRun(built.model, made, config, order=order)

    def keep(event: Any) -> None:
        if isinstance(event, StepDone):
            steps.append(event)

    threads = torch.get_num_threads()
    try:
        run.train(
            None, report=keep, watch=lambda losses: seen.append({k: float(v.detach()) for k, v in losses.items()})
        )
    finally:
        torch.set_num_threads(threads)

    assert len(seen) == len(recorded["batches"])
    names = {"total": "loss", "arm": "loss_arm_act", "gripper": "loss_gripper_act", "action_l1": "action_l1"}
    names |= {"gripper_accuracy": "acc_gripper_act", "arm_accuracy": "acc_arm_act"}
    for ours, theirs in zip(seen, recorded["batches"], strict=True):
        for mine, key in names.items():
            if theirs.get(key) is not None and mine in ours:
                assert ours[mine] == pytest.approx(theirs[key], abs=1e-5), (mine, theirs["batch"])
        assert ours["total"] == pytest.approx(theirs["loss"], abs=1e-5)
    assert [step.rate for step in steps] == [step["lr"] for step in recorded["steps"]]
    for step, theirs in zip(steps, recorded["steps"], strict=True):
        assert step.gradient == pytest.approx(theirs["grad_norm"], rel=1e-4)
    final = built.model.state_dict()
    for key, value in load_file(FOLDER / name / "final.safetensors").items():
        found = final[key.removeprefix("model.")]
        torch.testing.assert_close(found, value, atol=1e-5, rtol=0)
    on = {key for key, _ in trained(built.model)}
    for key, theirs in recorded["parameters"].items():
        mine = key.removeprefix("model.")
        assert (mine in on) == theirs["trainable"], key
        moved = (final[mine].double() - start[mine].double()).norm().item()
        # Softmax takes no notice of a key's bias: its gradient is rounding, and so is where Adam takes it.
        noise = mine.endswith("k_proj.bias")
        assert moved == pytest.approx(theirs["moved"], abs=1e-3 if noise else 1e-4, rel=1e-2), key
        far = 2 * theirs["moved"] if noise else 1e-4
        assert final[mine].double().norm().item() == pytest.approx(theirs["norm"], abs=far), key


def choices(name: str) -> dict[str, Any]:
    values = (each.split("=") for each in name.split(","))
    return {key: json.loads(value.lower()) for key, value in values}


@pytest.mark.parametrize("name", LISTS)
def test_what_trains(name: str) -> None:
    recorded = read_json("trainable.json")
    built = network("ph_lstm")
    choose(built.model, TrainingConfig(compat="released", **choices(name)))
    ours = sorted(f"model.{key}" for key, _ in trained(built.model))
    assert ours == sorted(recorded["all"][index] for index in recorded["trainable"][name])


@pytest.mark.parametrize("name", LORA_LISTS)
def test_what_trains_with_lora(name: str) -> None:
    recorded = read_json("trainable_lora.json")[name]
    built = network("ph_lstm")
    before = {key: value.clone() for key, value in built.model.state_dict().items()}
    choose(built.model, TrainingConfig(lora_r=4, **choices(name)))
    assert sorted(f"model.{key}" for key, _ in trained(built.model)) == sorted(recorded["trainable"])
    merged = plain_state(built.model)
    assert merged.keys() == before.keys()  # adapters begin without effect
    assert all(torch.equal(merged[key], before[key]) for key in before)

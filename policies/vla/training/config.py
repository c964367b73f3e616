"""Every choice of a training run: its field, its default, its meaning. No torch."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from vla_bench.policies.errors import PolicyError

Schedule = Literal["constant", "cosine", "half_cosine"]
Shifts = Literal["window", "frame", "released"]
Precision = Literal["fp32", "bf16", "fp16", "auto"]
Normalisation = Literal["quantiles", "given"]


@dataclass(frozen=True, slots=True)
class TrainingConfig:
    """How a network is trained, and on what. The structure itself is the policy's."""

    data: str = ""
    """Folder of the data set: CALVIN's layout, or packed by `vla-bench data pack`."""
    validation_data: str | None = None
    """Data set of the validation loss; null takes the split beside the training one, or holds some out."""
    held_out: float = 0.05
    """Share of annotations that are held out for validation where no other data are there for it; 0 for none."""
    learning_rate: float = 1e-4
    """Highest rate of AdamW; the paper's grid is 1e-4, 2e-5, 1e-5."""
    backbone_rate: float = 1.0
    """The backbone's rate as a multiple of learning_rate, which is then the head's."""
    vision_rate: float | None = None
    """The vision tower's rate as a multiple of learning_rate; null takes backbone_rate."""
    weight_decay: float = 0.1
    """Of matrices, not of biases and norms; with compat=released of everything. The paper's grid: 0, 0.1."""
    beta1: float = 0.9
    """AdamW's first momentum."""
    beta2: float = 0.999
    """AdamW's second momentum."""
    epsilon: float = 1e-8
    """AdamW's epsilon."""
    batch: int = 32
    """Windows in a batch, all processes together."""
    accumulate: int = 1
    """Batches whose gradients are added up for one step."""
    clip: float = 1.0
    """Longest gradient (L2, whole); 0 for no clipping, as the released training really does."""
    schedule: Schedule = "cosine"
    """How the rate goes on after the warm-up: constant, cosine (to 0), half_cosine (to min_rate of it)."""
    min_rate: float = 0.0
    """Share of the rate at which half_cosine ends."""
    warmup_steps: int = 0
    """Steps in which the rate rises to its highest."""
    warmup_epochs: float = 0.0
    """The same in epochs; both are added."""
    epochs: float = 5.0
    """Passes over the data; train.steps overrides it."""
    steps: int | None = None
    """Optimiser steps; null takes train.epochs."""
    precision: Precision = "fp32"
    """fp32, bf16 (autocast; weights stay float32), fp16 (loss scaling; needs a GPU) or auto: bf16 where it is fast."""
    gradient_checkpointing: bool = False
    """Compute activations again in the backward pass: less memory for a third more time."""
    dropout: float | None = None
    """Dropout everywhere in the network; null leaves it as backbone and head have it."""
    arm_loss: Literal["smooth_l1", "mse"] = "smooth_l1"
    """Loss of the arm."""
    beta: float = 1.0
    """Where smooth_l1 goes from a parabola to a line; the original's Huber loss has 1."""
    scene_loss: float = 0.0
    """Weight of a loss that asks the images' tokens where things are, as scene_obs has it; 0 for none."""
    scene_frames: int = 0
    """Further frames a step looks at, for scene_loss and subject_loss; of no annotation if there are such."""
    waypoint_loss: float = 0.0
    """Weight of a loss that asks the action head's input where the gripper next opens or closes; 0 for none."""
    subject_loss: float = 0.0
    """Weight of a loss that asks of the further frames where the block is that an instruction names; 0 for none."""
    normalise: Normalisation = "quantiles"
    """Scaling of the arm: each number by its own q01 and q99 in the data, or as policy.model.norm says."""
    stride: int = 1
    """Steps between the frames of a window: the number of actions that are executed per decision later on."""
    skip_frames: int = 1
    """Take every so many-th window of an annotation."""
    rgb_pad: int | None = None
    """Random shifts of the static camera, in pixels of the model's images; null takes 10 per 224 pixels, 0 none."""
    gripper_pad: int | None = None
    """Random shifts of the gripper camera; null takes 4 per 224 pixels."""
    shifts: Shifts = "window"
    """One shift for a window, one per frame, or the released way (per frame, never 0)."""
    colour: float = 0.0
    """Strength of random brightness, contrast and saturation, the same within a window; 0.2 is usual."""
    freeze_backbone: bool = False
    """Train no part of the backbone but those named below."""
    train_decoder_layers: int = -1
    """Train the last so many layers of the language model only; -1 trains all."""
    train_vision: bool = True
    """Train the vision tower; overrides freeze_backbone, as in the original."""
    vision_from: str | None = None
    """Checkpoint of the same backbone whose vision tower training begins with; train_vision=false keeps it so."""
    train_text_embedding: bool = True
    """Train the word embedding; overrides freeze_backbone, as in the original."""
    freeze_resampler: bool = False
    """Keep the vision resampler as it is."""
    freeze: tuple[str, ...] = ()
    """Further parts to keep as they are, by the beginning of their names, e.g. act_head.rnn."""
    lora_r: int = 0
    """Rank of LoRA in the backbone's linear layers; 0 for none. The original has 64."""
    lora_alpha: float = 16.0
    """LoRA's scale is lora_alpha / lora_r."""
    lora_dropout: float = 0.05
    """Dropout before LoRA's layers."""
    lora_targets: tuple[str, ...] = ()
    """Last parts of the names of layers that get LoRA; empty means every linear layer but the output layer."""
    conversations: str | None = None
    """LLaVA-style conversations (a .json file, or a folder with one) that are trained on in the same steps."""
    conversation_batch: int = 4
    """Conversations in a batch, all processes together."""
    validate_every: int | None = None
    """Steps between validation losses; null once per epoch, 0 never."""
    validation_batches: int = 32
    """Most batches of a validation loss."""
    evaluate_every: int = 0
    """Steps between evaluations in the simulator, on the benchmark typed beside; 0 for none."""
    save_every: int | None = None
    """Steps between states to go on from; null saves by the clock alone (save_seconds)."""
    save_seconds: float = 300.0
    """Longest time between states to go on from."""
    seed: int = 0
    """Of weights that no checkpoint gives, of the order of the data, of shifts and of dropout."""
    device: str = "auto"
    """cpu, cuda or auto; with several processes each takes its own GPU."""
    sharded: bool = False
    """With several processes: divide parameters, gradients and optimiser among them (FSDP2) in place of copies."""
    threads: int | None = None
    """CPU threads of torch; null takes all cores. Another number may change the last bits."""
    workers: int = 0
    """Processes that read and prepare windows ahead; 0 does it in between."""
    compat: Literal["intended", "released"] = "intended"
    """released repeats the original training with its quirks; see docs/training.md."""

    def __post_init__(self) -> None:
        for name in ("learning_rate", "epochs", "save_seconds", "beta", "epsilon", "lora_alpha", "backbone_rate"):
            value = getattr(self, name)
            if not (math.isfinite(value) and value > 0):
                what = "nothing would be learnt: " if name == "learning_rate" and value == 0 else ""
                raise PolicyError(f"train.{name}={value:g}: {what}a number above 0 is wanted{_EXAMPLES.get(name, '')}")
        if self.vision_rate is not None and not (math.isfinite(self.vision_rate) and self.vision_rate > 0):
            raise PolicyError(f"train.vision_rate={self.vision_rate:g}: a number above 0 is wanted, or null")
        if self.scene_frames and not (self.scene_loss or self.subject_loss):
            raise PolicyError(
                "train.scene_frames are looked at for train.scene_loss and train.subject_loss, which are 0; type one, "
                "e.g. 0.3"
            )
        if self.subject_loss and not self.scene_frames:
            raise PolicyError("train.subject_loss asks of further frames; type how many, e.g. train.scene_frames=48")
        for name in ("weight_decay", "clip", "warmup_epochs", "colour", "scene_loss", "waypoint_loss", "subject_loss"):
            value = getattr(self, name)
            if not (math.isfinite(value) and value >= 0):
                raise PolicyError(f"train.{name}={value:g}: a number of at least 0 is wanted")
        for name in ("beta1", "beta2", "min_rate", "held_out", "lora_dropout", "dropout"):
            value = getattr(self, name)
            if value is not None and not 0 <= value < 1:
                raise PolicyError(f"train.{name}={value:g}: a number from 0 up to, but not, 1 is wanted")
        for name, least in _WHOLE.items():
            value = getattr(self, name)
            if value is not None and value < least:
                raise PolicyError(f"train.{name}={value}: a whole number of at least {least} is wanted")
        if self.lora_r and self.freeze_backbone:
            raise PolicyError("train.lora_r freezes the backbone by itself; drop train.freeze_backbone")
        if self.train_decoder_layers == 0 and self.compat == "intended":
            raise PolicyError(
                "train.train_decoder_layers=0 trains all layers in the original, by a slip. Type "
                "train.freeze_backbone=true to train none, -1 for all, or train.compat=released for the slip"
            )


_EXAMPLES = {"learning_rate": ", e.g. train.learning_rate=2e-5"}
_WHOLE = {
    "batch": 1,
    "accumulate": 1,
    "warmup_steps": 0,
    "steps": 1,
    "stride": 1,
    "skip_frames": 1,
    "scene_frames": 0,
    "rgb_pad": 0,
    "gripper_pad": 0,
    "train_decoder_layers": -1,
    "lora_r": 0,
    "conversation_batch": 1,
    "validate_every": 0,
    "validation_batches": 1,
    "evaluate_every": 0,
    "save_every": 1,
    "seed": 0,
    "threads": 1,
    "workers": 0,
}

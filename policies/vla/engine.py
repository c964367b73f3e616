"""Runs the network for many slots at once and keeps each slot's history.

Work is shared where it changes nothing: an instruction is tokenised once, a frame is encoded once and kept
for as long as the window holds it, and a policy head keeps features of past frames, so that only the new
frame goes through the language model.

``exact`` runs every slot by itself, in batches of one: whatever the other slots are, the shapes and hence the
arithmetic of a slot are the same. ``fast`` runs all slots in one padded batch, which on the same weights
agrees with ``exact`` to float32 rounding (1e-5 on outputs in [-1, 1]).
"""

from __future__ import annotations

import dataclasses
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from vla_bench.policies.errors import PolicyError
from vla_bench.policies.vla.actions.chunks import TemporalEnsemble
from vla_bench.policies.vla.actions.commands import Prediction, commands
from vla_bench.policies.vla.actions.tokenizer import ActionTokens, BinClassifier
from vla_bench.policies.vla.backbones import backbone_class
from vla_bench.policies.vla.build import TINY, Built, build, compile_layers
from vla_bench.policies.vla.fusion import Frame
from vla_bench.policies.vla.generation import generate
from vla_bench.policies.vla.heads import HeadOutput
from vla_bench.policies.vla.images import BLACK
from vla_bench.policies.vla.options import VlaOptions
from vla_bench.policies.vla.prompts import prompt_ids


@dataclass(slots=True)
class Slot:
    """What is remembered of one running episode."""

    ids: Tensor
    """(T,) prompt ids."""
    text: Tensor
    """(T, d) their embeddings."""
    frames: deque[Frame]
    features: deque[Tensor]
    """(L * d,) per remembered frame, for heads that remember."""
    ensemble: TemporalEnsemble | None = None
    last: dict[str, Any] = field(default_factory=dict)
    """What the network said in the last decision, for tests and for looking into a model."""


class Engine:
    """A network, its tokenizer and its slots."""

    def __init__(self, built: Built, options: VlaOptions):
        self.model, self.tokenizer = built.model, built.tokenizer
        self.remark = built.remark
        """What has to be said of the weights."""
        self.options = options
        self.config = options.model
        self._slots: dict[int, Slot] = {}
        self._prompts: dict[str, tuple[Tensor, Tensor]] = {}
        if self.config.generates_tokens:
            self._tokens = ActionTokens.for_tokenizer(
                self.tokenizer, self.config.bins, self.config.bin_min, self.config.bin_max
            )
        self._bins = BinClassifier(self.config.bins, self.config.bin_min, self.config.bin_max)

    @classmethod
    def from_options(cls, options: VlaOptions) -> Engine:
        """Builds the network; pins the number of threads, and in exact mode the arithmetic of a GPU."""
        torch.set_num_threads(options.threads)
        if options.batching == "exact":
            torch.backends.cuda.matmul.allow_tf32 = False
            torch.backends.cudnn.allow_tf32 = False
            torch.backends.cudnn.benchmark = False
        if options.backbone_path == TINY:
            side = backbone_class(options.model.backbone).tiny_image_size()
            options = dataclasses.replace(options, model=dataclasses.replace(options.model, image_size=side))
        built = build(
            options.model,
            backbone_path=options.backbone_path,
            checkpoint=options.checkpoint,
            lora=options.lora,
            seed=options.seed,
            device=options.device,
            dtype=options.dtype,
            trust=options.trust_checkpoint,
            weights=options.weights,
            allow_missing=options.allow_missing,
            allow_unexpected=options.allow_unexpected,
        )
        graphs = options.compile == "graphs"
        if graphs and built.model.device.type != "cuda":
            raise PolicyError("vla: policy.compile=graphs needs a GPU, and none is found; type policy.compile=true")
        if options.compile:
            compile_layers(built.model, graphs=graphs)
        return cls(built, options)

    def reset(self, slot: int, instruction: str) -> None:
        """Starts a subtask in ``slot``."""
        ids, text = self.prompt(instruction)
        self._slots[slot] = Slot(
            ids,
            text,
            frames=deque(maxlen=self.config.window if self._sees_window else 1),
            features=deque(maxlen=self.config.window),
            ensemble=None if self.options.ensemble is None else TemporalEnsemble(self.options.ensemble),
        )

    @property
    def _sees_window(self) -> bool:
        """Whether the language model is shown earlier frames. The released evaluation shows a video policy,
        and one that generates tokens without history ``pre``, the newest only."""
        config = self.config
        if self.options.compat == "released" and (config.structure == "video" or not config.released_window):
            return False
        return config.structure in ("interleaved", "video")

    def act(self, slots: Sequence[int], observations: Sequence[Mapping[str, np.ndarray]]) -> list[np.ndarray]:
        """One (execute, 7) chunk of commands per slot."""
        with torch.inference_mode():
            if self.options.batching == "fast":
                predictions = self._decide([self._slots[slot] for slot in slots], observations)
            else:
                predictions = [
                    self._decide([self._slots[slot]], [observation])[0]
                    for slot, observation in zip(slots, observations, strict=True)
                ]
        chunks = []
        for slot, prediction, observation in zip(slots, predictions, observations, strict=True):
            chunks.append(
                commands(
                    prediction,
                    self.config,
                    execute=self.options.execute,
                    released=self.options.compat == "released",
                    robot_state=observation.get("robot_obs"),
                    ensemble=self._slots[slot].ensemble,
                )
            )
        return chunks

    def last(self, slot: int) -> Mapping[str, Any]:
        """What the network said in the slot's last decision: tensors by name."""
        return self._slots[slot].last

    def _decide(self, slots: Sequence[Slot], observations: Sequence[Mapping[str, np.ndarray]]) -> list[Prediction]:
        if self.options.compile == "graphs":
            torch.compiler.cudagraph_mark_step_begin()  # the last decision's tensors may be overwritten
        for slot, frame in zip(slots, self._frames(slots, observations), strict=True):
            slot.frames.append(frame)
        if self.config.generates_tokens:
            return self._generate(slots)
        if self.config.structure in ("interleaved", "video"):
            rows = [list(slot.frames) for slot in slots]
        else:
            rows = [[slot.frames[-1]] for slot in slots]
        batch = self.model.join(rows)
        hidden = self.model.hidden(batch)
        features, lengths = self.model.features(batch, hidden)
        if self.config.history_in_head:
            for slot, feature in zip(slots, features[:, 0], strict=True):
                slot.features.append(feature)
            lengths = torch.tensor([len(slot.features) for slot in slots], device=features.device)
            features = torch.nn.utils.rnn.pad_sequence(
                [torch.stack(list(slot.features)) for slot in slots], batch_first=True
            )
        for index, slot in enumerate(slots):
            slot.last = {
                "features": features[index, : lengths[index]],
                "length": int(batch.mask[index].sum()),
            }
        if self.options.compat == "released" and self.config.structure == "interleaved":
            # The released evaluation takes index 0 of the frames, the oldest.
            lengths = torch.ones_like(lengths)
        return self._predictions(slots, self.model.act_head.last(features, lengths))

    def _predictions(self, slots: Sequence[Slot], output: HeadOutput) -> list[Prediction]:
        if output.bins is not None:
            actions = self._bins.decode(output.bins[:, 0].argmax(-1).cpu().numpy())
            return [Prediction(arm=each[:, :6], gripper=each[:, 6], threshold=0.0) for each in actions]
        arm = output.arm[:, 0].float().cpu()
        opening = output.gripper[:, 0, :, 0].float().cpu()
        for slot, *said in zip(slots, arm, opening, strict=True):
            slot.last |= {"arm": said[0], "gripper_logit": said[1]}
        return [
            Prediction(arm=one.numpy(), gripper=logit.sigmoid().numpy(), threshold=0.5)
            for one, logit in zip(arm, opening, strict=True)
        ]

    def _generate(self, slots: Sequence[Slot]) -> list[Prediction]:
        released = self.options.compat == "released"
        interleaved = self.config.structure == "interleaved"
        # An interleaved policy reads its own whole chunks later; another needs only what is executed.
        chunk = 1 if released else self.config.chunk if interleaved else self.options.execute
        rows = [list(slot.frames) if interleaved else [slot.frames[-1]] for slot in slots]
        ids = generate(
            self.model,
            rows,
            7 * chunk,
            among=None if released else self._tokens,
            video=released and interleaved,
        )
        for slot, generated in zip(slots, ids, strict=True):
            slot.last = {"generated_ids": generated.cpu()}
            if interleaved and not released:
                slot.frames[-1] = self._answered(slot, generated)
        actions = self._tokens.decode(ids.cpu().numpy()).reshape(len(slots), chunk, 7)
        return [Prediction(arm=each[:, :6], gripper=each[:, 6], threshold=0.0) for each in actions]

    def _answered(self, slot: Slot, generated: Tensor) -> Frame:
        """A past frame as training shows it: the prompt, the actions, and the stop token where there is
        one."""
        frame = slot.frames[-1]
        stop = self.tokenizer.eos_token_id if self.model.adapter.trailing else None
        ids = generated if stop is None else torch.cat([generated, generated.new_tensor([stop])])
        text = torch.cat([frame.text, self.model.embed_text(ids)])
        return Frame(text, torch.ones(len(text), dtype=torch.int64, device=text.device), frame.images)

    def _frames(self, slots: Sequence[Slot], observations: Sequence[Mapping[str, np.ndarray]]) -> list[Frame]:
        recipe = self.model.adapter.pixels

        def pixels(camera: str) -> Tensor:
            size = self.config.image_side(camera)
            if self.config.blind:
                return recipe(BLACK, size).expand(len(observations), -1, -1, -1)
            return torch.stack([recipe(seen[f"rgb_{camera}"], size) for seen in observations])

        images = self.model.encode_frames(pixels("static"), pixels("gripper") if self.config.gripper_camera else None)
        states: Sequence[Tensor | None] = [None] * len(slots)
        if self.config.state_token:
            numbers = np.stack([seen["robot_obs"][list(self.config.state_numbers)] for seen in observations])
            states = list(self.model.encode_state(torch.from_numpy(numbers)))
        return [
            Frame(slot.text, torch.ones_like(slot.ids), seen, state)
            for slot, seen, state in zip(slots, images, states, strict=True)
        ]

    def prompt(self, instruction: str) -> tuple[Tensor, Tensor]:
        """An instruction's token numbers (L,) int64 and their vectors (L, d), both on the model's device."""
        if instruction not in self._prompts:
            ids = prompt_ids(
                self.model.adapter, self.tokenizer, self.config, instruction, released=self.options.compat == "released"
            )
            ids = torch.tensor(ids, dtype=torch.int64, device=self.model.device)
            with torch.inference_mode():
                self._prompts[instruction] = ids, self.model.embed_text(ids)
        return self._prompts[instruction]

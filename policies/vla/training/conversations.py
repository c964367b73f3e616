"""Vision-language data beside the robot's: LLaVA-style conversations."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from vla_bench.policies.errors import PolicyError
from vla_bench.policies.vla.backbones.contract import Backbone
from vla_bench.policies.vla.config import VlaConfig
from vla_bench.policies.vla.fusion import VISION, Frame, join
from vla_bench.policies.vla.losses import IGNORE
from vla_bench.policies.vla.model import VlaModel
from vla_bench.policies.vla.prompts import QUESTION_PROMPTS
from vla_bench.policies.vla.training.sampling import ShuffledOrder
from vla_bench.policies.vla.training.step import token_layout

IMAGE = "<image>"
_HUMAN = ("human", "user")
_MODEL = ("gpt", "assistant")


@dataclass(frozen=True, slots=True)
class ConversationBatch:
    """B conversations, each about one image or none."""

    pixels: Tensor
    """(B, 3, S, S); grey where there is no image."""
    shown: tuple[bool, ...]
    """Whether a conversation has an image."""
    texts: tuple[Tensor, ...]
    """(T,) ids of each."""
    labels: tuple[Tensor, ...]
    """(T,) the same ids where the model speaks, :data:`IGNORE` where the human does."""

    @property
    def labels_kept(self) -> int:
        """Tokens that carry loss."""
        return sum(int((each[1:] != IGNORE).sum()) for each in self.labels)

    def to(self, device: torch.device) -> ConversationBatch:
        """The same on a device."""
        return dataclasses.replace(
            self,
            pixels=self.pixels.to(device),
            texts=tuple(each.to(device) for each in self.texts),
            labels=tuple(each.to(device) for each in self.labels),
        )


@dataclass(frozen=True, slots=True)
class _Conversation:
    image: str | None
    turns: tuple[tuple[str, str], ...]
    """Question and answer, in order."""


class Conversations:
    """Conversations of a file, as batches by number."""

    def __init__(
        self, path: str, structure: VlaConfig, adapter: type[Backbone], tokenizer: Any, *, batch: int, seed: int
    ):
        self._file = _file_of(Path(path))
        self._list = _read(self._file)
        self._structure, self._adapter, self._tokenizer = structure, adapter, tokenizer
        if len(self._list) < batch:
            raise PolicyError(
                f"train.conversation_batch={batch} is larger than {self._file}, which holds {len(self._list)}"
            )
        self._order = ShuffledOrder(len(self._list), batch, seed)

    def __len__(self) -> int:
        return len(self._list)

    def batch(self, number: int, place: tuple[int, int] = (0, 1)) -> ConversationBatch:
        """A batch of the run; this process's part of it."""
        from vla_bench.policies.vla.training.reading import share

        chosen = share(self._order.batch(number)[0], *place)
        made = [self._prepared(self._list[index]) for index in chosen]
        pixels, shown, texts, labels = zip(*made, strict=True) if made else ((), (), (), ())
        size = self._structure.image_size
        stacked = torch.stack(pixels) if pixels else torch.zeros(0, 3, size, size)
        return ConversationBatch(stacked, tuple(shown), tuple(texts), tuple(labels))

    def _prepared(self, each: _Conversation) -> tuple[Tensor, bool, Tensor, Tensor]:
        size = self._structure.image_size
        pixels = torch.zeros(3, size, size)
        if each.image is not None:
            pixels = self._adapter.pixels(_picture(self._file.parent / each.image), size)
        return pixels, each.image is not None, *self.tokens(each.turns)

    def tokens(self, turns: tuple[tuple[str, str], ...]) -> tuple[Tensor, Tensor]:
        """Ids and labels of a conversation in the backbone's chat style; only answers, and the stop token
        after each, are labels."""
        tokenizer, template = self._tokenizer, QUESTION_PROMPTS[self._adapter.question_style]
        stop = [] if tokenizer.eos_token_id is None else [tokenizer.eos_token_id]
        ids: list[int] = []
        labels: list[int] = []
        if self._adapter.leading and tokenizer.bos_token_id is not None:
            ids, labels = [tokenizer.bos_token_id], [IGNORE]
        for question, answer in turns:
            asked = tokenizer(template.format(question=question, eos=""), add_special_tokens=False).input_ids
            said = [*tokenizer(answer, add_special_tokens=False).input_ids, *stop]
            ids += [*asked, *said]
            labels += [IGNORE] * len(asked) + said
        return torch.tensor(ids), torch.tensor(labels)


def conversation_loss(model: VlaModel, batch: ConversationBatch) -> Tensor:
    """Cross-entropy of the answers' tokens, a mean over them all."""
    if not batch.texts:
        return model.embed_text(torch.zeros(1, dtype=torch.int64)).sum() * 0.0
    images = model.encode_frames(batch.pixels)
    rows = []
    for index, ids in enumerate(batch.texts):
        seen = images[index] if batch.shown[index] or model.adapter.cross_attention else images[index][:, :0]
        rows.append([Frame(model.embed_text(ids), torch.ones_like(ids), seen)])
    made = join(rows, token_layout(model), None)
    logits = model.adapter.logits(model.hidden(made))
    labels = torch.full(made.kinds.shape, IGNORE, dtype=torch.int64, device=logits.device)
    labels[(made.kinds != VISION) & (made.kinds >= 0)] = torch.cat(batch.labels).to(logits.device)
    return functional.cross_entropy(logits[:, :-1].flatten(0, 1), labels[:, 1:].flatten(), ignore_index=IGNORE)


def _file_of(path: Path) -> Path:
    if path.is_dir():
        found = sorted(path.glob("*.json"))
        if len(found) != 1:
            raise PolicyError(
                f"train.conversations={path}: the folder holds {len(found)} .json files; give the path of one"
            )
        return found[0]
    if not path.is_file():
        raise PolicyError(f"train.conversations={path}: there is no such file or folder")
    return path


def _read(path: Path) -> list[_Conversation]:
    try:
        entries = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise PolicyError(f"train.conversations={path} is not JSON ({error})") from None
    if not isinstance(entries, list) or not entries:
        raise PolicyError(f"train.conversations={path} must hold a list of conversations")
    return [_conversation(path, number, entry) for number, entry in enumerate(entries)]


def _conversation(path: Path, number: int, entry: Any) -> _Conversation:
    where = f"train.conversations={path}: entry {number}"
    try:
        turns = [(str(turn["from"]).lower(), str(turn["value"])) for turn in entry["conversations"]]
        image = entry.get("image")
    except (TypeError, KeyError, AttributeError):
        raise PolicyError(f'{where} must have "conversations": a list of {{"from": ..., "value": ...}}') from None
    asked, said = turns[0::2], turns[1::2]
    if not turns or len(asked) != len(said) or any(who not in _HUMAN for who, _ in asked):
        raise PolicyError(f"{where} must go human, gpt, human, gpt, and so on")
    if any(who not in _MODEL for who, _ in said):
        raise PolicyError(f"{where} must go human, gpt, human, gpt, and so on")
    if image is not None and not (path.parent / str(image)).is_file():
        raise PolicyError(f"{where} names {image}, which is not in {path.parent}")
    pairs = tuple(
        (question.replace(IMAGE, "").strip(), answer.strip())
        for (_, question), (_, answer) in zip(asked, said, strict=True)
    )
    return _Conversation(None if image is None else str(image), pairs)


def _picture(path: Path) -> np.ndarray:
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(path) as opened:
            return np.array(opened.convert("RGB"))
    except (OSError, UnidentifiedImageError) as error:
        raise PolicyError(f"{path} cannot be read as an image ({error})") from None

"""Tokenizers: from a folder, or a byte-level one made on the spot."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from vla_bench.policies.errors import PolicyError


def byte_tokenizer() -> Any:
    """A tokenizer of 256 bytes and four specials (``<s>`` 0, ``<pad>`` 1, ``</s>`` 2, ``<unk>`` 3).

    Adds ``<s>`` and ``</s>`` around a text. Needs no file, so that a tiny random policy can be built
    anywhere. Unused entries fill it up to 576, so that 256 action tokens fit at its tail.
    """
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    specials = ["<s>", "<pad>", "</s>", "<unk>"]
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    unused = [f"<unused{index}>" for index in range(576 - len(specials) - len(alphabet))]
    vocabulary = {token: index for index, token in enumerate(specials + alphabet + unused)}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[], unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", special_tokens=[("<s>", 0), ("</s>", 2)]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token="<s>", eos_token="</s>", pad_token="<pad>", unk_token="<unk>"
    )


def word_tokenizer(words: Iterable[str], size: int = 2048) -> Any:
    """A tokenizer that knows some words whole and spells all others by the bytes after the longest known beginning.

    Made on the spot, without a file: a byte-level BPE whose merges grow each word from its first letter, so that
    their order cannot matter. Specials are those of :func:`byte_tokenizer`; ``size`` entries in all, the last of
    which stay unused for action tokens.

    Raises:
        ValueError: ``size`` leaves no room for 256 action tokens.
    """
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    specials = ["<s>", "<pad>", "</s>", "<unk>"]
    entries = specials + sorted(pre_tokenizers.ByteLevel.alphabet())
    merges: dict[tuple[str, str], None] = {}
    for word in sorted(set(words)):
        grown = _SPACE
        for letter in word:
            merges[grown, letter] = None
            grown += letter
    entries += [before + letter for before, letter in merges]
    if len(entries) + _TAIL > size:
        raise ValueError(f"{len(entries)} entries leave no room for action tokens among {size}")
    entries += [f"<unused{index}>" for index in range(size - len(entries))]
    vocabulary = {token: index for index, token in enumerate(entries)}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=list(merges), unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", special_tokens=[("<s>", 0), ("</s>", 2)]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token="<s>", eos_token="</s>", pad_token="<pad>", unk_token="<unk>"
    )


_SPACE = "\u0120"
"""How byte-level tokenizers write the space before a word."""
_TAIL = 280
"""256 action tokens, the ten entries after them, and the specials."""


def load_tokenizer(path: str | Path) -> Any:
    """The tokenizer in a folder or on the hub.

    A folder whose ``tokenizer.json`` was written by an old release is read directly, with the special
    tokens of ``special_tokens_map.json``: its ``tokenizer_config.json`` names classes that are gone.
    """
    from transformers import AutoTokenizer, PreTrainedTokenizerFast

    folder = Path(path)
    specials = folder / "special_tokens_map.json"
    if (folder / "tokenizer.json").is_file() and specials.is_file():
        named = {
            name: token["content"] if isinstance(token, dict) else token
            for name, token in json.loads(specials.read_text()).items()
            if isinstance(token, str | dict)
        }
        return PreTrainedTokenizerFast(tokenizer_file=str(folder / "tokenizer.json"), **named)
    try:
        return AutoTokenizer.from_pretrained(str(path))
    except (OSError, ValueError) as error:
        raise PolicyError(
            f"vla: no tokenizer at {path} ({str(error).splitlines()[0]}); give a folder that holds "
            "tokenizer.json "
            "as backbone_path=..."
        ) from None

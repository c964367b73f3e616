"""What becomes of an instruction: other sentences that mean the same, slips of typing, or another task's."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

import numpy as np

SYNONYMS: Mapping[str, tuple[str, ...]] = {
    "pick up": ("take", "lift"),
    "grasp": ("grab", "take hold of"),
    "pick": ("take",),
    "lift": ("raise",),
    "push": ("shove",),
    "press": ("push",),
    "slide": ("shove",),
    "move": ("shift",),
    "rotate": ("turn",),
    "turn": ("rotate",),
    "open": ("pull open",),
    "close": ("shut",),
    "store": ("put",),
    "put": ("place",),
    "place": ("put",),
    "take": ("get",),
    "get": ("take",),
    "drop": ("put",),
    "collapse": ("take apart",),
    "toggle": ("flip",),
    "block": ("cube",),
    "drawer": ("tray",),
    "cabinet": ("cupboard",),
    "lever": ("handle",),
    "lightbulb": ("lamp",),
    "light bulb": ("lamp",),
    "bulb": ("lamp",),
    "table": ("tabletop",),
    "slowly": ("gently",),
}
"""By word: what may stand in its place. One that begins a two-word verb stays (``turn on``, ``put out``)."""
_PARTICLES = ("on", "off", "out")
POLITE = ("please {}", "could you {} please", "can you {} for me", "i would like you to {}", "robot, please {}")
_NEIGHBOURS = {
    **{"q": "wa", "w": "qes", "e": "wrd", "r": "etf", "t": "ryg", "y": "tuh", "u": "yij", "i": "uok", "o": "ipl"},
    **{"p": "ol", "a": "qsz", "s": "awdx", "d": "sefc", "f": "drgv", "g": "fthb", "h": "gyjn", "j": "hukm"},
    **{"k": "jil", "l": "kop", "z": "asx", "x": "zsdc", "c": "xdfv", "v": "cfgb", "b": "vghn", "n": "bhjm", "m": "njk"},
}
"""Letters beside each on a keyboard (QWERTY)."""


def synonyms(text: str, generator: np.random.Generator) -> str:
    """The sentence with every word that has one replaced by a synonym."""
    keys = sorted(SYNONYMS, key=len, reverse=True)
    pattern = re.compile(rf"\b({'|'.join(map(re.escape, keys))})\b(?! (?:{'|'.join(_PARTICLES)})\b)")

    def other(found: re.Match[str]) -> str:
        choices = SYNONYMS[found[0]]
        return choices[generator.integers(len(choices))]

    return pattern.sub(other, text)


def polite(text: str, generator: np.random.Generator) -> str:
    """The sentence as a request."""
    return POLITE[generator.integers(len(POLITE))].format(text.rstrip(".!"))


def reordered(text: str) -> str:
    """The sentence with its object first, all words kept: ``the red block lift``.

    What begins with the first article is put before the rest; a sentence without one begins with its second half.
    """
    words = text.split()
    place = next((i for i, word in enumerate(words) if word in ("the", "a", "an") and i), len(words) // 2)
    return " ".join([*words[place:], *words[:place]])


def with_typos(text: str, share: float, generator: np.random.Generator) -> str:
    """The sentence with one slip (two letters swapped, one left out, doubled, or that of a key beside) in about
    ``share`` of its words of three letters or more."""
    return " ".join(
        _slip(word, generator) if generator.random() < share and len(word) > 2 and word.isalpha() else word
        for word in text.split()
    )


def _slip(word: str, generator: np.random.Generator) -> str:
    place = int(generator.integers(len(word) - 1))
    kind = int(generator.integers(4))
    if kind == 0 and word[place] != word[place + 1]:
        return word[:place] + word[place + 1] + word[place] + word[place + 2 :]
    if kind == 1:
        return word[:place] + word[place + 1 :]
    beside = _NEIGHBOURS.get(word[place].lower(), "")
    if kind == 2 and beside:
        return word[:place] + beside[generator.integers(len(beside))] + word[place + 1 :]
    return word[:place] + word[place] * 2 + word[place + 1 :]


def another(task: str, text: str, texts: Mapping[str, str], generator: np.random.Generator) -> str:
    """The instruction of another task, drawn from ``texts`` by task; one that says something else."""
    others = [each for name, each in sorted(texts.items()) if name != task and each != text]
    if not others:
        raise ValueError(f"{task!r} is the only task: there is no other's instruction")
    return others[generator.integers(len(others))]


def sentence(text: str, sentences: Sequence[str], generator: np.random.Generator) -> str:
    """One of ``sentences`` that is not ``text``."""
    others = [each for each in sentences if each != text]
    return others[generator.integers(len(others))] if others else text

"""Versions of the packages that may change a number, as the process that is asked has them."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Iterable

ENGINE = ("numpy", "scipy", "gymnasium", "pillow", "ray", "pyarrow", "hydra-core")
"""What every run goes through."""
LEARNED = ("torch", "transformers", "tokenizers", "peft", "safetensors")
"""What learned policies are made with."""


def versions(names: Iterable[str]) -> dict[str, str | None]:
    """The version of each; None for one that is not installed here."""
    found: dict[str, str | None] = {}
    for name in dict.fromkeys(names):
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            found[name] = None
    return found

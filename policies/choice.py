"""Which policy, as plain data that any process can be told."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class PolicyChoice:
    """How any process builds the policy."""

    target: str
    """A registry name (``stub``, ``expert``) or the path of a class (``my_module:MyPolicy``)."""
    arguments: Mapping[str, Any] = field(default_factory=dict)
    """Keyword arguments of its constructor; plain data."""

"""Benchmark families: what of a benchmark is particular to its simulator, one module each.

family.py   the contract
others      the built-in families; an installed package adds its own through the entry-point groups
            ``vla_bench.families`` (a :class:`~vla_bench.bench.families.family.Family`) and
            ``vla_bench.environments`` (the module of its environment)
"""

from __future__ import annotations

import importlib
import importlib.metadata
from collections.abc import Iterator, Mapping
from dataclasses import fields
from functools import cache

from vla_bench.bench.errors import ConfigError, suggestion
from vla_bench.bench.families.family import BenchmarkConfig, Family

BUILT_IN: Mapping[str, str] = {
    "calvin": "vla_bench.bench.families.calvin:FAMILY",
    "simpler": "vla_bench.bench.families.simpler:FAMILY",
    "fake": "vla_bench.bench.families.fake:FAMILY",
}
"""The families of this repository; found in a checkout that is not installed, too."""
DEFAULT = "calvin"
"""Of a configuration that names none."""
ENTRY_POINTS = "vla_bench.families"
"""Entry-point group in which an installed package names its families."""


def family_names() -> list[str]:
    """The families there are, built-in ones first."""
    return [*BUILT_IN, *(name for name in _installed() if name not in BUILT_IN)]


def find_family(name: str) -> Family:
    """The family of that name. ConfigError: there is none, or its package cannot be loaded."""
    path = BUILT_IN.get(name) or _installed().get(name)
    if path is None:
        known = family_names()
        raise ConfigError(
            f"benchmark.family={name}: there is no such family.{suggestion(name, known)} Families: {', '.join(known)}; "
            f"a package adds one through the entry-point group {ENTRY_POINTS}"
        )
    return _load(name, path)


def known_family(name: object) -> Family | None:
    """The family of that name; None where it is not installed, which reading its result sets does not need."""
    try:
        return find_family(name) if isinstance(name, str) else None
    except ConfigError:
        return None


def families() -> Iterator[Family]:
    """All families that can be loaded, built-in ones first."""
    for name in family_names():
        if (family := known_family(name)) is not None:
            yield family


def _installed() -> dict[str, str]:
    return {point.name: point.value for point in importlib.metadata.entry_points(group=ENTRY_POINTS)}


@cache
def _load(name: str, path: str) -> Family:
    module, _, attribute = path.partition(":")
    try:
        found = getattr(importlib.import_module(module), attribute)
    except Exception as error:
        why = f"{type(error).__name__}: {error}"
        raise ConfigError(
            f"the family {name!r} ({path}) cannot be loaded: {why}. Mend its package, or remove it"
        ) from error
    if not isinstance(found, Family) or found.name != name:
        what = found.name if isinstance(found, Family) else type(found).__name__
        raise ConfigError(f"the entry point {name!r} of {ENTRY_POINTS} ({path}) must be a Family of that name: {what}")
    common = {each.name for each in fields(BenchmarkConfig)}
    if both := sorted(common & {each.name for each in fields(found.options)}):
        raise ConfigError(f"the family {name!r} has an option {both[0]!r}, as every benchmark has; call it otherwise")
    return found

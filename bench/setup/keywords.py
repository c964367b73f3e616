"""A run's configuration from Python's keywords: the same fields, presets and errors as on the command line."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping
from typing import Any

from vla_bench.bench import families
from vla_bench.bench.errors import ConfigError, suggestion
from vla_bench.bench.families.family import fields_of
from vla_bench.bench.setup.config import GROUPS, Config, RunConfig, config_from_plain, unknown_option
from vla_bench.bench.setup.presets import check_meant, compose_words


def config_from_keywords(
    policy: str, benchmark: str, arguments: Mapping[str, Any], fields: Mapping[str, Any], *, target: str = ""
) -> Config:
    """The configuration of a policy on a benchmark.

    Args:
        policy: a preset, a registered name or a class path, as typed after ``policy=``.
        benchmark: a preset or an installed family, as typed after ``benchmark=``; empty: the one without such a word.
        arguments: of the policy's class, over those of the preset.
        fields: of ``benchmark`` and ``run``, by name.
        target: in place of the policy's class, one that is not found by a name.

    Raises:
        ConfigError: as on the command line; names the field and the nearest valid one.
    """
    chosen = "policy._target_=not.typed" if target else f"policy={policy}"  # a target may hold what no word can
    plain, _ = compose_words([*([f"benchmark={benchmark}"] if benchmark else []), chosen], GROUPS)
    family = families.find_family(plain["benchmark"].get("family") or families.DEFAULT)
    run = [each.name for each in dataclasses.fields(RunConfig)]
    own = [name for name in fields_of(family) if name != "options"]
    typed: list[str] = []
    for name, value in fields.items():
        group = "run" if name in run else "benchmark"
        if group == "benchmark" and name not in own:
            if name in family.unused:
                raise ConfigError(unknown_option(family, name))
            hint = suggestion(name, [*own, *run, "policy", "benchmark", "arguments", "progress"])
            raise ConfigError(
                f"evaluate() has no field {name!r}.{hint} Fields of benchmark: {', '.join(own)}; of run: "
                f"{', '.join(run)}; "
                "those of the policy's class go into arguments={...}"
            )
        plain[group] = {**(plain.get(group) or {}), name: as_plain(value)}
        typed += [name] if group == "benchmark" else []
    plain["policy"] = _merged(plain.get("policy") or {}, as_plain(arguments))
    if target:
        plain["policy"]["_target_"] = target
    config = config_from_plain(plain)
    check_meant(config.benchmark, family, typed)
    return config


def as_plain(value: Any) -> Any:
    """As YAML's own types: paths are text, NumPy's numbers are numbers, tuples are lists."""
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if isinstance(value, Mapping):
        return {str(name): as_plain(each) for name, each in value.items()}
    if isinstance(value, list | tuple | range):
        return [as_plain(each) for each in value]
    item = getattr(value, "item", None)
    return item() if callable(item) and getattr(value, "ndim", None) == 0 else value


def _merged(under: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """Field by field, also within mappings, as dots do on the command line."""
    made = dict(under)
    for name, value in over.items():
        below = made.get(name)
        nested = isinstance(below, Mapping) and isinstance(value, Mapping)
        made[name] = _merged(below or {}, value) if nested else value
    return made

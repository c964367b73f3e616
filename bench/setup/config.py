"""The configuration of a run as frozen dataclasses: every field, its type, its default, its meaning.

This is the only place of a default. Presets under ``configs/`` state what differs from here, the
command line what differs from the preset (:mod:`vla_bench.bench.setup.presets`). The first docstring under a field
is its help text.
"""

from __future__ import annotations

import ast
import dataclasses
import inspect
import math
import types
import typing
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from vla_bench.bench import families
from vla_bench.bench.errors import ConfigError, suggestion
from vla_bench.bench.families.family import BenchmarkConfig, Family, fields_of
from vla_bench.bench.setup.run_config import RunConfig
from vla_bench.envs.stress.levels import Stress


@dataclass(frozen=True, slots=True)
class PolicyConfig:
    """What decides. Every field but these two is handed to the policy as a keyword argument."""

    target: str = "stub"
    """Typed policy._target_=: a registered name, or your class as package.module.Class."""
    arguments: Mapping[str, Any] = field(default_factory=dict)
    """Typed policy.<argument>=: keyword arguments of the class."""


@dataclass(frozen=True, slots=True)
class Config:
    """A whole run."""

    benchmark: BenchmarkConfig = field(default_factory=lambda: benchmark_from_plain({}))
    policy: PolicyConfig = field(default_factory=PolicyConfig)
    run: RunConfig = field(default_factory=RunConfig)
    stress: Stress = field(default_factory=Stress)
    """What is changed of the benchmark; nothing unless typed."""


GROUPS = {"benchmark": BenchmarkConfig, "policy": PolicyConfig, "run": RunConfig, "stress": Stress}


def config_from_plain(plain: Mapping[str, Any]) -> Config:
    """Builds the configuration from nested plain data, refusing whatever is unknown or mistyped.

    Args:
        plain: ``{"benchmark": {...}, "policy": {...}, "run": {...}}``; what is left out takes the
            default. The policy's ``_target_`` names it, its other keys are its arguments.

    Raises:
        ConfigError: names the field, what was wrong with it, and the nearest valid name or value.
    """
    for name in plain:
        if name not in GROUPS:
            raise ConfigError(f"there is no group {name!r}; groups are {', '.join(GROUPS)}.{suggestion(name, GROUPS)}")
    policy = dict(plain.get("policy") or {})
    target = policy.pop("_target_", PolicyConfig().target)
    return Config(
        benchmark=benchmark_from_plain(plain.get("benchmark") or {}),
        policy=build(PolicyConfig, {"target": target, "arguments": policy}, "policy"),
        run=build(RunConfig, plain.get("run") or {}, "run"),
        stress=build(Stress, plain.get("stress") or {}, "stress"),
    )


def benchmark_from_plain(plain: Mapping[str, Any]) -> BenchmarkConfig:
    """What is evaluated, from what is typed: common fields and the family's own, side by side.

    Raises:
        ConfigError: see :func:`config_from_plain`.
    """
    own = plain.get("options", {})
    if not isinstance(own, Mapping):
        raise ConfigError(f"benchmark.options={_shown(own)}: named values are wanted, e.g. benchmark.<name>=<value>")
    _check_finite(own, "benchmark.options")
    typed = {name: value for name, value in plain.items() if name != "options"}
    named = typed.pop("family", None) or families.DEFAULT
    family = families.find_family(_convert(named, str, "benchmark.family"))
    known = fields_of(family)
    hints = {**typing.get_type_hints(BenchmarkConfig), **typing.get_type_hints(family.options)}
    for name in (*typed, *own):
        if name not in known or (name in own and not _is_own(name, family)):
            raise ConfigError(unknown_option(family, str(name)))
    values = {name: _convert(value, hints[name], f"benchmark.{name}") for name, value in (typed | dict(own)).items()}
    kind = values.pop("kind", family.kinds[0])
    if kind not in family.kinds:
        raise ConfigError(
            f"benchmark.kind={kind}: {family.title or family.name} has "
            f"{'single tasks' if family.kinds == ('tasks',) else ', '.join(family.kinds)}; "
            f"type benchmark.kind={family.kinds[0]}"
        )
    common = {name: values.pop(name) for name in list(values) if not _is_own(name, family)}
    made = BenchmarkConfig(
        **{"step_limit": family.step_limit, **common},
        family=family.name,
        kind=kind,
        options=family.options(**values),
    )
    family.check(made)
    return made


def _is_own(name: str, family: Family) -> bool:
    return name in {each.name for each in dataclasses.fields(family.options)}


def unknown_option(family: Family, name: str) -> str:
    """The message for something typed of a benchmark whose family does not have it."""
    title = family.title or family.name
    if name in family.unused:
        return f"benchmark.{name} has no meaning in {title}: {family.unused[name]}"
    known = list(fields_of(family))
    return f"benchmark has no field {name!r} in {title}.{suggestion(name, known)} Its fields: {', '.join(known)}"


def config_to_plain(config: Config) -> dict[str, Any]:
    """The inverse of :func:`config_from_plain`, as JSON's own types: every field; of stress those changed."""
    from vla_bench.bench.protocol import to_plain

    plain = to_plain(config)
    plain["benchmark"] |= plain["benchmark"].pop("options") or {}
    plain["policy"] = {"_target_": config.policy.target, **plain["policy"]["arguments"]}
    usual = to_plain(Stress())
    plain["stress"] = {name: value for name, value in plain["stress"].items() if value != usual[name]}
    if not plain["stress"]:
        del plain["stress"]
    return plain


def build(cls: type, values: Mapping[str, Any], where: str) -> Any:
    """The dataclass of these values, each converted to its field's type; ``where`` stands before their names.

    ConfigError: names the field and what was wrong with it.
    """
    known = [f.name for f in dataclasses.fields(cls)]
    types_of = typing.get_type_hints(cls)
    for name in values:
        if name not in known:
            raise ConfigError(unknown_field(where, str(name), {where: cls}))
    return cls(
        **{name: _convert(value, types_of[name], f"{where}.{name}".lstrip(".")) for name, value in values.items()}
    )


def unknown_field(group: str, name: str, groups: Mapping[str, type] | None = None) -> str:
    """The message for a field that the group does not have."""
    known = [f.name for f in dataclasses.fields((groups or GROUPS)[group])]
    return f"{group} has no field {name!r}.{suggestion(name, known)} Its fields: {', '.join(known)}"


def _convert(value: Any, kind: Any, where: str) -> Any:
    """``value`` as ``kind``, or a ConfigError; numbers are never made from text or from booleans."""
    origin = typing.get_origin(kind)
    if kind is Any:
        _check_finite(value, where)
        return value
    if origin is Literal:
        choices = typing.get_args(kind)
        if value not in choices:
            hint = suggestion(str(value), choices)
            raise ConfigError(f"{where}={_shown(value)} is not one of {', '.join(map(str, choices))}.{hint}")
        return value
    if origin is types.UnionType:
        if value is None:
            return None
        (kind,) = (each for each in typing.get_args(kind) if each is not types.NoneType)
        return _convert(value, kind, where)
    if origin is tuple:
        if isinstance(value, str):
            value = () if value in ("", "all") and not where.endswith("scenes") else (value,)
        if not isinstance(value, list | tuple):
            raise ConfigError(f"{where}={_shown(value)}: a comma-separated list is wanted, e.g. {where}=A,B")
        (item_kind, *_) = typing.get_args(kind)
        return tuple(_convert(item, item_kind, where) for item in value)
    if origin is Mapping:
        if not isinstance(value, Mapping):
            raise ConfigError(f"{where}={_shown(value)}: named values are wanted, e.g. {where}.<name>=<value>")
        for key, item in value.items():
            _check_finite(item, f"{where.removesuffix('.arguments')}.{key}")
        return {str(key): item for key, item in value.items()}
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if kind is str and isinstance(value, int | float) and not isinstance(value, bool):
        return str(value)
    if not isinstance(value, kind) or (kind is not bool and isinstance(value, bool)):
        wanted = {int: "a whole number", float: "a number", bool: "true or false", str: "text"}
        raise ConfigError(f"{where}={_shown(value)}: {wanted.get(kind, kind.__name__)} is wanted")
    return value


def _check_finite(value: Any, where: str) -> None:
    """NaN and infinity have no place in JSON, in which a run is written down."""
    if isinstance(value, float) and not math.isfinite(value):
        raise ConfigError(f"{where}={value}: a finite number is wanted")
    if isinstance(value, Mapping | list | tuple):
        for key, item in value.items() if isinstance(value, Mapping) else enumerate(value):
            _check_finite(item, f"{where}.{key}")


def _shown(value: Any) -> str:
    return "null" if value is None else str(value)


@dataclass(frozen=True, slots=True)
class FieldHelp:
    """One line of help on one field."""

    name: str
    default: str
    choices: tuple[str, ...]
    text: str


def field_help(cls: type) -> list[FieldHelp]:
    """Every field of a configuration dataclass with its default, its choices and its docstring."""
    (tree,) = ast.parse(inspect.getsource(cls)).body
    assert isinstance(tree, ast.ClassDef)
    texts: dict[str, str] = {}
    for statement, following in zip(tree.body, tree.body[1:], strict=False):
        if isinstance(statement, ast.AnnAssign) and isinstance(following, ast.Expr):
            assert isinstance(statement.target, ast.Name) and isinstance(following.value, ast.Constant)
            texts[statement.target.id] = inspect.cleandoc(str(following.value.value))
    hints = typing.get_type_hints(cls)
    return [
        FieldHelp(
            name=f.name,
            default=_typed(f.default if f.default is not dataclasses.MISSING else _made(f.default_factory)),
            choices=typing.get_args(hints[f.name]) if typing.get_origin(hints[f.name]) is Literal else (),
            text=texts.get(f.name, ""),
        )
        for f in dataclasses.fields(cls)
    ]


def _made(factory: Callable[[], Any] | Any) -> Any:
    return factory()


def _typed(value: Any) -> str:
    """A default as one would type it."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple):
        return ",".join(value) or "all"
    return str(value) if value != {} else ""

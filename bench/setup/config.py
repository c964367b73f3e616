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
import re
import types
import typing
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from vla_bench.bench import families
from vla_bench.bench.errors import ConfigError, at_least, suggestion
from vla_bench.bench.families.family import BenchmarkConfig, Family, fields_of

LONGEST_DEADLINE = 1e6
"""Seconds; nobody waits for longer."""


@dataclass(frozen=True, slots=True)
class PolicyConfig:
    """What decides. Every field but these two is handed to the policy as a keyword argument."""

    target: str = "stub"
    """Typed policy._target_=: a registered name, or your class as package.module.Class."""
    arguments: Mapping[str, Any] = field(default_factory=dict)
    """Typed policy.<argument>=: keyword arguments of the class."""


@dataclass(frozen=True, slots=True)
class RunConfig:
    """How and where it is run. Only ``seed`` can change a number; the rest may change between tries."""

    seed: int = 0
    """Seed of the run; stochastic policies draw from it, per episode and subtask."""
    name: str | None = None
    """Name of the run's folder; null makes one from benchmark, policy and seed."""
    results: str = "results"
    """Folder under which the run's folder is made, relative to where you are."""
    overwrite: bool = False
    """Start afresh, discarding what the run's folder holds."""
    extend: bool = False
    """Add sequences, rollouts, tasks or scenes to the result set in run.name, which is a part of this run."""
    same_policy: bool = False
    """Go on although the policy's code or files have changed since; every table says so."""
    only: tuple[str, ...] = ()
    """Run these episodes alone, e.g. seq-0007, seq-0000..seq-0499 or 0..499; all: whatever is missing."""
    workers: int | None = None
    """Simulations at once; null takes one per core of this machine."""
    backend: Literal["ray", "local", "inline"] = "ray"
    """ray: actors, on one machine or many; local: plain processes, starts faster; inline: here, for breakpoints."""
    address: str | None = None
    """Ray cluster to join, e.g. auto or ray://head:10001; null starts Ray here."""
    show_output: bool = False
    """Show what the policy and its workers print; it is kept in the run's folder, in logs/, anyway."""
    max_attempts: int = 3
    """Tries of an episode that crashes or hangs before it is reported as an error."""
    max_error_rate: float = 0.02
    """Share of episodes that may end in an error before the run is given up (exit code 2)."""
    step_deadline: float | None = None
    """Seconds without a control step before a worker is taken for hung; null learns it from the first."""
    decision_deadline: float | None = None
    """Seconds for one decision of the policy; null learns it from the first."""
    start_deadline: float = 300.0
    """Seconds to build the simulation and the policy."""
    inference: Literal["auto", "child", "server"] = "auto"
    """child: each worker has a policy; server: one for a machine's workers; auto: child where it can work."""
    servers: int = 1
    """Policy servers of each machine; with several, each has one of its GPUs."""
    gpu_share: float = 0.0
    """Share of a GPU that each worker reserves with Ray, e.g. 0.1 for ten to a GPU; 0 reserves none."""
    stop_width: float | None = None
    """End early when the 95 % interval of the average chain length is no wider than this; null never does."""
    tracking: Literal["none", "tensorboard", "wandb"] = "none"
    """Experiment tracker that gets the summary too."""
    video: str = "none"
    """Clips of the episodes, made after the run: none, failures, all or first_<n>, e.g. first_20."""
    recycle_mb: int = 0
    """Resident megabytes above which a worker is replaced between episodes; 0 means never."""

    def __post_init__(self) -> None:
        if self.workers is not None:
            at_least("run.workers", self.workers, 1)
        at_least("run.seed", self.seed, 0)
        at_least("run.max_attempts", self.max_attempts, 1)
        at_least("run.recycle_mb", self.recycle_mb, 0)
        at_least("run.servers", self.servers, 1)
        if self.stop_width is not None and not self.stop_width > 0:
            raise ConfigError(f"run.stop_width: a number of subtasks above 0, got {self.stop_width}")
        if not re.fullmatch(r"none|failures|all|first_[1-9][0-9]{0,6}", self.video):
            raise ConfigError(f"run.video: none, failures, all or first_<n>, e.g. first_20; got {self.video!r}")
        if self.servers > 1 and self.inference != "server":
            raise ConfigError("run.servers counts policy servers; type run.inference=server as well")
        if not (0 <= self.gpu_share <= 1 or (self.gpu_share > 0 and self.gpu_share.is_integer())):
            raise ConfigError(f"run.gpu_share: a share of 1, or a number of whole GPUs, got {self.gpu_share}")
        if self.backend == "inline" and ((self.workers or 1) > 1 or self.inference == "server"):
            raise ConfigError("run.backend=inline has one worker and its policy, in this process; drop the rest")
        if self.gpu_share and self.backend != "ray":
            raise ConfigError("run.gpu_share is reserved with Ray; drop it, or type run.backend=ray")
        if self.gpu_share and self.servers > 1:
            raise ConfigError("with run.gpu_share every GPU has a policy server of its own; drop run.servers")
        for name in ("step_deadline", "decision_deadline", "start_deadline"):
            seconds = getattr(self, name)
            if seconds is not None and not 0 < seconds <= LONGEST_DEADLINE:
                raise ConfigError(
                    f"run.{name}: must be more than 0 seconds and at most {LONGEST_DEADLINE:g}, got {seconds}"
                )
        if not 0 <= self.max_error_rate <= 1:
            raise ConfigError(f"run.max_error_rate: a share between 0 and 1, got {self.max_error_rate}")
        if self.extend and self.overwrite:
            raise ConfigError("run.extend keeps what run.overwrite discards; drop one of them")
        if self.extend and self.name is None:
            raise ConfigError("run.extend adds to a result set that is there; say which: run.name=<folder>")
        if self.address is not None and self.backend != "ray":
            raise ConfigError("run.address names a Ray cluster; drop it, or type run.backend=ray")
        if self.address is not None and self.workers is None:
            raise ConfigError("run.address joins a cluster; say how many simulations it shall run: run.workers=<n>")
        if self.name is not None and not _is_folder_name(self.name):
            raise ConfigError(f"run.name={self.name!r}: a plain folder name; run.results= says where it is made")


@dataclass(frozen=True, slots=True)
class Config:
    """A whole run."""

    benchmark: BenchmarkConfig = field(default_factory=lambda: benchmark_from_plain({}))
    policy: PolicyConfig = field(default_factory=PolicyConfig)
    run: RunConfig = field(default_factory=RunConfig)


GROUPS = {"benchmark": BenchmarkConfig, "policy": PolicyConfig, "run": RunConfig}


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
    """The inverse of :func:`config_from_plain`, every field spelled out, as JSON's own types."""
    from vla_bench.bench.protocol import to_plain

    plain = to_plain(config)
    plain["benchmark"] |= plain["benchmark"].pop("options") or {}
    plain["policy"] = {"_target_": config.policy.target, **plain["policy"]["arguments"]}
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


def _is_folder_name(name: str) -> bool:
    """Whether a file system takes it as one name, and it stays where it is put."""
    plain = name.isprintable() and "/" not in name and not name.startswith(".")
    return bool(name) and plain and len(name.encode()) <= 200


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

"""The presets under ``configs/`` and what is typed on top of them, composed into a configuration.

Hydra composes; it is imported only when a run is really asked for, and none of its own types get
past this module.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from dataclasses import fields as fields_of
from pathlib import Path
from typing import Any

from vla_bench.bench import families
from vla_bench.bench.errors import ConfigError, suggestion
from vla_bench.bench.families.family import BenchmarkConfig, Family
from vla_bench.bench.families.family import fields_of as fields_of_family
from vla_bench.bench.setup.blind import blinded
from vla_bench.bench.setup.config import GROUPS, Config, config_from_plain, unknown_field, unknown_option

FOLDER = Path(__file__).resolve().parents[2] / "configs"


@dataclass(frozen=True, slots=True)
class Preset:
    """One choice of a group and the first comment line of its file."""

    group: str
    name: str
    text: str


def presets(group: str) -> list[Preset]:
    """The choices of a group, in the order of their names."""
    found = sorted((FOLDER / group).glob("*.yaml"))
    if not found:
        raise ConfigError(f"there are no presets in {FOLDER / group}; run from a complete checkout")
    return [Preset(group, path.stem, _header(path)) for path in found]


def _header(path: Path) -> str:
    with path.open(encoding="utf-8") as file:
        line = file.readline()
    return line.removeprefix("#").strip() if line.startswith("#") else ""


def load_config(typed: Sequence[str]) -> Config:
    """The configuration of the defaults, the chosen presets and the fields typed, in that order.

    Args:
        typed: ``group=preset`` and ``group.field=value``, as on the command line.

    Raises:
        ConfigError: something typed is unknown or malformed; names the nearest valid one.
    """
    plain, words = compose_words(typed, GROUPS)
    config = config_from_plain(plain)
    typed_here = [word.field for word in words if word.key == "benchmark"]
    check_meant(config.benchmark, families.find_family(config.benchmark.family), typed_here)
    return config


def compose_words(typed: Sequence[str], groups: Mapping[str, type]) -> tuple[dict[str, Any], list[Word]]:
    """What was typed, composed with the presets into nested plain data; and what was typed, word by word.

    Args:
        typed: as for :func:`load_config`.
        groups: dataclass of each group. One beside :data:`GROUPS` has a preset ``default``.
    """
    words = _parse(blinded(typed), groups, _family(typed))
    chosen = {word.key: word.raw for word in words if not word.field}
    if "policy" not in chosen and any(word.key == "policy" and word.field == "_target_" for word in words):
        chosen["policy"] = "custom"
    registered = _registered_policy(chosen)
    if registered:
        chosen["policy"] = "custom"
    bare = _bare_family(words, chosen)
    if bare:
        chosen.pop("benchmark", None)
    added = [group for group in groups if group not in GROUPS]
    overrides = [f"{'+' * (group in added)}{group}={choice}" for group, choice in chosen.items()]
    overrides += [f"+{group}=default" for group in added if group not in chosen]
    overrides += [f"++policy._target_={registered}"] if registered else []
    overrides += ["~benchmark", f"++benchmark.family={bare}"] if bare else []
    overrides += [
        f"++{word.key}.{word.field}={word.raw}"
        for word in words
        if word.field and not (bare and (word.key, word.field) == ("benchmark", "family"))
    ]
    plain, choices = _compose(overrides)
    plain["benchmark"] = {"name": bare or choices["benchmark"], **(plain.get("benchmark") or {})}
    return plain, words


def _bare_family(words: Sequence[Word], chosen: Mapping[str, str]) -> str:
    """The family that is evaluated as it is, without a preset: an installed one chosen by its name, or one named
    where no preset is; else empty."""
    if "benchmark" in chosen:
        return chosen["benchmark"] if chosen["benchmark"] in _installed_families() else ""
    return next((word.raw for word in words if (word.key, word.field) == ("benchmark", "family")), "")


def _installed_families() -> list[str]:
    """Families of installed packages, which have no preset here."""
    return [name for name in families.family_names() if name not in families.BUILT_IN]


def _family(typed: Sequence[str]) -> Family:
    """Whose options may be typed: the family named, else that of the benchmark's preset, else of the default."""
    import yaml

    said = dict(text.lstrip("+").split("=", 1) for text in typed if "=" in text)
    if named := said.get("benchmark.family"):
        return families.find_family(named)
    preset = said.get("benchmark")
    if preset is None:
        defaults = yaml.safe_load((FOLDER / "config.yaml").read_text(encoding="utf-8"))["defaults"]
        preset = next(each["benchmark"] for each in defaults if isinstance(each, dict) and "benchmark" in each)
    if preset in _installed_families():
        return families.find_family(preset)
    path = FOLDER / "benchmark" / f"{preset}.yaml"
    content = yaml.safe_load(path.read_text(encoding="utf-8")) if path.is_file() else None
    return families.find_family((content or {}).get("family", families.DEFAULT))


def check_meant(benchmark: BenchmarkConfig, family: Family, typed: Sequence[str]) -> None:
    """Refuses a number that was typed and would mean nothing."""
    for each in fields_of(family.options):
        kind = each.metadata.get("kind", benchmark.kind)
        if each.name in typed and kind != benchmark.kind:
            raise ConfigError(
                f"benchmark.{each.name} is for {kind}, and these are {benchmark.kind}: type {each.metadata['instead']}"
            )


@dataclass(frozen=True, slots=True)
class Word:
    """One word of a command line."""

    key: str
    """Group."""
    field: str
    """Field within the group, dotted; empty for the choice of a preset."""
    raw: str
    """Value as Hydra reads it."""


def _parse(typed: Sequence[str], groups: Mapping[str, type], family: Family) -> list[Word]:
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from hydra.core.override_parser.types import Override, OverrideType
    from hydra.errors import HydraException

    from vla_bench.policies.user_code import is_class_path

    parser = OverridesParser.create()
    words: list[Word] = []
    for text in typed:
        name, equals, raw = text.partition("=")
        name = name.lstrip("+")
        if not equals:
            raise ConfigError(f"{text!r}: type it as <group>=<preset> or <group>.<field>=<value>")
        if name == "policy":  # a choice of preset or class takes the place of an earlier one
            words = [word for word in words if word.key != "policy" or word.field not in ("", "_target_")]
        if name in ("policy", "policy._target_") and is_class_path(raw):
            words.append(Word("policy", "_target_", _quoted(raw)))
            continue
        try:
            override: Override = parser.parse_override(text.lstrip("+"))
        except HydraException:
            raise ConfigError(
                f"{text!r}: cannot read the value. Quote it twice when it holds spaces or signs, "
                f"e.g. {name}='\"{raw}\"'"
            ) from None
        if override.type is OverrideType.DEL or override.package:
            raise ConfigError(f"{text!r}: only <group>=<preset> and <group>.<field>=<value> are understood")
        group, _, field = name.partition(".")
        if group == "benchmark":
            field = field.removeprefix("options.")
        if text.lstrip("+").startswith("stress=") and "," in raw:
            words = [word for word in words if (word.key, word.field) != ("stress", "")]
            words[:0] = _added_up(raw, groups, family)  # what is typed for a field goes before a preset's
            continue
        _check_name(group, field, raw, groups, family)
        if override.is_sweep_override():
            raw = _as_list(text, field, raw, _kinds(groups[group], family))
        words.append(Word(group, field, raw))
    return list({(word.key, word.field): word for word in words}.values())


def _quoted(raw: str) -> str:
    """As Hydra reads text of any kind: a path may hold spaces, colons and signs."""
    bare = raw[1:-1] if len(raw) > 1 and raw[0] == raw[-1] and raw[0] in "'\"" else raw
    escaped = bare.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"


def overridden(typed: Sequence[str]) -> list[str]:
    """What was typed and does not count, since the same field was typed again later."""
    words = [word for word in typed if "=" in word]
    last = {_field(word): word for word in words}
    return [word for word in words if last[_field(word)] != word]


def _field(word: str) -> str:
    """What a word sets, by one of its names."""
    name = word.partition("=")[0].lstrip("+")
    return name.replace("benchmark.options.", "benchmark.", 1)


def _kinds(cls: type, family: Family) -> dict[str, str]:
    """What may be typed of a group's dataclass, with its type as written; of a benchmark what its family has."""
    if cls is BenchmarkConfig:
        return {name: str(each.type) for name, each in fields_of_family(family).items()} | {"options": "Mapping"}
    return {each.name: str(each.type) for each in fields_of(cls)}


def _check_name(group: str, field: str, raw: str, groups: Mapping[str, type], family: Family) -> None:
    if group not in groups:
        homes = [f"{home}.{group}" for home, cls in groups.items() if group in _kinds(cls, family)]
        hint = f" Did you mean {homes[0]}={raw}?" if homes and not field else suggestion(group, groups)
        raise ConfigError(f"there is no group {group!r}.{hint} Groups: {', '.join(groups)}")
    if not field:
        known = [preset.name for preset in presets(group)]
        if group == "benchmark":
            known += _installed_families()
        if group == "policy":
            known += [name for name in registered_names() if name not in known]
        if raw not in known:
            raise ConfigError(f"there is no {group}={raw}.{suggestion(raw, known)} Presets: {', '.join(known)}")
    elif group != "policy":
        top, _, below = field.partition(".")
        kinds = _kinds(groups[group], family)
        open_ended = ("Mapping", "Any", "dict")
        if top not in kinds or (below and not kinds[top].startswith(open_ended)):
            named = group == "benchmark"
            raise ConfigError(unknown_option(family, field) if named else unknown_field(group, field, groups))
    elif field in ("target", "arguments") or field.startswith("arguments."):
        raise ConfigError("type policy._target_=<name or class> and policy.<argument>=<value>")


def _added_up(raw: str, groups: Mapping[str, type], family: Family) -> list[Word]:
    """Several presets of stress, as the fields that they set. ConfigError: two set the same."""
    import json

    import yaml

    found: dict[str, tuple[str, Word]] = {}
    for name in raw.strip("[]").replace(" ", "").split(","):
        _check_name("stress", "", name, groups, family)
        content = yaml.safe_load((FOLDER / "stress" / f"{name}.yaml").read_text(encoding="utf-8")) or {}
        for field, value in content.items():
            if field in found:
                raise ConfigError(
                    f"stress={found[field][0]} and stress={name} both set stress.{field}; take one of them"
                )
            found[field] = name, Word("stress", field, json.dumps(value))
    return [word for _, word in found.values()]


def _as_list(text: str, field: str, raw: str, kinds: Mapping[str, str]) -> str:
    """``A,B`` as a list where a list is wanted: commas need no brackets (nor quotes in the shell)."""
    if field and kinds.get(field, "tuple").startswith("tuple"):
        return f"[{raw}]"
    raise ConfigError(f"{text}: one value is wanted; to compare several, run the command once for each")


def registered_names() -> list[str]:
    """Policies that are known by a name: ours and those of installed packages."""
    from importlib.metadata import entry_points

    from vla_bench.policies.registry import BUILT_IN, ENTRY_POINTS

    return [*BUILT_IN, *(point.name for point in entry_points(group=ENTRY_POINTS))]


def _registered_policy(chosen: dict[str, str]) -> str:
    """The name of a registered policy that has no preset file of its own, or an empty string."""
    name = chosen.get("policy", "")
    return name if name and name not in [preset.name for preset in presets("policy")] else ""


def _compose(overrides: list[str]) -> tuple[dict[str, Any], dict[str, str]]:
    from hydra import compose, initialize_config_dir
    from hydra.core.global_hydra import GlobalHydra
    from hydra.errors import HydraException
    from omegaconf import OmegaConf
    from omegaconf.errors import MissingMandatoryValue, OmegaConfBaseException

    GlobalHydra.instance().clear()
    try:
        with initialize_config_dir(str(FOLDER), job_name="run_benchmark", version_base="1.3"):
            composed = compose("config", overrides=overrides, return_hydra_config=True)
        choices = {str(group): str(choice) for group, choice in composed.hydra.runtime.choices.items()}
        OmegaConf.set_struct(composed, False)
        del composed["hydra"]
        plain = OmegaConf.to_container(composed, resolve=True, throw_on_missing=True)
    except MissingMandatoryValue:
        raise ConfigError("policy=custom needs a class: policy._target_=<package.module.Class>") from None
    except (HydraException, OmegaConfBaseException) as error:
        raise ConfigError(f"the configuration cannot be composed: {error}") from None
    return plain, choices

"""What a server is sent and what its answers mean, as data: a preset here, or a YAML file of the user's.

A mapping is protocol: all of it goes into the hash. ``request`` is the message itself with placeholders in it::

    {image: static, size: [224, 224], resize: pad}   an image; also flip, channels, truncated, history, axes
    {state: [position, euler_xyz], dtype: float32}   numbers of the observation (features.py); also history, axes,
                                                     follow, list
    {text: "{instruction}"}                          the instruction, as it is or in lower case (lower: true)
    {about: episode}                                 episode, position, seed or task of what runs

Anything else in it is sent as it is. docs/remote.md describes every field.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from vla_bench.envs.errors import suggestion
from vla_bench.policies.errors import PolicyError
from vla_bench.policies.remote.images import FLIP, RESIZE
from vla_bench.policies.remote.rotations import SIZES

FOLDER = Path(__file__).parent / "presets"
PROTOCOLS = ("openpi", "vla_eval", "groot", "rest")
DIALECTS: Mapping[str, tuple[str, ...]] = {
    "openpi": ("openpi", "starvla"),
    "vla_eval": ("vla_eval",),
    "groot": ("n1.6", "n1.5"),
    "rest": ("x_vla", "openvla", "openvla_encoded"),
}
"""What is said within a protocol's framing; the first is the default."""
GRIPPERS = ("as_is", "threshold", "sticky_value", "sticky_change")
ENSEMBLES = ("none", "adaptive")

PLACEHOLDERS: Mapping[str, frozenset[str]] = {
    "image": frozenset({"size", "resize", "flip", "channels", "truncated", "history", "axes"}),
    "state": frozenset({"dtype", "axes", "follow", "history", "list"}),
    "text": frozenset({"lower", "axes"}),
    "about": frozenset(),
}
"""What marks a placeholder, and what else it may hold."""
ABOUT = ("episode", "position", "seed", "task")
DTYPES = ("float32", "float64", "float16")
LONGEST_HISTORY = 64


@dataclass(frozen=True, slots=True)
class Gripper:
    """From a server's gripper number to the environment's."""

    rule: str = "threshold"
    """``as_is``; ``threshold``: open or closed; ``sticky_value`` and ``sticky_change``: the Google Robot's relative
    command, made of a value in [0, 1] (1 = open) or of its change, and held for ``held`` steps."""
    threshold: float = 0.0
    opens: str = "above"
    """``above`` or ``below`` the threshold the gripper opens, and closes at it; ``at_most``: it opens at it, too."""
    held: int = 15


@dataclass(frozen=True, slots=True)
class Answer:
    """From a server's reply to a chunk in one of the environment's conventions."""

    convention: str = ""
    """Name of the convention (ActionSpec) that the environment offers; empty: its default."""
    path: str = "actions"
    """Where the numbers are in the reply, ``/`` between keys; empty: the reply itself."""
    keys: tuple[str, ...] = ()
    """Names under ``path`` whose arrays (..., n) stand side by side; empty: one array."""
    chunk: int = 1
    """Actions of a reply."""
    execute: int = 1
    """Of them, those that are executed before the server is asked again."""
    position: tuple[int, int] = (0, 3)
    """First and last column (not included) of the position."""
    rotation: tuple[int, int] = (3, 6)
    form: str = "euler_xyz"
    """Form of the rotation's numbers (rotations.py)."""
    as_form: str = ""
    """``as_is`` takes the numbers for the convention's own form without converting them; empty converts."""
    offset: tuple[float, ...] = ()
    """Euler angles (3,) added to those of the rotation."""
    position_scale: float = 1.0
    """Times the position's numbers."""
    rotation_scale: float = 1.0
    gripper_at: int = 6
    gripper: Gripper = field(default_factory=Gripper)
    low: tuple[float, ...] = ()
    """Statistics to un-normalise with, one per column: ``low`` stands for -1 ..."""
    high: tuple[float, ...] = ()
    """... and ``high`` for 1; empty: the numbers are not normalised."""
    mask: tuple[bool, ...] = ()
    """Columns that are normalised; empty: all."""
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    """Or: numbers that are times ``std`` plus ``mean``."""
    ensemble: str = "none"
    """``adaptive``: predictions of earlier chunks for the same step, weighted by how alike they are (CogACT)."""
    horizon: int = 1
    """Chunks that an ensemble keeps."""
    alpha: float = 0.1


@dataclass(frozen=True, slots=True)
class WireMapping:
    """One server family in one environment."""

    name: str
    source: str
    """Where its choices are from."""
    protocol: str
    request: Mapping[str, Any]
    answer: Answer
    family: str = ""
    """The environment it was made for, e.g. ``calvin``; empty: any that has its cameras, state and convention."""
    dialect: str = ""
    robot: str = ""
    """SimplerEnv: ``widowx`` or ``google_robot``; empty: any."""
    batch: bool = False
    """Whether the server takes several observations in one request (lists and first axes put together)."""
    continues: bool = False
    """Whether a chunk runs on over the change of the instruction, as the published evaluation has it."""
    declares: Mapping[str, Any] = field(default_factory=dict)
    """What the server is expected to say of itself; another value is a contradiction."""
    accepts: Mapping[str, Any] = field(default_factory=dict)
    """vla-eval: formats of ``position``, ``rotation`` and ``gripper`` that published servers declare of what this
    mapping reads, though they mean something else by the letter."""
    benchmark: str = ""
    """vla-eval: what its hello calls the benchmark, whose way to name tasks its ``episode_start`` has."""
    default: bool = False
    """Whether it is taken where no mapping is typed."""
    note: str = ""
    """What must stand beside every number made with it."""

    def placeholders(self) -> Iterator[tuple[str, Mapping[str, Any]]]:
        """Kind and content of every placeholder in the request."""
        yield from placeholders_in(self.request)

    def cameras(self) -> list[str]:
        """Cameras in the order in which they are first named."""
        return list(dict.fromkeys(content["image"] for kind, content in self.placeholders() if kind == "image"))

    @property
    def unchanged(self) -> bool:
        """Whether images are sent as they are, and the gripper's numbers are taken as they are."""
        plain = all(set(content) == {"image"} for kind, content in self.placeholders() if kind == "image")
        return plain and self.answer.gripper.rule == "as_is"

    def requested(self) -> dict[str, str]:
        """Of each part of the request the first 8 hex digits of its SHA-256: who takes what another sends has these."""
        parts = {str(name): json.dumps(part, sort_keys=True) for name, part in self.request.items()}
        return {name: hashlib.sha256(part.encode()).hexdigest()[:8] for name, part in parts.items()}

    def digest(self) -> str:
        """First 12 hex digits of the SHA-256 of all that may change a number."""
        plain = dataclasses.asdict(self)
        for told in ("name", "source", "note", "accepts", "default", *([] if self.benchmark else ["benchmark"])):
            del plain[told]
        return hashlib.sha256(json.dumps(plain, sort_keys=True).encode()).hexdigest()[:12]


def kind_of(value: Any) -> str:
    """Which placeholder a value of a request is; empty for none."""
    if not isinstance(value, Mapping):
        return ""
    for kind, more in PLACEHOLDERS.items():  # a key of the server's own may be called image, too
        if kind in value and set(value) <= more | {kind} and not isinstance(value[kind], Mapping):
            return kind
    return ""


def placeholders_in(value: Any) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Kind and content of every placeholder in a part of a request."""
    if kind := kind_of(value):
        yield kind, value
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from placeholders_in(item)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from placeholders_in(item)


def preset_names() -> list[str]:
    """All presets there are."""
    return sorted(path.stem for path in FOLDER.glob("*.yaml"))


def load_mapping(name: str | Mapping[str, Any]) -> WireMapping:
    """A preset by name, a YAML file by path, or a mapping as plain data. PolicyError: says what is wrong in it."""
    if isinstance(name, Mapping):
        return mapping_from_plain({"name": "typed", **name}, "policy.mapping")
    path = FOLDER / f"{name}.yaml"
    if path.is_file():
        return _preset(path.stem)
    path = Path(name)
    if not path.is_file():
        known = [each.stem for each in FOLDER.glob("*.yaml")]
        raise PolicyError(
            f"there is no mapping {name!r}.{suggestion(name, known)} Presets: {', '.join(sorted(known))}; "
            "or the path of a YAML file"
        )
    return _read(path)


@functools.cache
def _preset(name: str) -> WireMapping:
    """Read once: whoever connects asks which presets fit, and reading them all takes a third of a second."""
    return _read(FOLDER / f"{name}.yaml")


def _read(path: Path) -> WireMapping:
    import yaml

    try:
        plain = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise PolicyError(f"the mapping {path} is no YAML: {str(error).splitlines()[0]}") from None
    if not isinstance(plain, Mapping):
        raise PolicyError(f"the mapping {path} holds no fields")
    return mapping_from_plain({"name": path.stem, **plain}, str(path.name))


def mapping_from_plain(plain: Mapping[str, Any], where: str) -> WireMapping:
    """Builds and checks a mapping. PolicyError: a field is unknown, missing or of the wrong kind."""
    answer = dict(plain.get("answer") or {})
    gripper = answer.pop("gripper", {})
    built = _build(
        WireMapping,
        {
            "source": "the user's",
            **plain,
            "answer": _build(
                Answer,
                {**answer, "gripper": _build(Gripper, gripper, f"{where}: answer.gripper")},
                f"{where}: answer",
            ),
        },
        where,
    )
    dialects = DIALECTS.get(built.protocol, ())
    if not built.dialect and dialects:
        built = dataclasses.replace(built, dialect=dialects[0])
    _check(built, where)
    return built


def _build(kind: type, values: Any, where: str) -> Any:
    if not isinstance(values, Mapping):
        raise PolicyError(f"{where} must hold named fields")
    fields = {each.name: each for each in dataclasses.fields(kind)}
    for name in values:
        if name not in fields:
            raise PolicyError(
                f"{where} has no field {name!r}.{suggestion(str(name), fields)} It has {', '.join(fields)}"
            )
    for name, each in fields.items():
        unset = each.default is dataclasses.MISSING and each.default_factory is dataclasses.MISSING
        if unset and name not in values:
            raise PolicyError(f"{where} lacks the field {name!r}")
    converted = {name: _converted(value, str(fields[name].type), f"{where}.{name}") for name, value in values.items()}
    return kind(**converted)


def _converted(value: Any, kind: str, where: str) -> Any:
    def refuse(wanted: str) -> None:
        raise PolicyError(f"{where} is {value!r}; {wanted} is wanted")

    if kind.startswith("tuple"):
        if not isinstance(value, Sequence) or isinstance(value, str):
            refuse("a list")
        pair, words = kind == "tuple[int, int]", "str" in kind
        good = str if words else bool if "bool" in kind else int if pair else int | float
        if not all(isinstance(item, good) for item in value) or (pair and len(value) != 2):
            refuse("a list of two whole numbers" if pair else f"a list of {'words' if words else 'numbers'}")
        return tuple(value)
    plain = {"str": str, "int": int, "bool": bool, "float": int | float}.get(kind)
    if plain is not None and (not isinstance(value, plain) or (kind in ("int", "float") and isinstance(value, bool))):
        refuse({"str": "text", "int": "a whole number", "bool": "true or false", "float": "a number"}[kind])
    if kind.startswith("Mapping") and not isinstance(value, Mapping):
        refuse("named values")
    return value


def _check(mapping: WireMapping, where: str) -> None:
    answer, gripper = mapping.answer, mapping.answer.gripper
    for name, value, known in (
        ("protocol", mapping.protocol, PROTOCOLS),
        ("dialect", mapping.dialect, DIALECTS.get(mapping.protocol, ())),
        ("answer.form", answer.form, tuple(SIZES)),
        ("answer.as_form", answer.as_form, ("", "as_is")),
        ("answer.ensemble", answer.ensemble, ENSEMBLES),
        ("answer.gripper.rule", gripper.rule, GRIPPERS),
        ("answer.gripper.opens", gripper.opens, ("above", "below", "at_most")),
    ):
        if value not in known:
            raise PolicyError(f"{where}: {name} is {value!r}; it is one of {', '.join(known)}")
    if not 1 <= answer.execute <= answer.chunk:
        raise PolicyError(f"{where}: answer.execute={answer.execute} must lie between 1 and chunk={answer.chunk}")
    if bool(answer.low) != bool(answer.high) or bool(answer.mean) != bool(answer.std):
        raise PolicyError(f"{where}: answer.low needs answer.high, and answer.mean needs answer.std")
    if len(answer.low) != len(answer.high) or len(answer.mean) != len(answer.std):
        raise PolicyError(f"{where}: the statistics of answer have different lengths")
    for kind, content in mapping.placeholders():
        if kind == "image":
            _check_image(content, where)
        elif kind == "state":
            _check_state(content, where)
        elif kind == "about" and content["about"] not in ABOUT:
            raise PolicyError(f"{where}: about is {content['about']!r}; it is one of {', '.join(ABOUT)}")
        _check_numbers(content, where)


def _check_state(content: Mapping[str, Any], where: str) -> None:
    terms, dtype = content["state"], content.get("dtype", DTYPES[0])
    if not isinstance(terms, Sequence) or isinstance(terms, str) or not terms:
        raise PolicyError(f"{where}: a state is a list of terms, not {terms!r}")
    if dtype not in DTYPES:
        raise PolicyError(f"{where}: a state's dtype is {dtype!r}; it is one of {', '.join(DTYPES)}")


def _check_numbers(content: Mapping[str, Any], where: str) -> None:
    for name, least, most in (("axes", 0, 8), ("history", 1, LONGEST_HISTORY), ("follow", 0, 4096)):
        value = content.get(name, least)
        if type(value) is not int or not least <= value <= most:
            raise PolicyError(f"{where}: {name} is {value!r}; a whole number from {least} to {most} is wanted")
    for name in ("truncated", "lower", "list"):
        if not isinstance(content.get(name, False), bool):
            raise PolicyError(f"{where}: {name} is {content[name]!r}; true or false is wanted")


def _check_image(content: Mapping[str, Any], where: str) -> None:
    for name, known in (("resize", RESIZE), ("flip", FLIP), ("channels", ("rgb", "bgr"))):
        if name in content and content[name] not in known:
            raise PolicyError(f"{where}: an image's {name} is {content[name]!r}; it is one of {', '.join(known)}")
    size = content.get("size")
    good = isinstance(size, list) and len(size) == 2 and all(isinstance(n, int) and 0 < n <= 4096 for n in size)
    if size is not None and not good:
        raise PolicyError(f"{where}: an image's size is {size!r}; [height, width] in pixels is wanted")

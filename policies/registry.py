"""Finds a policy by name or by class path, builds it, and checks it against the environment.

A policy is chosen by a name of :data:`BUILT_IN`, by a name of the entry-point group
``vla_bench.policies`` of an installed package, or by the path of a class, ``package.module:Class``
``package.module.Class`` or ``path/to/file.py:Class`` (:mod:`vla_bench.policies.user_code`). A class gets the chosen
arguments, and ``environment=`` when its constructor has a parameter of that name. It is either a full
:class:`vla_bench.policies.base.Policy` or a plain class for :class:`vla_bench.policies.one_slot.OneSlotPolicy`.
"""

from __future__ import annotations

import dataclasses
import importlib.metadata
import inspect
import os
import shlex
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol

from vla_bench.envs.action_spec import ActionSpec
from vla_bench.envs.errors import UserError, suggestion
from vla_bench.envs.observation import Camera, Sensors
from vla_bench.envs.simulation import EnvironmentSpec
from vla_bench.interruption import is_interruption
from vla_bench.policies.base import Policy, PolicySpec
from vla_bench.policies.errors import PolicyError, TransientFault, in_words
from vla_bench.policies.one_slot import OneSlotPolicy, own
from vla_bench.policies.user_code import classes_in, import_module, is_class_path, is_path, split
from vla_bench.program import installing

EXPERT = "expert"
"""Name of the scripted solver that an environment brings (``EnvironmentSpec.expert``)."""

BUILT_IN: Mapping[str, str] = {
    "stub": "vla_bench.policies.stub:StubPolicy",
    "random": "vla_bench.policies.random_walk:RandomWalkPolicy",
    "replay": "vla_bench.policies.replay:ReplayPolicy",
    "expert": "vla_bench.policies.expert:ExpertPolicy",
    "vla": "vla_bench.policies.vla:VlaPolicy",
    "remote": "vla_bench.policies.remote:RemotePolicy",
}
"""Names of the policies in this repository."""

NEED_NUMPY_ONLY = frozenset(BUILT_IN) - {"vla", "remote"}
"""Those that run under whatever interpreter a simulator has."""

LONGEST_CHUNK = 10_000
"""Actions of a decision; more would be a slip of the pen, which costs all memory."""
LARGEST_PICTURE = 8192
"""Pixels of a camera's side, likewise."""
ENTRY_POINTS = "vla_bench.policies"
"""Entry-point group in which an installed package names its policies."""


class Choice(Protocol):
    """What to build: :class:`vla_bench.bench.dispatch.job.PolicyChoice`, or anything of its shape."""

    @property
    def target(self) -> str: ...
    @property
    def arguments(self) -> Mapping[str, Any]: ...


def describe_policy(choice: Choice, environment: EnvironmentSpec) -> PolicySpec:
    """What the policy needs, checked against the environment.

    Cheap when the class has a classmethod ``describe(environment, **arguments)``; otherwise the
    policy is built and closed again. PolicyError: unknown name, class, argument, convention or camera.
    """
    spec, policy = describe_or_make(choice, environment)
    if policy is not None:
        with _blaming(choice, "be closed"):
            policy.close()
    return spec


def describe_or_make(choice: Choice, environment: EnvironmentSpec) -> tuple[PolicySpec, Policy | None]:
    """As :func:`describe_policy`; and the policy, where it had to be built, which is not closed."""
    factory = find_policy(choice.target, environment)
    describe = _describer(factory)
    if describe is None:
        policy = _build(factory, choice, environment)
        return checked_spec(policy.spec, environment), policy
    arguments = _accepted(describe, choice, {"environment": environment})
    with _blaming(choice, "be described"):
        spec = describe(**arguments)
    return checked_spec(spec, environment), None


def _describer(factory: Callable[..., Any]) -> Callable[..., Any] | None:
    """Its ``describe(environment, ...)`` where it has one for classes; a method of that name is its own affair."""
    found = inspect.getattr_static(factory, "describe", None)
    if not isinstance(found, classmethod | staticmethod) and inspect.isclass(factory):
        return None
    describe = getattr(factory, "describe", None)
    if not callable(describe):
        return None
    parameters = inspect.signature(describe).parameters.values()
    wanted = any(each.name == "environment" or each.kind is each.VAR_KEYWORD for each in parameters)
    return describe if wanted else None


def make_policy(choice: Choice, environment: EnvironmentSpec) -> Policy:
    """Builds the policy; a plain class is given the batched face. Errors as :func:`describe_policy`."""
    policy = _build(find_policy(choice.target, environment), choice, environment)
    checked_spec(policy.spec, environment)
    return policy


def find_policy(target: str, environment: EnvironmentSpec | None = None) -> Callable[..., Any]:
    """The class (or factory function) of that name or path; ``expert`` is the environment's own.

    PolicyError: there is none, or it cannot be imported.
    """
    if target == EXPERT and environment is not None:
        if not environment.expert:
            raise PolicyError(f"{environment.family} brings no expert; choose another policy, e.g. policy=stub")
        return _import(environment.expert)
    path = BUILT_IN.get(target)
    if path is None and not is_class_path(target):
        installed = {point.name: point.value for point in importlib.metadata.entry_points(group=ENTRY_POINTS)}
        path = installed.get(target)
        if path is None:
            known = [*BUILT_IN, *installed]
            raise PolicyError(
                f"unknown policy {target!r}; known: {', '.join(known)}, or a class as "
                f"my_module:MyPolicy.{suggestion(target, known)}"
            )
    return _import(path or target)


def action_named(environment: EnvironmentSpec, name: str) -> ActionSpec:
    """The environment's convention of that name, its default for an empty one; PolicyError if none."""
    if not name:
        return environment.actions[0]
    offered = [spec.name for spec in environment.actions]
    if name not in offered:
        raise PolicyError(
            f"{environment.family} has no action convention {name!r}; it offers "
            f"{', '.join(offered)}.{suggestion(name, offered)}"
        )
    return environment.action(name)


def checked_spec(spec: PolicySpec, environment: EnvironmentSpec) -> PolicySpec:
    """The spec with the environment's own name for its action convention.

    PolicyError names a field that is not what it should be, a convention the environment does not have (and
    how the nearest differs), a camera it does not have, or a chunk that cannot be.
    """
    _check_fields(spec)
    if not 1 <= spec.execute <= spec.chunk:
        raise PolicyError(
            f"policy {spec.name!r} predicts {spec.chunk} actions and wants {spec.execute} executed; "
            "`execute` must lie between 1 and `chunk`"
        )
    sensors = _checked_sensors(spec, environment)
    nearest = min(environment.actions, key=lambda offered: len(offered.differences(spec.action)))
    differences = nearest.differences(spec.action)
    if differences:
        raise PolicyError(
            f"policy {spec.name!r} acts in a convention that {environment.family} does not offer; the "
            f"nearest, {nearest.name!r}, differs in {'; '.join(differences)} (environment against policy)"
        )
    return dataclasses.replace(spec, action=nearest, sensors=sensors)


def _checked_sensors(spec: PolicySpec, environment: EnvironmentSpec) -> Sensors:
    """The cameras; one that is asked for at its own size is as one whose size is left to the environment."""
    cameras: dict[str, Camera] = {}
    for camera in spec.sensors.cameras:
        asks = f"policy {spec.name!r} asks for the camera {camera.name!r}"
        if camera.name not in environment.cameras:
            raise PolicyError(
                f"{asks}, but {environment.family} has "
                f"{', '.join(environment.cameras)}.{suggestion(camera.name, environment.cameras)}"
            )
        if camera.name in cameras:
            raise PolicyError(f"{asks} twice; keep one, an observation has one picture of each camera")
        own = environment.cameras[camera.name]
        height, width = size = (camera.height or own[0], camera.width or own[1])
        if size != own and not environment.resizable:
            raise PolicyError(
                f"{asks} at {height} x {width} (height x width), but {environment.family} renders it at "
                f"{own[0]} x {own[1]} only: leave the size out, and resize the picture in act()"
            )
        if camera.depth and not environment.depth:
            raise PolicyError(f"{asks} with depth, which {environment.family} does not give here; leave depth out")
        sized = {"height": height, "width": width} if size != own else {"height": None, "width": None}
        cameras[camera.name] = dataclasses.replace(camera, **sized)
    return Sensors(tuple(cameras.values()))


def _check_fields(spec: PolicySpec) -> None:
    """Specs are written by users, and dataclasses take anything."""

    def refuse(field: str, value: object, wanted: str) -> None:
        raise PolicyError(f"policy {spec.name!r}: its {field} is {value}; {wanted} is wanted")

    def counts(value: object, most: int) -> bool:
        return isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= most

    if not isinstance(spec, PolicySpec):
        raise PolicyError(f"a policy describes itself by a policies.PolicySpec, not by {spec!r}")
    if not isinstance(spec.name, str) or not spec.name:
        refuse("name", repr(spec.name), "a word")
    for field, kind in (("action", ActionSpec), ("sensors", Sensors)):
        if not isinstance(getattr(spec, field), kind):
            refuse(field, repr(getattr(spec, field)), f"an envs.{kind.__name__}")
    for field in ("chunk", "execute"):
        if not counts(getattr(spec, field), LONGEST_CHUNK):
            refuse(field, repr(getattr(spec, field)), f"a whole number from 1 to {LONGEST_CHUNK}")
    for camera in spec.sensors.cameras:
        if not isinstance(camera, Camera) or not isinstance(camera.name, str):
            refuse("sensors", camera, "an envs.Camera with a name")
        if not isinstance(camera.depth, bool):
            refuse(f"camera {camera.name!r}", f"asked for with depth={camera.depth!r}", "true or false")
        for side in (camera.width, camera.height):
            if side is not None and not counts(side, LARGEST_PICTURE):
                refuse(f"camera {camera.name!r}", f"{side!r} pixels wide or high", f"1 to {LARGEST_PICTURE}")
    if not isinstance(spec.switches, Mapping) or not all(
        isinstance(text, str) for pair in spec.switches.items() for text in pair
    ):
        refuse("switches", spec.switches, "a mapping of words to words")


def _build(factory: Callable[..., Any], choice: Choice, environment: EnvironmentSpec) -> Policy:
    arguments = _accepted(factory, choice, {"environment": environment})
    with _blaming(choice, "be built"):
        built = factory(**arguments)
        full = isinstance(own(built, "spec"), PolicySpec)
        faced = built if full else OneSlotPolicy(built, environment)
    if full:
        needed = ["reset", "act", "close"]
        needed += ["see"] if built.spec.privileged else []
        needed += ["ended"] if built.spec.ends else []
        missing = [name for name in needed if not callable(getattr(built, name, None))]
        if missing:
            why = {
                "see": ", which privileged=True in its spec asks for",
                "ended": ", which ends=True in its spec asks for",
            }
            raise PolicyError(f"{choice.target} has a spec, but no method {missing[0]}(){why.get(missing[0], '')}")
    return faced


def _accepted(function: Callable[..., Any], choice: Choice, offered: Mapping[str, Any]) -> dict[str, Any]:
    """The chosen arguments, checked against the signature, plus those on offer that it takes."""
    try:
        parameters = inspect.signature(function).parameters
    except ValueError as error:  # some built-in types
        raise PolicyError(f"{choice.target!r} is no policy: {error}") from None
    named = [name for name, p in parameters.items() if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)]
    arguments = {name: value for name, value in offered.items() if name in named}
    for name in choice.arguments:
        if name in offered:
            raise PolicyError(f"the argument {name!r} of policy {choice.target!r} is given by the benchmark")
        if name not in named and not any(p.kind is p.VAR_KEYWORD for p in parameters.values()):
            free = [known for known in named if known not in offered]
            takes = f"it takes {', '.join(free)}" if free else "it takes none"
            hint = suggestion(name, free)
            raise PolicyError(f"policy {choice.target!r} has no argument {name!r}; {takes}.{hint}")
    arguments |= choice.arguments
    missing = [name for name in named if parameters[name].default is inspect.Parameter.empty and name not in arguments]
    if missing:
        raise PolicyError(
            f"policy {choice.target!r} needs the argument {missing[0]!r}; give it as policy.{missing[0]}=..."
        )
    return arguments


class _blaming:
    """Turns what the policy's own code raises into a PolicyError that names it; keeps the cause."""

    def __init__(self, choice: Choice, doing: str) -> None:
        self._choice = choice
        self._doing = doing

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        if error is not None and not isinstance(error, UserError | TransientFault) and not is_interruption(error):
            raise PolicyError(f"policy {self._choice.target!r} could not {self._doing}: {in_words(error)}") from error


def _import(path: str) -> Callable[..., Any]:
    place, name = split(path)
    if is_path(path) and not name:
        listed = classes_in(Path(place))
        example = f"{place}:{listed[0] if listed else 'MyPolicy'}"
        raise PolicyError(f"policy {path!r} names a file; name its class, too: policy={shlex.quote(example)}")
    if not place or not name:
        raise PolicyError(f"{path!r} is not a class path; write my_module:MyPolicy or my_policy.py:MyPolicy")
    try:
        module = import_module(place, path)
        found = getattr(module, name, None)  # may import in turn
    except UserError:
        raise
    except ModuleNotFoundError as error:
        if error.name is None or is_path(path) or not f"{place}.".startswith(f"{error.name}."):
            hint = f": {installing('vla')}" if path == BUILT_IN["vla"] else ""
            if (part := (error.name or "").partition(".")[0]) in ("bench", "envs", "policies"):
                hint = f". If this program's own is meant, import it as vla_bench.{part}"
            raise PolicyError(
                f"policy {path!r} needs the package {error.name!r}, which is not installed{hint}"
            ) from error
        file = Path(*place.split(".")).with_suffix(".py")
        hint = f". Is it {file}? Type policy={shlex.quote(f'{file}:{name}')}" if file.is_file() else ""
        raise PolicyError(
            f"there is no module {error.name!r} for policy {path!r}; modules are looked for among the "
            f"installed packages and in {os.getcwd()}{hint}"
        ) from None
    except BaseException as error:
        if is_interruption(error):
            raise
        raise PolicyError(f"policy {path!r} cannot be imported: {in_words(error)}") from error
    if not callable(found):
        classes = [key for key, value in vars(module).items() if inspect.isclass(value)]
        raise PolicyError(f"{place!r} has no class {name!r}.{suggestion(name, classes)}")
    return found

"""Which mappings an environment can fill, by what it offers."""

from __future__ import annotations

from vla_bench.envs.simulation import EnvironmentSpec
from vla_bench.policies.errors import PolicyError
from vla_bench.policies.remote.features import Features
from vla_bench.policies.remote.mapping import WireMapping, load_mapping, preset_names


def check_environment(mapping: WireMapping, environment: EnvironmentSpec) -> None:
    """PolicyError: the mapping is for another family, or asks for a camera or a number that is not there."""
    if reason := unfit(mapping, environment):
        known = ", ".join(each.name for each in presets_for(mapping.protocol, environment))
        raise PolicyError(reason + (f". Presets for it: {known}" if known and mapping.family else ""))


def unfit(mapping: WireMapping, environment: EnvironmentSpec) -> str:
    """Why the environment cannot fill the mapping; empty when it can."""
    family = environment.family
    if mapping.family not in ("", family):
        return f"the mapping {mapping.name} is for {mapping.family}, not for {family}"
    for camera in mapping.cameras():
        if camera not in environment.cameras:
            there = ", ".join(environment.cameras)
            return f"the mapping {mapping.name} asks for the camera {camera!r}; {family} has {there} here"
    features = Features(environment)
    try:
        for kind, content in mapping.placeholders():
            for term in content["state"] if kind == "state" else ():
                features.check(term)
    except PolicyError as error:
        return str(error)
    convention, offered = mapping.answer.convention, [action.name for action in environment.actions]
    if convention and convention not in offered:
        return f"the mapping {mapping.name} acts in {convention!r}; {family} offers {', '.join(offered)} here"
    return ""


def presets_for(protocol: str, environment: EnvironmentSpec) -> list[WireMapping]:
    """The presets of a protocol that an environment can fill, by name."""
    known = [load_mapping(name) for name in preset_names()]
    return [each for each in known if each.protocol == protocol and not unfit(each, environment)]


def raw_mapping(protocol: str, environment: EnvironmentSpec) -> str:
    """The preset that sends the environment's observations as they are; PolicyError: there is none."""
    fitting = presets_for(protocol, environment)
    if not fitting:
        raise PolicyError(f"there is no mapping of {protocol} for {environment.family}: type --mapping <YAML file>")
    return min(fitting, key=lambda each: not each.unchanged).name

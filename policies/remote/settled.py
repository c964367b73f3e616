"""The mapping with what was typed over it, and what it asks of the environment; no server is asked for it."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from vla_bench.envs.action_spec import ActionSpec
from vla_bench.envs.observation import Sensors
from vla_bench.envs.simulation import EnvironmentSpec
from vla_bench.policies.base import PolicySpec
from vla_bench.policies.errors import PolicyError
from vla_bench.policies.registry import action_named
from vla_bench.policies.remote.addresses import parse_addresses
from vla_bench.policies.remote.fitting import check_environment, presets_for
from vla_bench.policies.remote.mapping import PROTOCOLS, WireMapping, load_mapping

PLACEMENT = ("address", "wait", "timeout", "probe", "token_env", "ca_file", "proxy")
"""Arguments that say where and how it is reached; a run may go on with others."""
SILENT = ("groot", "rest")
"""Protocols in which no server says which model it serves."""


def settled(
    environment: EnvironmentSpec,
    protocol: str,
    address: str | Sequence[str],
    mapping: str | Mapping[str, Any],
    model: str,
    execute: int,
    extra: Mapping[str, Any] | None,
) -> tuple[WireMapping, PolicySpec]:
    """Both. PolicyError: says what was typed wrongly, and what to type instead."""
    if protocol not in PROTOCOLS:
        raise PolicyError(f"policy.protocol={protocol}: it is one of {', '.join(PROTOCOLS)}")
    chosen = load_mapping(mapping or _default(protocol, environment))
    if chosen.protocol != protocol:
        raise PolicyError(f"the mapping {chosen.name} is of the protocol {chosen.protocol}, not {protocol}")
    check_environment(chosen, environment)
    parse_addresses(address, protocol, chosen.dialect)
    if protocol in SILENT and not model:
        raise nameless(protocol)
    if model and not ("@" in model and all(model.split("@", 1))):
        raise PolicyError(f"policy.model={model!r}: type name@version, e.g. my-checkpoint@step-40000")
    if extra:
        chosen = dataclasses.replace(chosen, request={**chosen.request, **extra})
    if execute:
        chosen = dataclasses.replace(
            chosen, answer=dataclasses.replace(chosen.answer, execute=execute, chunk=max(execute, chosen.answer.chunk))
        )
    return chosen, _spec_of(chosen, action_named(environment, chosen.answer.convention), model)


def _spec_of(mapping: WireMapping, action: ActionSpec, model: str) -> PolicySpec:
    notes = [f"the model is {model} by the user's word, not by the server's"] if model else []
    notes += [mapping.note] if mapping.note else []
    return PolicySpec(
        name=model.replace("@", "-") if model else f"remote-{mapping.name}",
        action=action,
        sensors=Sensors.named(mapping.cameras()),
        chunk=mapping.answer.chunk,
        execute=mapping.answer.execute,
        switches={"remote": mapping.protocol, "mapping": f"{mapping.name} {mapping.digest()}"},
        files={"model": f"{model} (the user's word)"} if model else {},
        placement=PLACEMENT,
        notes=tuple(notes),
    )


def _default(protocol: str, environment: EnvironmentSpec) -> str:
    fitting = presets_for(protocol, environment)
    for mapping in fitting:
        if mapping.default:
            return mapping.name
    there = f"one of {', '.join(mapping.name for mapping in fitting)}, or " if fitting else ""
    raise PolicyError(
        f"policy.protocol={protocol} on {environment.family} needs to be told what the server wants: type "
        f"policy.mapping=<{there}the path of a YAML file>"
    )


def nameless(protocol: str) -> PolicyError:
    """What is said when neither the server nor the user says which model it is."""
    return PolicyError(
        f"the {protocol} server does not say which model it serves: type policy.model=<name>@<version>, e.g. "
        "policy.model=my-checkpoint@step-40000; tables will say that it is your word"
    )

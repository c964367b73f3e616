"""What a server says of itself, compared with the mapping, and kept as the identity of what was evaluated."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from vla_bench.envs.action_spec import ActionSpec
from vla_bench.policies.remote.mapping import WireMapping, placeholders_in

STARVLA = "starvla_policy_server"
LONGEST = 240
"""Characters of a statement that are kept as they are; of a longer one its digest."""
_ROTATIONS = {
    "euler_xyz": "euler_xyz",
    "axis_angle": "axis_angle",
    "quaternion_xyzw": "quaternion_xyzw",
    "rot6d_interleaved": "rot6d_rows",
}
_VARYING = frozenset({"request_id", "uptime", "uptime_s", "time", "timestamp", "pid", "port", "host", "hostname"})
"""Keys of a statement that say nothing about the model."""
STEP_LIMITS = ("ep_len", "max_episode_steps")
HEEDED = ("send_wrist_image", "send_state", "absolute_action", "control_mode", "gripper_mode")
"""What of vla-eval's observation_params is compared."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """What came of comparing a statement with a mapping."""

    contradictions: tuple[str, ...] = ()
    unknown: tuple[str, ...] = ()
    """What must be taken on the mapping's word."""


def said(statement: Mapping[str, Any], protocol: str) -> str:
    """The statement as one word for the run's identity; empty when it names nothing that tells models apart.

    GR00T's modality configuration and an empty metadata map do not; vla-eval's hello names a server class.
    """
    if protocol == "groot":
        return ""
    plain = {key: _plain(value) for key, value in statement.items() if key not in _VARYING}
    if not plain:
        return ""
    text = json.dumps(plain, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    if len(text) <= LONGEST:
        return text
    names = [f"{key}={plain[key]}" for key in ("model_server", "ckpt_path", "model", "name", "env") if key in plain]
    digest = hashlib.sha256(text.encode()).hexdigest()[:16]
    return f"{' '.join(names)[:LONGEST]} sha256:{digest}".strip()


def compare(statement: Mapping[str, Any], mapping: WireMapping, action: ActionSpec, step_limit: int = 0) -> Comparison:
    """Contradictions between what the server declares and what the mapping takes for granted, and what is not known."""
    against: list[str] = []
    unknown: list[str] = []
    wishes = statement.get("observation_params")
    declared = {**(wishes if isinstance(wishes, Mapping) else {}), **statement}
    for name, expected in mapping.declares.items():
        if name not in declared:
            unknown.append(f"the server does not say its {name}, which the mapping takes to be {expected}")
        elif _plain(declared[name]) != expected:
            against.append(f"its {name} is {declared[name]}, and the mapping expects {expected}")
    ours = statement.get("vla_bench")
    if isinstance(ours, Mapping):
        _ours(ours, mapping, action, against)
        return Comparison(tuple(against), tuple(unknown))
    compared = {"openpi": _openpi, "vla_eval": _vla_eval, "groot": _groot}.get(mapping.protocol)
    if compared is None or not statement:
        unknown.append(
            "the server says nothing of its actions; convention, chunk and gripper are the mapping's word "
            f"({mapping.name})"
        )
    else:
        compared(statement, mapping, action, against, unknown)
    return Comparison(tuple(against), tuple(unknown))


def _ours(statement: Mapping[str, Any], mapping: WireMapping, action: ActionSpec, against: list[str]) -> None:
    """What ``vla-bench serve`` says: the policy's whole convention and chunk."""
    declared = statement.get("action")
    declared = declared if isinstance(declared, Mapping) else {}
    units = ("position_scale", "rotation_scale", "bounded", "restarts")  # which the server converts
    for each in dataclasses.fields(action):
        mine, theirs = getattr(action, each.name), declared.get(each.name, getattr(action, each.name))
        if each.compare and each.name != "name" and each.name not in units and mine != theirs:
            against.append(f"its actions have {each.name} {theirs!r}, and the mapping takes {mine!r}")
    wanted, sent = statement.get("request"), mapping.requested()
    if isinstance(wanted, Mapping) and any(sent.get(name) != part for name, part in wanted.items()):
        against.append(f"it takes the requests of the mapping {statement.get('mapping')}")
    chunk = statement.get("chunk")
    if mapping.protocol == "openpi" and isinstance(chunk, int) and chunk < mapping.answer.execute:
        against.append(
            f"its chunks have {chunk} actions, and {mapping.answer.execute} are to be executed: type "
            f"policy.execute={chunk}"
        )


def _openpi(
    statement: Mapping[str, Any], mapping: WireMapping, action: ActionSpec, against: list[str], unknown: list[str]
) -> None:
    starvla = statement.get("env") == STARVLA
    if starvla != (mapping.dialect == "starvla"):
        what = "starVLA's" if starvla else "not starVLA's"
        against.append(f"the server is {what}, and the mapping has the dialect {mapping.dialect}")
    size = statement.get("action_chunk_size")
    if isinstance(size, int) and size != mapping.answer.chunk and mapping.answer.chunk > 1:
        against.append(f"its chunks have {size} actions, and the mapping's {mapping.answer.chunk} (answer.chunk)")
    keys, asked = statement.get("available_unnorm_keys"), _request_value(mapping.request, "unnorm_key")
    if isinstance(keys, list) and asked and asked not in keys:
        against.append(f"it has the statistics {', '.join(map(str, keys))}, and the mapping asks for {asked}")
    image = statement.get("training_obs_image_size")
    for kind, content in mapping.placeholders():
        if kind == "image" and isinstance(image, list) and content.get("size") and list(content["size"]) != image:
            against.append(f"its images have {image} pixels, and the mapping sends {content['size']}")
            break
    unknown.append(f"openpi's protocol does not say what actions mean: that is the mapping's word ({mapping.name})")


def _vla_eval(
    statement: Mapping[str, Any], mapping: WireMapping, action: ActionSpec, against: list[str], unknown: list[str]
) -> None:
    wanted = statement.get("observation_params")
    wanted = wanted if isinstance(wanted, Mapping) else {}
    images = _names(mapping.request.get("images"))
    if wanted.get("send_wrist_image") and len(images) < 2:
        against.append("it wants the wrist camera too (send_wrist_image), and the mapping sends one image")
    if wanted.get("send_state") and not any(kind == "state" for kind, _ in mapping.placeholders()):
        against.append("it wants the state (send_state), and the mapping sends none")
    absolute = action.control == "tcp_pose"
    if bool(wanted.get("absolute_action", absolute)) != absolute:
        answers = "absolute poses" if wanted["absolute_action"] else "changes"
        against.append(f"it answers in {answers} (absolute_action), and the mapping takes {action.name}")
    mode = wanted.get("control_mode")
    if mode is not None and "control_mode" not in mapping.declares:
        against.append(f"it wants the controller {mode}, and the mapping acts in {action.name}")
    sticky, rule = wanted.get("gripper_mode"), mapping.answer.gripper.rule
    if sticky in ("sticky", "binary") and rule != "as_is" and (sticky == "sticky") != rule.startswith("sticky"):
        against.append(f"it wants its gripper's numbers taken as {sticky} (gripper_mode), and the mapping's are {rule}")
    for name, value in wanted.items():
        if name in STEP_LIMITS:
            unknown.append(f"the server was published with {value} steps ({name}); see benchmark.step_limit")
        elif name not in HEEDED and name not in mapping.declares:
            unknown.append(f"the server was published with {name}={value}, which has no counterpart here")
    spec = statement.get("action_spec")
    if not isinstance(spec, Mapping):
        unknown.append(f"the server has no action_spec: what actions mean is the mapping's word ({mapping.name})")
        return
    position, rotation, gripper = (_format(spec, name) for name in ("position", "rotation", "gripper"))
    accepted = {name: mapping.accepts.get(name, ()) for name in ("position", "rotation", "gripper")}
    moves = position in ("delta_xyz", "absolute_xyz") and (position == "absolute_xyz") != absolute
    if moves and position not in accepted["position"]:
        against.append(f"its position is {position}, and the mapping takes {action.name}")
    form, turn = _ROTATIONS.get(rotation), mapping.answer
    if form and form != turn.form and turn.as_form != "as_is" and rotation not in accepted["rotation"]:
        against.append(f"its rotation is {rotation}, and the mapping reads {turn.form}")
    opens, closed_above = mapping.answer.gripper.opens, {"binary_close_positive": True, "binary_close_negative": False}
    contrary = gripper in closed_above and closed_above[gripper] != (opens != "above")
    if contrary and rule == "threshold" and gripper not in accepted["gripper"]:
        against.append(f"its gripper is {gripper}, and the mapping opens {opens} the threshold")
    for name, found in (("position", position), ("rotation", rotation), ("gripper", gripper)):
        if not found:
            unknown.append(f"the server does not declare its {name}; that is the mapping's word ({mapping.name})")


def _groot(
    statement: Mapping[str, Any], mapping: WireMapping, action: ActionSpec, against: list[str], unknown: list[str]
) -> None:
    config = statement.get("modality_config")
    if not isinstance(config, Mapping):
        return
    nested = mapping.dialect == "n1.6"
    for part in ("video", "state", "language"):
        declared = config.get(part)
        if not isinstance(declared, Mapping) or not isinstance(keys := declared.get("modality_keys"), list):
            continue
        if nested:
            parts = mapping.request.get(part) or {}
        else:
            names = [name for name in mapping.request if name.startswith(f"{part}.")]
            parts = {name.removeprefix(f"{part}."): mapping.request[name] for name in names}
        sent = list(parts)
        named = {*sent, *mapping.request}  # N1.5 declares "video.image", and language by a name of its own
        missing = [str(key) for key in keys if key not in named and f"{part}.{key}" not in named]
        if missing:
            against.append(f"it wants {part} {', '.join(missing)}, and the mapping sends {', '.join(sent) or 'none'}")
        steps = declared.get("delta_indices")
        lengths = {content.get("history", 1) for kind, content in placeholders_in(parts) if kind in ("image", "state")}
        if isinstance(steps, list) and lengths - {len(steps)}:
            against.append(f"it wants {part} of {len(steps)} steps, and the mapping sends {max(lengths)} (history)")
    declared = config.get("action")
    if isinstance(declared, Mapping):
        steps = declared.get("delta_indices")
        if isinstance(steps, list) and len(steps) != mapping.answer.chunk:
            against.append(f"its chunks have {len(steps)} actions, and the mapping's {mapping.answer.chunk}")
        keys = declared.get("modality_keys")
        names = [key.removeprefix("action.") for key in mapping.answer.keys]
        if isinstance(keys, list) and set(names) - {str(key).removeprefix("action.") for key in keys}:
            against.append(f"its actions are {', '.join(map(str, keys))}, and the mapping reads {', '.join(names)}")
    unknown.append(f"GR00T's protocol does not say which way its gripper opens: the mapping's word ({mapping.name})")


def _request_value(request: Any, name: str) -> Any:
    return request.get(name) if isinstance(request, Mapping) else None


def _names(value: Any) -> list[str]:
    return list(value) if isinstance(value, Mapping) else []


def _format(spec: Mapping[str, Any], name: str) -> str:
    part = spec.get(name)
    return str(part.get("format", "")) if isinstance(part, Mapping) else ""


def _plain(value: Any) -> Any:
    """A statement's value as JSON's own types."""
    if isinstance(value, np.ndarray):
        return value.tolist()
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value if isinstance(value, str | int | float | bool | None) else repr(value)

"""The codecs against messages captured from the original packages: equal to the byte, decoded equal to the bit."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest

from vla_bench.policies.remote.codecs import groot, openpi, rest, vla_eval
from vla_bench.policies.remote.codecs.vla_eval import Message

FOLDER = Path(os.environ.get("REMOTE_GOLDEN", "."))
pytestmark = pytest.mark.skipif(
    not (FOLDER / "openpi_action.msgpack").is_file(),
    reason="REMOTE_GOLDEN does not name a folder of captured messages",
)

PROMPT = "push the sliding door to the left side"
TIME = 1700000000.25


@pytest.fixture(scope="module")
def drawn():
    """The arrays behind the openpi and vla-eval messages, in the order in which they were drawn."""
    r = np.random.default_rng(0)
    arrays = {
        "static": r.integers(0, 256, (200, 200, 3), dtype=np.uint8),
        "gripper": r.integers(0, 256, (84, 84, 3), dtype=np.uint8),
        "state": r.standard_normal(15),
        "actions": r.standard_normal((10, 7)),
    }
    r = np.random.default_rng(0)
    for size in ((200, 200, 3), (84, 84, 3)):
        r.integers(0, 256, size, dtype=np.uint8)
    r.standard_normal(15)
    arrays["action"] = r.standard_normal(7).astype(np.float32)
    arrays["chunk"] = r.standard_normal((10, 7)).astype(np.float32)
    return arrays


def captured(name: str) -> bytes:
    return (FOLDER / name).read_bytes()


def same(mine, theirs):
    """Equal in type, keys and their order, dtype and bits."""
    if isinstance(theirs, np.ndarray):
        assert isinstance(mine, np.ndarray) and mine.dtype == theirs.dtype and mine.shape == theirs.shape
        assert mine.tobytes() == theirs.tobytes()
    elif isinstance(theirs, dict):
        assert list(mine) == list(theirs)
        for key in theirs:
            same(mine[key], theirs[key])
    elif isinstance(theirs, list | tuple):
        assert len(mine) == len(theirs)
        for one, other in zip(mine, theirs, strict=True):
            same(one, other)
    else:
        assert type(mine) is type(theirs) and mine == theirs


def openpi_messages(drawn):
    return {
        "openpi_observation": {
            "observation/image": drawn["static"],
            "observation/wrist_image": drawn["gripper"],
            "observation/state": drawn["state"],
            "prompt": PROMPT,
        },
        "openpi_action": {
            "actions": drawn["actions"],
            "policy_timing": {"infer_ms": 12.5},
            "server_timing": {"infer_ms": 13.25},
        },
        "openpi_metadata": {
            "reset_pose": [0.0, -1.5, 1.5],
            "name": "stub",
            "n": np.int64(7),
            "scale": np.float32(0.5),
        },
        "openpi_metadata_empty": {},
        "openpi_types": {
            "f4": np.arange(6, dtype=np.float32).reshape(2, 3),
            "f8": np.arange(3, dtype=np.float64),
            "u1": np.arange(4, dtype=np.uint8),
            "i8": np.arange(3, dtype=np.int64),
            "bool": np.array([True, False]),
            "zero_d": np.array(2.5),
            "empty": np.zeros((0, 7), dtype=np.float32),
            "fortran": np.asfortranarray(np.arange(6, dtype=np.float32).reshape(2, 3)),
            "big_endian": np.arange(3).astype(">i4"),
            "str": np.array(["ab", "c"]),
            "scalar_f4": np.float32(1.5),
            "scalar_bool": np.bool_(True),
            "py": [1, 2.5, None, True, "é", b"\x00\x01", [1, 2]],
        },
    }


def vla_eval_messages(drawn):
    images = {"rgb_static": drawn["static"], "rgb_gripper": drawn["gripper"]}
    states = drawn["state"][:8].astype(np.float32)
    server = {
        "harness_version": "0.8.0",
        "protocol_version": 1,
        "model_server": "StubServer",
        "capabilities": {},
        "observation_params": {"send_wrist_image": True, "send_state": True, "absolute_action": True},
        "action_spec": {
            "position": {"name": "position", "dims": 3, "format": "absolute_xyz"},
            "rotation": {"name": "rotation", "dims": 3, "format": "axis_angle", "range": [-3.15, 3.15]},
            "gripper": {"name": "gripper", "dims": 1, "format": "binary_close_positive", "range": [-1, 1]},
        },
        "observation_spec": {
            "image": {"name": "image", "dims": 0, "format": "rgb_hwc_uint8"},
            "language": {"name": "language", "dims": 0, "format": "language"},
        },
    }
    client = {"harness_version": "0.8.0", "protocol_version": 1, "benchmark": "CALVINBenchmark"}
    task = {"task": {"name": "seq_0000", "seq_idx": 0, "episode_idx": 0}}
    end = {"metrics": {"success": False, "completed_subtasks": 2}, "steps": 731, "elapsed_sec": 41.5}
    seen = {"images": images, "task_description": PROMPT, "states": states}
    restart = {"task_description": PROMPT, "states": states, "episode_restart": True}
    error = {"error": "observation_failed: ValueError: no such key"}
    return {
        "vlaeval_hello_client": Message("hello", client, 1, TIME),
        "vlaeval_hello_server": Message("hello", server, 1, TIME),
        "vlaeval_episode_start": Message("episode_start", task, 2, TIME),
        "vlaeval_observation_raw": Message("observation", seen, 3, TIME),
        "vlaeval_observation_restart_noimage": Message("observation", restart, 4, TIME),
        "vlaeval_action": Message("action", {"actions": drawn["action"]}, 3, TIME),
        "vlaeval_action_chunk": Message("action", {"actions": drawn["chunk"]}, 3, TIME),
        "vlaeval_error": Message("error", error, 3, TIME),
        "vlaeval_episode_end": Message("episode_end", end, 9, TIME),
    }


def groot_messages():
    r = np.random.default_rng(11)
    image = r.integers(0, 256, (1, 1, 16, 16, 3), dtype=np.uint8)
    states = ("x", "y", "z", "roll", "pitch", "yaw", "pad", "gripper")
    state = {name: r.standard_normal((1, 1, 1)).astype(np.float32) for name in states}
    actions = ("x", "y", "z", "roll", "pitch", "yaw", "gripper")
    action = {name: r.standard_normal((1, 8, 1)).astype(np.float32) for name in actions}
    language = {"annotation.human.action.task_description": [["put the spoon on the towel"]]}
    observation = {"video": {"image_0": image}, "state": state, "language": language}
    return {
        "built_groot_get_action": {
            "endpoint": "get_action",
            "data": {"observation": observation, "options": None},
        },
        "built_groot_action": [action, {}],
        "built_groot_error": {"error": "Unknown endpoint: nope"},
        "built_groot_ping": {"endpoint": "ping"},
        "built_groot_ping_reply": {"status": "ok", "message": "Server is running"},
        "built_groot_reset": {"endpoint": "reset", "data": {"options": None}},
        "groot_error": {"error": "no such key"},
        "groot_get_modality_config": {"endpoint": "get_modality_config"},
        "groot_reset_reply": {},
    }


def test_openpi(drawn):
    for name, message in openpi_messages(drawn).items():
        data = captured(f"{name}.msgpack")
        assert openpi.encode(message) == data, name
        decoded = openpi.decode(data)
        assert openpi.encode(decoded) == data, name
        same(decoded, message)


def test_vla_eval(drawn):
    for name, message in vla_eval_messages(drawn).items():
        data = captured(f"{name}.msgpack")
        assert vla_eval.encode(message) == data, name
        decoded = vla_eval.decode(data)
        assert (decoded.type, decoded.seq, decoded.timestamp) == (message.type, message.seq, message.timestamp)
        same(decoded.payload, message.payload)


def test_vla_eval_png(drawn):
    payload = vla_eval.decode(captured("vlaeval_observation_png.msgpack")).payload
    same(payload, vla_eval_messages(drawn)["vlaeval_observation_raw"].payload)
    again = vla_eval.decode(vla_eval.encode(Message("observation", payload, 3, TIME), images="png"))
    same(again.payload, payload)


def test_groot():
    for name, message in groot_messages().items():
        data = captured(f"{name}.msgpack")
        assert groot.encode(message) == data, name
        same(groot.decode(data), message)


def test_groot_modality_config():
    data = captured("groot_modality_config.msgpack")
    decoded = groot.decode(data)
    assert decoded["action"]["delta_indices"] == list(range(8))
    assert groot.encode({name: groot.modality_config(each) for name, each in decoded.items()}) == data
    text = {"video": {"__ModalityConfig_class__": True, "as_json": json.dumps(decoded["video"])}}
    assert groot.decode(groot.encode(text)) == {"video": decoded["video"]}


def rest_arrays():
    r = np.random.default_rng(7)
    return {
        "image": r.integers(0, 256, (8, 6, 3), dtype=np.uint8),
        "proprio": r.standard_normal(20).astype(np.float32),
        "chunk": r.standard_normal((30, 20)),
        "action": r.standard_normal(7),
        "second": r.standard_normal(7),
    }


def test_rest_requests():
    arrays, instruction = rest_arrays(), "go push the red block right"
    x_vla = {"proprio": arrays["proprio"], "language_instruction": instruction, "image0": arrays["image"]}
    x_vla |= {"domain_id": 2, "steps": 10}
    openvla = {"image": arrays["image"], "instruction": instruction, "unnorm_key": "bridge_orig"}
    for name, request, encoded in (
        ("rest_xvla_request", x_vla, rest.encode_x_vla(x_vla)),
        ("rest_openvla_request", openvla, rest.encode_openvla(openvla)),
        ("rest_openvla_request_encoded", openvla, rest.encode_openvla(openvla, double=True)),
    ):
        assert encoded == captured(f"{name}.json"), name
        same(rest.decode_request(captured(f"{name}.json")), request)


def test_rest_replies():
    arrays = rest_arrays()
    chunk = rest.decode_reply(captured("rest_xvla_reply.json"))["action"]
    same(np.array(chunk), arrays["chunk"])
    same(rest.decode_reply(captured("rest_openvla_reply.json")), arrays["action"])
    same(rest.decode_reply(captured("rest_openvla_reply_encoded.json")), arrays["second"])
    assert rest.decode_reply(captured("rest_openvla_reply_error.json")) == "error"
    assert rest.encode(arrays["action"]) == captured("rest_openvla_reply.json")
    assert rest.encode(rest.encoded_text(arrays["second"])) == captured("rest_openvla_reply_encoded.json")

"""GR00T's ZMQ service and the /act servers, played by the test: requests, replies, failures, refusals."""

from __future__ import annotations

import contextlib
import http.server
import json
import threading

import numpy as np
import pytest

zmq = pytest.importorskip("zmq")
msgpack = pytest.importorskip("msgpack")
pytest.importorskip("httpx")

from vla_bench.envs.observation import Observation  # noqa: E402
from vla_bench.envs.simulation import environment_spec  # noqa: E402
from vla_bench.policies.base import SubtaskContext  # noqa: E402
from vla_bench.policies.errors import PolicyError  # noqa: E402
from vla_bench.policies.remote import RemotePolicy  # noqa: E402
from vla_bench.policies.remote.codecs import groot, rest  # noqa: E402
from vla_bench.policies.remote.errors import MessageFault, RemoteFault, ServerFault  # noqa: E402
from vla_bench.policies.remote.mapping import load_mapping  # noqa: E402
from vla_bench.policies.remote.probe import probe_of  # noqa: E402
from vla_bench.policies.remote.request import Moment, Requests  # noqa: E402

CALVIN = environment_spec("calvin")
BRIDGE = environment_spec("simpler", {"set": "bridge"})
CONTEXT = SubtaskContext("seq-0000", 0, 0)
QUICK = {"wait": 30.0, "timeout": 30.0, "model": "mine@1"}
KEYS = ("x", "y", "z", "roll", "pitch", "yaw", "gripper")
CONFIG = {
    "video": groot.modality_config({"delta_indices": [0], "modality_keys": ["image_0"]}),
    "action": groot.modality_config({"delta_indices": list(range(8)), "modality_keys": list(KEYS)}),
}
GROOT = {
    "protocol": "groot",
    "family": "simpler",
    "dialect": "n1.6",
    "batch": True,
    "request": {
        "video": {"image_0": {"image": "3rd_view_camera", "axes": 2}},
        "state": {"x": {"state": ["position[0]"], "axes": 2}},
        "language": {"task": {"text": "{instruction}", "axes": 2}},
    },
    "answer": {"path": "", "keys": list(KEYS), "convention": "bridge", "as_form": "as_is", "chunk": 8, "execute": 8},
}


@contextlib.contextmanager
def zmq_server(answer):
    """``answer(request)`` gives the bytes of a reply, or None for silence."""
    socket = zmq.Context.instance().socket(zmq.REP)
    socket.setsockopt(zmq.LINGER, 0)
    port = socket.bind_to_random_port("tcp://127.0.0.1")
    stop, heard = threading.Event(), []

    def run():
        while not stop.is_set():
            if socket.poll(50):
                heard.append(groot.decode(socket.recv()))
                reply = answer(heard[-1])
                if reply is None:
                    return
                socket.send(reply)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    try:
        yield f"127.0.0.1:{port}", heard
    finally:
        stop.set()
        thread.join(5)
        socket.close(0)


def groot_reply(request):
    if request["endpoint"] == "get_modality_config":
        return groot.encode(CONFIG)
    if request["endpoint"] == "reset":
        return groot.encode({})
    batch = request["data"]["observation"]["video"]["image_0"].shape[0]
    rows = np.arange(batch, dtype=np.float32)[:, None, None] + np.zeros((batch, 8, 1), np.float32)
    return groot.encode([{key: rows for key in KEYS}, {}])


def seen(environment, mapping):
    return probe_of(environment, mapping)[0]


def test_groot_requests_and_batches():
    with zmq_server(groot_reply) as (address, heard):
        policy = RemotePolicy(BRIDGE, "groot", address, mapping=GROOT, **QUICK)
        observation = seen(BRIDGE, policy._mapping)
        for slot in range(2):
            policy.reset(slot, "put the spoon on the towel", CONTEXT)
        chunks = policy.act((0, 1), (observation, observation))
        policy.close()
    assert [chunk.shape for chunk in chunks] == [(8, 7), (8, 7)]
    assert chunks[0][0].tolist() == [0.0] * 6 + [-1.0] and chunks[1][0].tolist() == [1.0] * 7
    data = heard[-1]["data"]["observation"]
    assert data["video"]["image_0"].shape == (2, 1, 480, 640, 3) and data["state"]["x"].dtype == np.float32
    assert data["language"]["task"] == [["put the spoon on the towel"]] * 2
    assert [each["endpoint"] for each in heard].count("reset") == 2  # the fixed question, and the episode


@pytest.mark.parametrize(
    ("reply", "kind", "words"),
    [
        (groot.encode({"error": "no such key"}), ServerFault, "no such key"),
        (groot.encode({"error": "Unauthorized: Invalid API token"}), PolicyError, "token"),
        (groot.encode({"error": "got an unexpected keyword argument 'video.x'"}), PolicyError, r"N1\.6"),
        (b"PK\x03\x04" + bytes(60), PolicyError, "pickle"),
        (b"\xc1", MessageFault, "msgpack type"),
        (groot.encode({"x": 1}), MessageFault, "another line"),
    ],
)
def test_groot_failures(reply, kind, words):
    def answer(request):
        return groot_reply(request) if request["endpoint"] != "get_action" else reply

    with zmq_server(answer) as (address, _):
        policy = RemotePolicy(BRIDGE, "groot", address, mapping=GROOT, probe=False, **QUICK)
        policy.reset(0, "go", CONTEXT)
        with pytest.raises(kind, match=words) as caught:
            policy.act((0,), (seen(BRIDGE, policy._mapping),))
        policy.close()
    assert "\n" not in str(caught.value)


SETS = {"bridge": "bridge", "fractal": "visual_matching"}
N15_STATES = {
    "groot_n15_bridge": ("x", "y", "z", "roll", "pitch", "yaw", "pad", "gripper"),
    "groot_n15_fractal": ("x", "y", "z", "rx", "ry", "rz", "rw", "gripper"),
}


def n15_config(mapping, states):
    """What a server of the N1.5 line declares: whole names, each modality as a string of JSON."""

    def modality(steps, keys):
        plain = json.dumps({"delta_indices": list(range(steps)), "modality_keys": keys})
        return {"__ModalityConfig_class__": True, "as_json": plain}

    video = next(name for name in mapping.request if name.startswith("video."))
    return {
        "video": modality(1, [video]),
        "state": modality(1, [f"state.{name}" for name in states]),
        "language": modality(1, ["annotation.human.action.task_description"]),
        "action": modality(16, [f"action.{name}" for name in KEYS]),
    }


@pytest.mark.parametrize("name", N15_STATES)
def test_groot_n15_is_asked_flatly_and_at_every_step(name):
    pytest.importorskip("cv2")
    mapping = load_mapping(name)
    environment = environment_spec("simpler", {"set": SETS[name.rpartition("_")[2]]})

    def answer(request):
        if request["endpoint"] == "get_modality_config":
            return msgpack.packb(n15_config(mapping, N15_STATES[name]))
        steps = np.arange(16, dtype=np.float32)  # without the axis of length 1, as its server leaves it
        return groot.encode({f"action.{key}": (number + steps) / 8 for number, key in enumerate(KEYS)})

    with zmq_server(answer) as (address, heard):
        policy = RemotePolicy(environment, "groot", address, mapping=name, probe=False, **QUICK)
        observation = dict(seen(environment, mapping))
        policy.reset(0, "pick it up", CONTEXT)
        chunk = policy.act((0,), (Observation(observation),))[0]
        policy.close()
    assert [each["endpoint"] for each in heard] == ["get_modality_config", "get_action"]
    data = heard[-1]["data"]
    google = name.endswith("fractal")
    video = data["video.image" if google else "video.image_0"]
    assert video.shape == ((1, 256, 320, 3) if google else (1, 256, 256, 3)) and video.dtype == np.uint8
    assert data["annotation.human.action.task_description"] == ["pick it up"]
    for key in N15_STATES[name]:
        assert data[f"state.{key}"].shape == (1, 1) and data[f"state.{key}"].dtype == np.float64
    closedness = float(observation["gripper_closedness"][0])
    assert data["state.gripper"].item() == (closedness if google else 1 - closedness)
    arm, grip = chunk[0, :6].tolist(), chunk[0, 6]
    assert chunk.shape == (1, 7) and arm == [0.0, 0.125, 0.25, 0.375, 0.5, 0.625]
    assert grip == (1 - 2 * 0.75 if google else 1.0)


def test_groot_n15_with_other_keys_is_a_contradiction():
    pytest.importorskip("cv2")
    mapping = load_mapping("groot_n15_bridge")

    def answer(request):
        return msgpack.packb(n15_config(mapping, (*N15_STATES["groot_n15_bridge"], "torque")))

    with zmq_server(answer) as (address, _), pytest.raises(PolicyError, match=r"it wants state state\.torque"):
        RemotePolicy(BRIDGE, "groot", address, mapping="groot_n15_bridge", **QUICK)


def test_groots_google_robot_is_told_how_closed_its_gripper_is():
    """As its fork's ``1 - openness`` of the Google Robot; the WidowX's is openness."""
    for name, key, expected in (("groot_fractal", "fractal", 0.25), ("groot_bridge", "bridge", 0.75)):
        pytest.importorskip("cv2")
        mapping = load_mapping(name)
        environment = environment_spec("simpler", {"set": SETS[key]})
        shown = dict(seen(environment, mapping))
        shown["gripper_closedness"] = np.array([0.25])
        request = Requests(mapping, environment)(Observation(shown), Moment("go", CONTEXT))
        assert request["state"]["gripper"].item() == expected


def test_groot_silence_and_nobody():
    with pytest.raises(RemoteFault, match="has not answered"):
        RemotePolicy(BRIDGE, "groot", "127.0.0.1:9", mapping=GROOT, wait=0.3, model="mine@1")


@contextlib.contextmanager
def http_server(answer):
    """``answer(body)`` gives status and bytes."""
    heard = []

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self):
            self._send(404, b"no such page")

        def do_POST(self):
            heard.append(self.rfile.read(int(self.headers["Content-Length"])))
            self._send(*answer(heard[-1]))

        def _send(self, status, body):
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *words):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    try:
        yield f"127.0.0.1:{server.server_port}", heard
    finally:
        server.shutdown()
        server.server_close()


def x_vla_rows(start):
    rows = np.zeros((30, 20))
    rows[:, 0] = start + np.arange(30)
    rows[:, 3:9] = (1, 0, 0, 1, 0, 0)
    rows[:, 9] = 0.9
    return rows


def test_x_vla_follows_its_own_actions_and_runs_on_over_the_instruction():
    count = []

    def answer(body):
        count.append(1)
        return 200, json.dumps({"action": x_vla_rows(100.0 * len(count)).tolist()}).encode()

    mapping = load_mapping("x_vla_calvin")
    observation = seen(CALVIN, mapping)
    with http_server(answer) as (address, heard):
        policy = RemotePolicy(CALVIN, "rest", address, mapping="x_vla_calvin", probe=False, **QUICK)
        policy.reset(0, "first", CONTEXT)
        (chunk,) = policy.act((0,), (observation,))
        assert chunk.shape == (25, 8) and chunk[:, 0].tolist() == list(range(100, 125)) and set(chunk[:, 7]) == {-1.0}
        np.testing.assert_allclose(chunk[0, 3:7], (0, 0, 0, 1), atol=1e-12)
        policy.act((0,), (observation,))
        # The second chunk is broken off after its third action; what is left of it goes on under the next instruction.
        policy.reset(0, "second", SubtaskContext("seq-0000", 1, 0, executed=3))
        (rest_of_it,) = policy.act((0,), (observation,))
        assert rest_of_it[:, 0].tolist() == list(range(203, 225))
        policy.act((0,), (observation,))
        policy.reset(0, "first", SubtaskContext("seq-0001", 0, 0))
        policy.act((0,), (observation,))
        policy.close()
    requests = [rest.decode_request(body) for body in heard]
    assert [request["language_instruction"] for request in requests] == ["first", "first", "second", "first"]
    assert [float(request["proprio"][0]) for request in requests[1:3]] == [124.0, 224.0]
    fresh = [requests[0]["proprio"], requests[3]["proprio"]]
    assert np.array_equal(*fresh) and fresh[0][0] == observation["robot_obs"][0]
    assert json.loads(heard[0])["image0"].startswith('{"__numpy__"')


def test_x_vla_follows_its_own_actions_on_widowx_too():
    """Its WidowX client does as its CALVIN client, and starts anew with each trial."""
    count = []

    def answer(body):
        count.append(1)
        return 200, json.dumps({"action": x_vla_rows(100.0 * len(count)).tolist()}).encode()

    observation = seen(BRIDGE, load_mapping("x_vla_bridge"))
    with http_server(answer) as (address, heard):
        policy = RemotePolicy(BRIDGE, "rest", address, mapping="x_vla_bridge", probe=False, **QUICK)
        for episode in ("widowx_stack_cube-000", "widowx_stack_cube-001"):
            policy.reset(0, "stack", SubtaskContext(episode, 0, 0))
            for _ in range(2):
                (chunk,) = policy.act((0,), (observation,))
                assert chunk.shape == (30, 7) and set(chunk[:, 6]) == {-1.0}
                np.testing.assert_allclose(chunk[0, 3:6], (0, np.pi / 2, 0), atol=1e-12)
        policy.close()
    requests = [rest.decode_request(body) for body in heard]
    assert list(requests[0]) == ["proprio", "language_instruction", "image0", "domain_id", "steps"]
    first, second, third, _ = (request["proprio"].tolist() for request in requests)
    assert second[0] == 129.0 and np.float32(second[9]) == np.float32(0.9) and not any(second[10:])
    assert first == third and first[3:10] == [1, 0, 0, 1, 0, 0, 0]


@pytest.mark.parametrize(
    ("status", "body", "kind", "words"),
    [
        (200, b'"error"', ServerFault, "error"),
        (400, b'{"error": "no such domain"}', ServerFault, "no such domain"),
        (500, b"<html>Internal Server Error</html>", ServerFault, "HTTP 500"),
        (401, b"", PolicyError, "token"),
        (200, b"{", MessageFault, "no JSON"),
        (200, b'{"__numpy__": "AAAA", "dtype": "|O", "shape": [1]}', MessageFault, "dtype"),
        (200, b"[1, 2, 3]", MessageFault, "shape"),
        (200, b"[" * 100_000, MessageFault, "JSON"),
    ],
)
def test_rest_failures(status, body, kind, words):
    mapping = {
        "protocol": "rest",
        "family": "simpler",
        "dialect": "openvla",
        "request": {"image": {"image": "3rd_view_camera"}, "instruction": {"text": "{instruction}"}},
        "answer": {"path": "", "convention": "bridge"},
    }
    with http_server(lambda _: (status, body)) as (address, _):
        policy = RemotePolicy(BRIDGE, "rest", address, mapping=mapping, probe=False, **QUICK)
        policy.reset(0, "go", CONTEXT)
        with pytest.raises(kind, match=words) as caught:
            policy.act((0,), (seen(BRIDGE, policy._mapping),))
        policy.close()
    assert "\n" not in str(caught.value)


def test_openvla_answers_one_action():
    with http_server(lambda _: (200, rest.encode(np.arange(7) / 7))) as (address, heard):
        mapping = "openvla_bridge"
        policy = RemotePolicy(BRIDGE, "rest", address, mapping=mapping, **QUICK, extra={"unnorm_key": "mine"})
        policy.reset(0, "go", CONTEXT)
        (chunk,) = policy.act((0,), (seen(BRIDGE, policy._mapping),))
        policy.close()
    assert chunk.shape == (1, 7) and chunk[0, 6] == 1.0
    assert rest.decode_request(heard[-1])["unnorm_key"] == "mine"

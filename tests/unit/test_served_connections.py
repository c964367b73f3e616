"""The server's end of a websocket, and messages that are taken as they lie."""

from __future__ import annotations

import contextlib
import gc
import queue
import re
import socket
import struct
import threading
import time
import tracemalloc
import urllib.error
import urllib.request

import numpy as np
import pytest

pytest.importorskip("websockets")

from remote_servers import Waver, served
from websockets.exceptions import ConnectionClosed
from websockets.frames import Frame, Opcode
from websockets.sync.client import connect

from vla_bench.bench.serving import batches
from vla_bench.bench.serving.connection import ServedConnection
from vla_bench.bench.serving.talks import ChunkEncoder
from vla_bench.envs.simulation import environment_spec
from vla_bench.policies.base import EpisodeOutcome, SubtaskContext
from vla_bench.policies.remote.codecs import openpi
from vla_bench.policies.remote.connections import frames
from vla_bench.policies.remote.errors import MessageFault
from vla_bench.policies.remote.mapping import load_mapping
from vla_bench.policies.remote.probe import probe_of
from vla_bench.policies.remote.request import Moment, Requests
from vla_bench.policies.stub import StubPolicy

CALVIN = environment_spec("calvin")
MAPPING = load_mapping("openpi_raw_calvin")


def request(state: float = 0.0, prompt: str = "go", **more) -> dict:
    seen, _ = probe_of(CALVIN, MAPPING)
    made = Requests(MAPPING, CALVIN)(seen, Moment(prompt, SubtaskContext("seq-0000", 0, 0)))
    made["observation/state"] = made["observation/state"] + state
    return {**made, **more}


def opened(address: str):
    connection = connect(f"ws://{address}", compression=None, max_size=None, proxy=None, ping_interval=None)
    connection = connection.__enter__()
    assert openpi.decode(connection.recv(timeout=10))["name"] == "waver@1"
    return connection


def upgrade(address: str) -> bytes:
    """What a client asks first."""
    return (
        f"GET / HTTP/1.1\r\nHost: {address}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n\r\n"
    ).encode()


def actions(message) -> list:
    return openpi.decode(message)["actions"].tolist()


@pytest.fixture(scope="module")
def address():
    with served(Waver(CALVIN), CALVIN, "openpi_raw_calvin") as found:
        yield found


@pytest.fixture(scope="module")
def expected():
    policy = Waver(CALVIN)

    def of(asked: dict) -> list:
        policy.reset(0, asked["prompt"], SubtaskContext("e", 0, 0))
        arrays = {"static": "observation/image", "gripper": "observation/wrist_image"}
        seen = {f"rgb_{camera}": asked[key] for camera, key in arrays.items()}
        return policy.act((0,), ({**seen, "robot_obs": asked["observation/state"]},))[0].tolist()

    return of


def test_messages_in_one_piece_in_many_and_large_ones(address, expected):
    connection = opened(address)
    plain, other = request(0.0), request(0.25)
    large = request(0.5, padding=np.zeros(3_000_000, dtype=np.uint8))
    connection.send(openpi.encode(plain))
    assert actions(connection.recv(timeout=10)) == expected(plain)
    data = openpi.encode(other)
    connection.send(data[start : start + 50_000] for start in range(0, len(data), 50_000))  # fragments
    assert actions(connection.recv(timeout=10)) == expected(other)
    connection.send(openpi.encode(large))
    assert actions(connection.recv(timeout=10)) == expected(large)
    assert connection.ping().wait(10)
    connection.send(openpi.encode(plain))
    assert actions(connection.recv(timeout=10)) == expected(plain)
    connection.close()


def test_bytes_that_come_one_by_one(address, expected):
    host, _, port = address.rpartition(":")
    asked = request()
    data = Frame(Opcode.BINARY, openpi.encode(asked)).serialize(mask=True)
    with socket.create_connection((host, int(port)), timeout=10) as raw:
        raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for byte in upgrade(address):
            raw.sendall(bytes((byte,)))
        for byte in data[:20]:
            raw.sendall(bytes((byte,)))
        raw.sendall(data[20:] + data[:5])
        raw.sendall(data[5:])
        stream = raw.makefile("rb")
        while stream.readline() != b"\r\n":
            pass

        def message() -> bytes:
            head, size = stream.read(2)
            assert head == 0x82
            return stream.read(struct.unpack("!H", stream.read(2))[0] if size == 126 else size)

        assert openpi.decode(message())["name"] == "waver@1"
        assert actions(message()) == actions(message()) == expected(asked)


def test_requests_sent_ahead_are_answered_in_order(address, expected):
    connection = opened(address)
    several = [request(number / 8, prompt) for number, prompt in enumerate(("go", "go", "stop", "go", "stop"))]
    for each in several:
        connection.send(openpi.encode(each))
    assert [actions(connection.recv(timeout=10)) for _ in several] == [expected(each) for each in several]
    connection.close()


def test_an_error_ends_its_connection_and_no_other(address, expected):
    good, bad = opened(address), opened(address)
    bad.send(b"\xc1")
    with contextlib.suppress(ConnectionClosed):  # already
        bad.send(openpi.encode(request()))
    assert "msgpack" in bad.recv(timeout=10)
    with pytest.raises(ConnectionClosed) as caught:
        bad.recv(timeout=10)
    assert caught.value.rcvd.code == 1011
    good.send(openpi.encode(request()))
    assert actions(good.recv(timeout=10)) == expected(request())
    good.close()


def test_health_and_what_is_no_websocket(address):
    with urllib.request.urlopen(f"http://{address}/healthz", timeout=10) as answer:
        assert answer.read() == b"OK\n"
    with urllib.request.urlopen(f"http://{address}/health", timeout=10) as answer:
        assert answer.read() == b'{"status": "ok"}\n'
    with pytest.raises(urllib.error.HTTPError, match="426"):
        urllib.request.urlopen(f"http://{address}/", timeout=10)


def test_the_end_of_the_server_ends_waiting_clients():
    def waits() -> None:
        with pytest.raises(ConnectionClosed):
            connection.recv(timeout=10)

    with served(Waver(CALVIN), CALVIN, "openpi_raw_calvin") as found:
        connection = opened(found)
        closed = threading.Thread(target=waits)
        closed.start()
        began = time.monotonic()
    closed.join(10)
    assert time.monotonic() - began < 5 and connection.close_code == 1001


def test_a_message_that_differs_in_numbers_alone_is_taken_as_it_lies():
    decode = openpi.Decoder()
    chunk = np.arange(70, dtype=np.float64).reshape(10, 7)
    small = np.arange(3, dtype=np.int16)
    for number in range(4):
        value = {
            "a": [{"x": chunk + number}, (chunk > number).T, small],
            "timing": {"ms": 0.5 + number},
            "word": "same",
            "images": np.full((8, 9, 3), number, dtype=np.uint8),
        }
        data = openpi.encode(value)
        was, found, plain = decode._form, decode(data), openpi.decode(data)
        assert number == 0 or (was is not None and decode._form is was)
        assert repr(found) == repr(plain)
        assert not found["images"].flags.writeable or number
    other = data.replace(b"same", b"else")
    assert decode(other)["word"] == "else"


@pytest.mark.parametrize(
    "changed",
    [(b"<f8", b"|O8"), (b"__ndarray__", b"__ndarrax__"), (b"same", b"\xc1\xc1\xc1\xc1"), (b"\x0a\x07", b"\x0a\x08")],
)
def test_a_hostile_message_behind_a_good_one_is_judged(changed):
    decode = openpi.Decoder()
    data = openpi.encode({"a": np.zeros((10, 7)), "word": "same"})
    decode(data)
    hostile = data.replace(*changed)
    assert hostile != data and len(hostile) == len(data)
    outcomes = []
    for each in (decode, openpi.decode):
        try:
            outcomes.append(repr(each(hostile)))
        except MessageFault as fault:
            outcomes.append(str(fault))
    assert outcomes[0] == outcomes[1]


def test_a_message_has_no_form_where_its_numbers_cannot_be_told_apart():
    for value in ({"a": b"x" * 20}, {"a": np.float32(2.5)}, {"a": np.array(["a text of many bytes"])}):
        decode = openpi.Decoder()
        decode(openpi.encode(value))
        assert decode._form is None


def test_whom_a_decision_waits_for():
    habit = batches._Habit(answered=10.0, returns=0.006)
    assert habit.comes(10.001, within=0.02)  # due in 5 ms
    assert habit.comes(10.02, within=0.02)  # late by 14 ms
    assert not habit.comes(10.04, within=0.02)  # late by 34 ms: it does something else
    assert not batches._Habit(answered=10.0, returns=0.5).comes(10.001, within=0.02)  # moves its robot meanwhile


def test_a_chunk_is_encoded_as_the_codec_does():
    encode = ChunkEncoder()
    shapes = ((10, 7), "f4"), ((10, 7), "f4"), ((5, 7), "f8"), ((1, 2), "f4"), ((2, 7), "f4"), ((0, 7), "f8")
    for shape, kind in shapes:
        chunk = np.random.default_rng(1).random(shape).astype(kind)
        plain = openpi.encode({"actions": chunk, "server_timing": {"infer_ms": 2.5}})
        assert encode(chunk, 2.5) == encode(chunk.T.copy().T, 2.5) == plain


@pytest.mark.parametrize("several", [1, 3])
def test_chunks_are_judged_whole(several):
    class Answers(Waver):
        def act(self, slots, observations):
            return [self.answer] * len(slots)

    policy = Answers(CALVIN)
    judged = batches.Batches(policy)
    good = np.zeros((policy.spec.execute, 7), np.float32)
    good[:, -1] = 1
    bad = good.copy()
    bad[-1, 2] = np.nan
    try:
        for answer, said in (
            (good, ""),
            (bad, "must be finite"),
            (good[:, :6], "6"),
            (good.tolist(), ""),
            (good.astype(np.float16), ""),
            (good[0], ""),
            ("open", "text"),
            (good[:0], "without actions"),
        ):
            policy.answer, found = answer, queue.SimpleQueue()
            for slot in range(several):
                judged.ask(batches.Wish(slot, probe_of(CALVIN, MAPPING)[0], None, found.put))
            for _ in range(several):
                decided = found.get(timeout=10)
                assert said in str(decided) if said else decided.chunk.ndim == 2
    finally:
        judged.stop()


def test_the_end_of_an_episode_keeps_nobody_from_being_read():
    """The policy is told of it in its own thread, which may be busy."""
    began, go_on = threading.Event(), threading.Event()

    class Slow(Waver):
        def act(self, slots, observations):
            began.set()
            go_on.wait(10)
            return super().act(slots, observations)

        def finished(self, slot, outcome):
            told.append(slot)

    told: list[int] = []
    asked = batches.Batches(Slow(CALVIN))
    try:
        answers: queue.SimpleQueue = queue.SimpleQueue()
        context = ("go", SubtaskContext("e", 0, 0))
        asked.ask(batches.Wish(0, probe_of(CALVIN, MAPPING)[0], context, answers.put))
        assert began.wait(10)
        asked.finished(1, EpisodeOutcome(True, 1, 1, 0.0))  # returns at once
        assert not told
        go_on.set()
        answers.get(timeout=10)
    finally:
        go_on.set()
        asked.stop()
    assert told in ([1], [])


def test_one_that_sends_ahead_without_end_is_kept_waiting(address):
    """What it sends stays with the system until it has been answered; others are answered meanwhile."""
    eager, other = opened(address), opened(address)
    data = openpi.encode(request())

    def send() -> None:
        with contextlib.suppress(ConnectionClosed):
            for _ in range(60):
                eager.send(data)

    sending = threading.Thread(target=send)
    sending.start()
    other.send(data)
    assert actions(other.recv(timeout=10))
    for _ in range(60):
        assert actions(eager.recv(timeout=10))
    sending.join(10)
    for each in (eager, other):
        each.close()


@pytest.mark.parametrize(
    "key, value, said",
    [
        ("observation/state", np.full(15, np.nan), "'observation/state' has numbers that are not finite"),
        (
            "observation/state",
            np.zeros(8, np.float32),
            r"'observation/state' is float32 \(8,\), and robot_obs is \(15,\)",
        ),
        ("observation/state", [[1.0], [1.0, 2.0]], "'observation/state' is no array"),
        ("observation/image", np.zeros((200, 200, 3), np.int64), r"'observation/image' is int64 \(200, 200, 3\)"),
        ("observation/image", np.zeros((3, 200, 200), np.uint8), r"'observation/image' is uint8 \(3, 200, 200\)"),
        ("prompt", 5, "'prompt' is no text"),
    ],
)
@pytest.mark.parametrize("before", [True, False])
def test_what_is_wrong_in_a_request_is_said(address, key, value, said, before):
    """Also behind a good one, from which it may differ in its numbers alone."""
    connection = opened(address)
    if before:
        connection.send(openpi.encode(request()))
        assert actions(connection.recv(timeout=10))
    connection.send(openpi.encode({**request(), key: value}))
    answer = connection.recv(timeout=10)
    assert isinstance(answer, str) and re.search(said, answer) and "\n" not in answer
    connection.close()


def test_a_state_that_nobody_asks_for_may_be_anything():
    with served(StubPolicy(CALVIN, chunk=10, cameras="static"), CALVIN, "openpi_raw_calvin") as found:
        connection = opened(found)
        connection.send(openpi.encode({**request(), "observation/state": np.full(15, np.nan)}))
        assert len(actions(connection.recv(timeout=10))) == 10
        connection.close()


def test_an_ended_connection_gives_its_memory_back(address):
    """Without waiting for the garbage collector: a stranger who comes and goes would fill the memory meanwhile."""
    opened(address).close()
    gc.disable()
    tracemalloc.start()
    try:
        for _ in range(12):
            connection = opened(address)
            connection.send(openpi.encode(request()))
            assert actions(connection.recv(timeout=10))
            connection.close()
        held = []
        for _ in range(100):  # the server's end closes a little later
            held = [each.size for each in tracemalloc.take_snapshot().traces if each.size >= frames.ROOM]
            if len(held) < 3:
                break
            time.sleep(0.05)
    finally:
        tracemalloc.stop()
        gc.enable()
    assert len(held) < 3


def test_strangers_who_say_nothing_cost_little(address):
    gc.collect()
    tracemalloc.start()
    try:
        connections = [opened(address) for _ in range(20)]
        large = [each.size for each in tracemalloc.take_snapshot().traces if each.size > frames.FIRST_ROOM + 1000]
    finally:
        tracemalloc.stop()
        for each in connections:
            each.close()
    assert len(large) < 20


def test_a_client_that_pings_and_takes_no_answer_is_left(address, expected):
    """Its answers would keep the thread that reads the others; those wait once, and no longer than it may take."""
    host, _, port = address.rpartition(":")
    ping = Frame(Opcode.PING, b"x" * 125).serialize(mask=True)
    good = opened(address)
    with socket.socket() as deaf:
        deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        deaf.connect((host, int(port)))
        deaf.settimeout(0.2)
        deaf.sendall(upgrade(address))
        began, left = time.monotonic(), False
        while not left and time.monotonic() - began < 20:
            try:
                deaf.sendall(ping * 500)
            except TimeoutError:
                pass
            except OSError:  # it has been left
                left = True
            good.send(openpi.encode(request()))
            assert actions(good.recv(timeout=10)) == expected(request())
        assert left
    good.close()


def test_a_client_that_costs_more_than_there_is_hurts_nobody_else(address, expected, monkeypatch):
    good, bad = opened(address), opened(address)
    whole, asked = ServedConnection.read, threading.Event()

    def read(self, flags=0):
        whole(self, flags)
        if self.messages and b"too much" in self.messages[-1]:
            asked.set()
            raise MemoryError

    monkeypatch.setattr(ServedConnection, "read", read)
    bad.send(openpi.encode(request(prompt="too much")))
    with pytest.raises(ConnectionClosed):
        while True:
            bad.recv(timeout=10)
    assert asked.is_set()
    good.send(openpi.encode(request()))
    assert actions(good.recv(timeout=10)) == expected(request())
    good.close()

"""What stands between a policy and its server: proxies that cut idle connections, limit sizes, or answer for it."""

from __future__ import annotations

import asyncio
import contextlib
import http.server
import json
import threading
import time

import numpy as np
import pytest

pytest.importorskip("websockets")
pytest.importorskip("httpx")

from remote_servers import Thread, Waver, scripted, served

from vla_bench.envs.fake import FakeSimulation
from vla_bench.envs.observation import Sensors
from vla_bench.envs.simulation import environment_spec
from vla_bench.policies.base import SubtaskContext
from vla_bench.policies.errors import PolicyError
from vla_bench.policies.remote import RemotePolicy
from vla_bench.policies.remote.codecs import openpi, vla_eval
from vla_bench.policies.remote.errors import RemoteFault, ServerFault
from vla_bench.policies.remote.mapping import load_mapping
from vla_bench.policies.remote.probe import probe_of

FAKE = environment_spec("fake")
CALVIN = environment_spec("calvin")
QUICK = {"wait": 5.0, "timeout": 10.0}
SEEN = (FakeSimulation(Sensors.of("front")).observe(),)


class Between:
    """A reverse proxy that counts connections; with ``idle``, it cuts those that were silent for so long, with
    ``prefix``, it takes a websocket at paths behind that alone, and takes it away."""

    def __init__(self, behind: str, idle: float = 0.0, prefix: str = "") -> None:
        self._host, self._port = behind.split(":")
        self._idle = idle or None
        self._prefix = prefix
        self.connections = 0
        self._thread = Thread()

    async def _start(self):
        return await asyncio.start_server(self._serve, "127.0.0.1", 0)

    def __enter__(self) -> Between:
        self._server = self._thread.call(self._start())
        self.address = f"127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
        return self

    def __exit__(self, *_: object) -> None:
        self._thread.loop.call_soon_threadsafe(self._server.close)
        self._thread.close()

    async def _serve(self, reader, writer):
        self.connections += 1
        there, back = await asyncio.open_connection(self._host, int(self._port))
        if self._prefix:
            method, path, rest = (await reader.readuntil(b"\r\n")).decode().split(" ", 2)
            if not path.startswith(self._prefix):
                writer.write(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
                await writer.drain()
                writer.close()
                back.close()
                return
            back.write(f"{method} /{path.removeprefix(self._prefix).lstrip('/')} {rest}".encode())
        loop = asyncio.get_running_loop()
        heard = [loop.time()]

        async def carry(source, sink):
            with contextlib.suppress(OSError):
                while data := await source.read(1 << 16):
                    heard[0] = loop.time()
                    sink.write(data)
                    await sink.drain()

        async def watch():
            while self._idle is None or loop.time() - heard[0] < self._idle:
                await asyncio.sleep(0.02)

        tasks = [asyncio.ensure_future(each) for each in (carry(reader, back), carry(there, writer), watch())]
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for each in (*tasks, writer, back):
            each.cancel() if isinstance(each, asyncio.Future) else each.transport.abort()


@pytest.mark.parametrize("protocol", ["openpi", "vla_eval"])
def test_a_connection_is_kept_through_a_proxy_that_cuts_idle_ones(protocol, monkeypatch):
    """A slow simulation between two questions; the proxy's and our own pause are a hundred times shorter than real."""
    monkeypatch.setattr("vla_bench.policies.remote.connections.direct.IDLE_SECONDS", 0.05)
    monkeypatch.setattr("vla_bench.policies.remote.connections.direct.PING_SECONDS", 0.1)
    with served(Waver(FAKE), FAKE, f"{protocol}_fake") as behind, Between(behind, idle=0.6) as proxy:
        policy = RemotePolicy(FAKE, protocol, proxy.address, **QUICK)
        policy.reset(0, "go", SubtaskContext("e-0", 0, 0))
        for _ in range(3):
            policy.act((0,), SEEN)
            time.sleep(1.0)
        policy.act((0,), SEEN)
        policy.close()
    assert proxy.connections == 1


@pytest.mark.parametrize("protocol", ["openpi", "vla_eval"])
def test_a_server_behind_a_path(protocol):
    """As a web server that stands before several models names each."""
    with served(Waver(FAKE), FAKE, f"{protocol}_fake") as behind, Between(behind, prefix="/models/a") as proxy:
        policy = RemotePolicy(FAKE, protocol, f"{proxy.address}/models/a", **QUICK)
        policy.reset(0, "go", SubtaskContext("e-0", 0, 0))
        policy.act((0,), SEEN)
        policy.close()
        with pytest.raises(RemoteFault, match="answers HTTP 404 instead of a websocket"):
            RemotePolicy(FAKE, protocol, f"{proxy.address}/models/b", **{**QUICK, "wait": 0.5})


@pytest.mark.parametrize("protocol", ["openpi", "rest"])
def test_a_connection_that_was_cut_is_made_again(protocol):
    """No ping comes in time here, and HTTP has none."""
    with contextlib.ExitStack() as stack:
        if protocol == "openpi":
            behind, environment, more = stack.enter_context(served(Waver(FAKE), FAKE, "openpi_fake")), FAKE, {}
            seen = SEEN
        else:
            behind, environment = stack.enter_context(acting(lambda _: (200, POSES))), CALVIN
            more = {"mapping": "x_vla_calvin", "model": "a@1"}
            seen = (probe_of(CALVIN, load_mapping("x_vla_calvin"))[0],)
        proxy = stack.enter_context(Between(behind, idle=0.15))
        policy = RemotePolicy(environment, protocol, proxy.address, **QUICK, **more)
        policy.reset(0, "go", SubtaskContext("e-0", 0, 0))
        for _ in range(3):
            policy.act((0,), seen)
            time.sleep(0.4)
        policy.close()
    assert proxy.connections > 2


def test_whatever_cuts_every_question_is_told():
    async def cuts(connection):
        await connection.send(openpi.encode({"name": "x"}))
        await connection.recv()
        await connection.close(1001, "going away")

    with scripted(cuts) as address:
        began = time.monotonic()
        with pytest.raises(RemoteFault, match=r"has closed the connection \(1001, going away\)"):
            RemotePolicy(FAKE, "openpi", address, **QUICK)
        assert time.monotonic() - began < QUICK["timeout"]


@pytest.mark.parametrize("protocol", ["openpi", "vla_eval"])
def test_a_limit_of_a_message_is_no_matter_of_patience(protocol):
    async def small(connection):
        if protocol == "openpi":
            await connection.send(openpi.encode({"name": "x"}))
        with contextlib.suppress(Exception):
            await connection.recv()

    async def hello(connection):
        await connection.recv()
        payload = {"protocol_version": 1, "model_server": "X"}
        await connection.send(vla_eval.encode(vla_eval.Message("hello", payload, 1)))
        with contextlib.suppress(Exception):
            while True:
                await connection.recv()

    handler = hello if protocol == "vla_eval" else small
    words = r"does not take a message of [\d,]+ bytes \(1009.*raise its limit"
    with scripted(handler, max_size=1000) as address, pytest.raises(PolicyError, match=words):
        RemotePolicy(FAKE, protocol, address, **QUICK)


@contextlib.contextmanager
def acting(answer):
    """A server of ``POST /act``; ``answer``: from the number of the request to status and body."""

    class Acts(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        count = 0

        def _say(self, status, body):
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def do_GET(self):
            self._say(*(greetings.pop(0) if greetings else (404, b"")))

        def do_POST(self):
            self.rfile.read(int(self.headers["Content-Length"]))
            type(self).count += 1
            self._say(*answer(type(self).count))

        def log_message(self, *_):
            pass

    greetings = list(getattr(answer, "greetings", ()))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Acts)
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    try:
        yield f"127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


ROWS = np.zeros((30, 20))
ROWS[:, 3:9] = (1, 0, 0, 1, 0, 0)
POSES = json.dumps({"action": ROWS.tolist()}).encode()
BAD_GATEWAY = b"<html>\r\n<head><title>502 Bad Gateway</title></head>\r\n<body>nginx</body>\r\n</html>"


def test_a_web_server_that_answers_for_one_that_is_away():
    """While the model loads, at the first contact and at a question."""

    def answer(number):
        return (502, BAD_GATEWAY) if number in (1, 3) else (200, POSES)

    answer.greetings = [(503, b""), (502, BAD_GATEWAY)]
    with acting(answer) as address:
        policy = RemotePolicy(CALVIN, "rest", address, mapping="x_vla_calvin", model="a@1", **QUICK)
        policy.reset(0, "go", SubtaskContext("seq-0000", 0, 0))
        assert policy.act((0,), (probe_of(CALVIN, load_mapping("x_vla_calvin"))[0],))[0].shape == (25, 8)
        policy.close()


@pytest.mark.parametrize(
    ("status", "body", "kind", "words"),
    [
        (413, b"<html>too large</html>", PolicyError, r"does not take a request of [\d,]+ bytes \(HTTP 413\)"),
        (500, b"<html><h1>Internal Server Error</h1>\n<hr>\n</html>", ServerFault, "500.*Internal Server Error"),
    ],
)
def test_what_a_web_server_says(status, body, kind, words):
    with acting(lambda _: (status, body)) as address, pytest.raises(kind, match=words):
        RemotePolicy(CALVIN, "rest", address, mapping="x_vla_calvin", model="a@1", **QUICK)

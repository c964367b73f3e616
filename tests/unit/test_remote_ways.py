"""What lies between us and a server: TLS, proxies, redirections, tokens."""

from __future__ import annotations

import contextlib
import http.server
import shutil
import socket
import ssl
import struct
import subprocess
import threading
import time
import tracemalloc

import pytest

pytest.importorskip("websockets")
pytest.importorskip("httpx")

from remote_servers import Waver, scripted, served
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from vla_bench.bench.cli import main as commands
from vla_bench.envs.fake import FakeSimulation
from vla_bench.envs.observation import Sensors
from vla_bench.envs.simulation import environment_spec
from vla_bench.policies.base import SubtaskContext
from vla_bench.policies.errors import PolicyError
from vla_bench.policies.remote import RemotePolicy
from vla_bench.policies.remote.codecs import openpi
from vla_bench.policies.remote.errors import MessageFault, RemoteFault

FAKE = environment_spec("fake")
CALVIN = environment_spec("calvin")
QUICK = {"wait": 5.0, "timeout": 10.0}
VARIABLES = ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY", "all_proxy", "ALL_PROXY", "no_proxy", "NO_PROXY")


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    if shutil.which("openssl") is None:
        pytest.skip("there is no openssl to make a certificate with")
    folder = tmp_path_factory.mktemp("tls")
    made = {name: folder / f"{name}.pem" for name in ("key", "certificate")}
    words = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=localhost"
    words += f" -addext subjectAltName=DNS:localhost -keyout {made['key']} -out {made['certificate']}"
    subprocess.run(words.split(), check=True, capture_output=True)
    return made


def trusting(certificate) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate["certificate"], certificate["key"])
    return context


def asked(address: str, protocol: str = "openpi", **more) -> list:
    """The chunk of one decision through the way that is tried."""
    policy = RemotePolicy(FAKE, protocol, address, **{**QUICK, **more})
    try:
        policy.reset(0, "go", SubtaskContext("e-0", 0, 0))
        return policy.act((0,), (FakeSimulation(Sensors.of("front")).observe(),))[0].tolist()
    finally:
        policy.close()


@pytest.fixture(scope="module")
def expected():
    policy = Waver(FAKE)
    policy.reset(0, "go", SubtaskContext("e-0", 0, 0))
    return policy.act((0,), (FakeSimulation(Sensors.of("front")).observe(),))[0].tolist()[:4]


def test_tls(certificate, expected):
    with served(Waver(FAKE), FAKE, "openpi_fake", tls=trusting(certificate)) as address:
        port = address.rpartition(":")[2]
        assert asked(f"wss://localhost:{port}", ca_file=str(certificate["certificate"])) == expected
        with pytest.raises(PolicyError, match=r"is not trusted \(self-signed certificate\): type policy.ca_file="):
            asked(f"wss://localhost:{port}")
        with pytest.raises(RemoteFault, match=rf"speaks no websocket; with TLS it would be wss://localhost:{port}"):
            asked(f"localhost:{port}", wait=0.1)
    with (
        served(Waver(FAKE), FAKE, "openpi_fake") as address,
        pytest.raises(RemoteFault, match=rf"without TLS it would be ws://{address}"),
    ):
        asked(f"wss://{address}", ca_file=str(certificate["certificate"]), wait=0.1)


def test_a_name_that_the_certificate_does_not_have(certificate):
    with served(Waver(FAKE), FAKE, "openpi_fake", tls=trusting(certificate)) as address:
        port = address.rpartition(":")[2]
        with pytest.raises(PolicyError, match=r"Hostname mismatch|IP address mismatch"):
            asked(f"wss://127.0.0.1:{port}", ca_file=str(certificate["certificate"]))


def test_several_clients_over_tls(certificate, expected):
    """Those that are decided for together are answered one after the other, each by its own thread."""
    found = []
    with served(Waver(FAKE), FAKE, "openpi_fake", tls=trusting(certificate)) as address:
        way = f"wss://localhost:{address.rpartition(':')[2]}", "openpi"
        work = [
            threading.Thread(target=lambda: found.append(asked(*way, ca_file=str(certificate["certificate"]))))
            for _ in range(4)
        ]
        for each in work:
            each.start()
        for each in work:
            each.join()
    assert found == [expected] * 4


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"ca_file": "/nowhere.pem"}, "there is no such file"),
        ({"ca_file": __file__}, "type the path of a PEM file"),
        ({"proxy": "gateway:3128"}, "type http://host:port"),
    ],
)
def test_words_that_are_none(more, words):
    with pytest.raises(PolicyError, match=words):
        RemotePolicy.describe(FAKE, "openpi", "wss://localhost:1", **more)
        asked("wss://localhost:1", **more)


def test_zmq_has_neither():
    pytest.importorskip("zmq")
    bridge = environment_spec("simpler", {"robot": "widowx"})
    with pytest.raises(PolicyError, match=r"policy.proxy: GR00T's ZMQ service has nothing like it"):
        RemotePolicy(bridge, "groot", "localhost:1", model="a@1", proxy="http://localhost:3")


def test_serve_says_what_is_wrong_with_a_certificate(certificate, capsys):
    for words in (["--certificate", "/nowhere.pem"], ["--certificate", str(certificate["certificate"])]):
        assert commands.main(["serve", "policy=stub", *words]) == 1
        assert "a certificate and its key as PEM are wanted" in capsys.readouterr().err
    assert commands.main(["serve", "policy=stub", "--key", str(certificate["key"])]) == 1


class Connects(http.server.BaseHTTPRequestHandler):
    """A proxy that knows CONNECT."""

    status = 200
    seen: list[str]

    def do_CONNECT(self):
        type(self).seen.append(self.path)
        if self.status != 200:
            self.send_error(self.status)
            return
        host, _, port = self.path.rpartition(":")
        with socket.create_connection((host, int(port)), timeout=10) as there:
            self.send_response(200)
            self.end_headers()
            self.wfile.flush()

            def back():
                with contextlib.suppress(OSError):
                    while data := there.recv(1 << 16):
                        self.connection.sendall(data)
                    self.connection.shutdown(socket.SHUT_WR)

            thread = threading.Thread(target=back, daemon=True)
            thread.start()
            with contextlib.suppress(OSError):
                while data := self.connection.recv(1 << 16):
                    there.sendall(data)
                there.shutdown(socket.SHUT_WR)
            thread.join(10)
        self.close_connection = True

    def do_GET(self):
        type(self).seen.append(self.path)
        self.send_error(502)

    def log_message(self, *_):
        pass


@contextlib.contextmanager
def running(handler):
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


@pytest.fixture
def no_variables(monkeypatch):
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    return monkeypatch


def test_a_proxy_that_was_asked_for(no_variables, expected):
    handler = type("Handler", (Connects,), {"seen": []})
    with running(handler) as proxy, served(Waver(FAKE), FAKE, "openpi_fake") as address:
        assert asked(address, proxy=proxy) == expected
        assert handler.seen == [address]
        handler.status = 407
        with pytest.raises(PolicyError, match="answers HTTP 407"):
            asked(address, proxy=proxy)
        handler.status = 503
        with pytest.raises(RemoteFault, match="answers HTTP 503"):
            asked(address, proxy=proxy, wait=0.1)


@pytest.mark.parametrize("protocol", ["openpi", "rest"])
def test_a_proxy_of_the_environment_takes_nothing_unasked(protocol, no_variables):
    handler = type("Handler", (Connects,), {"seen": []})
    more = {"model": "a@1", "mapping": "x_vla_calvin"} if protocol == "rest" else {}
    scheme = {"openpi": "ws", "rest": "http"}[protocol]
    with running(handler) as proxy:
        for name in ("http_proxy", "https_proxy"):
            no_variables.setenv(name, proxy)
        for host in ("localhost:9", "0.0.0.0:9"):  # the second is no loopback address by its looks
            with pytest.raises(RemoteFault) as caught:
                RemotePolicy(CALVIN, protocol, f"{scheme}://{host}", wait=0.2, timeout=1.0, **more)
            hinted = "_proxy is set, and is used with policy.proxy=environment alone" in str(caught.value)
            assert hinted is (host != "localhost:9")
        assert handler.seen == []
        with pytest.raises(RemoteFault):
            RemotePolicy(CALVIN, protocol, f"{scheme}://0.0.0.0:9", wait=0.2, timeout=1.0, proxy="environment", **more)
        assert handler.seen


@pytest.mark.parametrize("protocol", ["openpi", "rest"])
def test_a_redirection_is_not_followed(protocol, no_variables):
    class Elsewhere(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self):
            self.send_response(307)
            self.send_header("Location", "http://nobody.invalid:9/other")
            self.send_header("Content-Length", "0")
            self.end_headers()

        do_POST = do_GET

        def log_message(self, *_):
            pass

    more = {"model": "a@1", "mapping": "x_vla_calvin"} if protocol == "rest" else {}
    with running(Elsewhere) as where, pytest.raises(PolicyError, match="only addresses of yours are asked"):
        RemotePolicy(CALVIN, protocol, where[7:], wait=1.0, timeout=2.0, **more)


def test_a_server_that_is_still_loading(no_variables, expected):
    """Nobody listens yet; then a proxy in front of it answers for it; then it is there."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    stages: list[str] = []

    class Loading(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self):
            stages.append("503")
            self.send_error(503)
            threading.Thread(target=self.server.shutdown, daemon=True).start()

        def log_message(self, *_):
            pass

    done = threading.Event()

    def loads():
        time.sleep(0.2)
        with http.server.ThreadingHTTPServer(("127.0.0.1", port), Loading) as server:
            server.serve_forever()
        with served(Waver(FAKE), FAKE, "openpi_fake", port=port):
            done.wait(20)

    thread = threading.Thread(target=loads)
    thread.start()
    try:
        assert asked(f"127.0.0.1:{port}", wait=20.0) == expected
    finally:
        done.set()
        thread.join()
    assert stages == ["503"]


def test_a_first_answer_may_take_longer_than_later_ones(monkeypatch):
    """A model that is compiled for its first request, by limits a hundred times shorter."""
    monkeypatch.setattr("vla_bench.policies.remote.asking.FIRST_SECONDS", 5.0)
    monkeypatch.setattr("vla_bench.policies.remote.asking.LEAST_SECONDS", 0.5)
    monkeypatch.setattr("vla_bench.policies.remote.asking.MARGIN", 0.5)
    pauses = iter((0.8, 0.0, 0.9, 0.0))

    class Compiles(Waver):
        def act(self, slots, observations):
            time.sleep(next(pauses))
            return super().act(slots, observations)

    with served(Compiles(FAKE), FAKE, "openpi_fake") as address:
        policy = RemotePolicy(FAKE, "openpi", address, wait=5.0, probe=False)
        policy.reset(0, "go", SubtaskContext("e-0", 0, 0))
        seen = (FakeSimulation(Sensors.of("front")).observe(),)
        policy.act((0,), seen)
        policy.act((0,), seen)
        with pytest.raises(RemoteFault, match=r"has not answered for 0\.5 s"):
            policy.act((0,), seen)
        policy.close()


def test_a_gigabyte_is_refused_by_its_announcement():
    announced = b"\x82\x7f" + struct.pack("!Q", 1 << 30)

    async def promises(connection):
        await connection.send(openpi.encode({}))
        await connection.recv()
        connection.transport.write(announced + bytes(1000))
        await connection.wait_closed()

    before = tracemalloc.start() or tracemalloc.get_traced_memory()[1]
    try:
        with scripted(promises) as address, pytest.raises(MessageFault, match="larger than is taken"):
            asked(address, model="a@1", probe=False)
        with served(Waver(FAKE), FAKE, "openpi_fake") as address, connect(f"ws://{address}", proxy=None) as connection:
            connection.recv(timeout=10)
            connection.socket.sendall(announced[:1] + b"\xff" + announced[2:] + bytes(1000))
            with pytest.raises(ConnectionClosed) as caught:
                connection.recv(timeout=10)
            assert caught.value.rcvd.code == 1009
        assert tracemalloc.get_traced_memory()[1] - before < 8 << 20
    finally:
        tracemalloc.stop()


def test_tokens_go_where_the_protocols_have_a_place_for_them(no_variables):
    no_variables.setenv("MINE", "secret-7")
    headers = []

    async def notes(connection):
        headers.append(connection.request.headers.get("Authorization"))
        await connection.send(openpi.encode({}))
        await connection.recv()
        await connection.send(openpi.encode({"actions": [[0.0] * 4] * 4}))

    with scripted(notes) as address:
        assert asked(address, model="a@1", probe=False, token_env="MINE") == [[0.0] * 4] * 4
        asked(address, model="a@1", probe=False)

    class Acts(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_error(404)

        def do_POST(self):
            headers.append(self.headers["Authorization"])
            self.send_error(401)

        def log_message(self, *_):
            pass

    with running(Acts) as where, pytest.raises(PolicyError, match=r"refuses us \(HTTP 401\); it wants a token"):
        RemotePolicy(CALVIN, "rest", where[7:], mapping="x_vla_calvin", model="a@1", token_env="MINE", wait=2.0)
    assert headers == ["Api-Key secret-7", None, "Bearer secret-7"]

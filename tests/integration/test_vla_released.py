"""Fetching a checkpoint, from a hub of our own on this machine."""

from __future__ import annotations

import hashlib
import http.server
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("huggingface_hub")

from vla_bench.bench.cli.main import main
from vla_bench.envs.errors import AssetError
from vla_bench.policies.vla.released import fetch_checkpoint, file_of

CONTENT = bytes(range(256)) * 98304
"""25 MB: the transfer keeps what came in pieces of 10 MB."""
COMMIT = "0123456789abcdef0123456789abcdef01234567"


class Hub(http.server.BaseHTTPRequestHandler):
    """Answers as a hub does; breaks off after ``cut`` bytes once, if told to."""

    protocol_version = "HTTP/1.1"
    digest = hashlib.sha256(CONTENT).hexdigest()
    cut = 0
    asked: list[str]

    def do_HEAD(self) -> None:
        self._answer(body=False)

    def do_GET(self) -> None:
        self._answer(body=True)

    def _answer(self, *, body: bool) -> None:
        cls = type(self)
        if not self.path.endswith("/checkpoints/tiny.pt"):
            self.send_response(404)
            self.send_header("X-Error-Code", "EntryNotFound")
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        start = 0
        if wanted := self.headers.get("Range"):
            start = int(wanted.removeprefix("bytes=").split("-")[0])
        if body:
            cls.asked.append(wanted or "")
        self.send_response(206 if start else 200)
        self.send_header("ETag", f'"{cls.digest}"')
        self.send_header("X-Linked-Etag", f'"{cls.digest}"')
        self.send_header("X-Linked-Size", str(len(CONTENT)))
        self.send_header("X-Repo-Commit", COMMIT)
        self.send_header("Content-Length", str(len(CONTENT) - start))
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(CONTENT) - 1}/{len(CONTENT)}")
        self.end_headers()
        if not body:
            return
        if cls.cut:
            self.wfile.write(CONTENT[start : cls.cut])
            cls.cut = 0
            self.close_connection = True
        else:
            self.wfile.write(CONTENT[start:])

    def log_message(self, *_: object) -> None:
        """Says nothing."""


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[type[Hub]]:
    class Mine(Hub):
        pass

    Mine.asked = []
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Mine)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    Mine.address = f"http://127.0.0.1:{server.server_port}"
    yield Mine
    server.shutdown()
    server.server_close()


NAME = "somebody/models/checkpoints/tiny.pt"


def test_a_checkpoint_is_fetched_verified_and_not_fetched_twice(hub: type[Hub], tmp_path: Path):
    for _ in range(2):
        fetched = fetch_checkpoint(NAME, tmp_path, endpoint=hub.address)
        assert fetched.path.read_bytes() == CONTENT
        assert (fetched.verified, fetched.commit, fetched.size) == (True, COMMIT, len(CONTENT))
    assert hub.asked == [""]


def test_a_transfer_that_broke_off_goes_on_where_it_was(hub: type[Hub], tmp_path: Path):
    hub.cut = 15_000_000
    fetched = fetch_checkpoint(NAME, tmp_path, endpoint=hub.address)
    assert fetched.path.read_bytes() == CONTENT
    assert hub.asked[0] == "" and hub.asked[1].startswith("bytes=") and hub.asked[1] != "bytes=0-"


def test_another_checksum_than_the_hubs_is_refused(hub: type[Hub], tmp_path: Path):
    hub.digest = "0" * 64
    with pytest.raises(AssetError, match=r"the hub says 0000000000000000…; the file was removed"):
        fetch_checkpoint(NAME, tmp_path, endpoint=hub.address)
    assert not list(tmp_path.rglob("tiny.pt"))


def test_what_there_is_not_is_named(hub: type[Hub], tmp_path: Path):
    with pytest.raises(AssetError, match=r"somebody/models has no file checkpoints/other\.pt"):
        fetch_checkpoint("somebody/models/checkpoints/other.pt", tmp_path, endpoint=hub.address)
    with pytest.raises(AssetError, match=r"Did you mean 'kosmos_ph_calvin_abc'\?"):
        file_of("kosmos_ph_calvin_ab")
    assert file_of("kosmos_ph_calvin_abc") == ("robovlms/RoboVLMs", "checkpoints/kosmos_ph_calvin_abc.pt")


def test_the_command_says_what_to_type(capsys: pytest.CaptureFixture[str]):
    assert main(["assets", "fetch", "checkpoint"]) == 1
    assert "say which checkpoint: kosmos_ph_calvin_abc" in capsys.readouterr().err
    assert main(["assets", "fetch", "calvin", "kosmos_ph_calvin_abc"]) == 1
    assert "fetch checkpoint <name>" in capsys.readouterr().err

"""Whole runs through the command line: identity, going on after a server has gone, and little wars."""

from __future__ import annotations

import json

import pytest

pytest.importorskip("websockets")

from remote_servers import Waver, scripted, served

from tools import remote_fuzz, remote_torture
from vla_bench.bench.cli import run as command_line
from vla_bench.envs.fake import environment_spec
from vla_bench.policies.remote.codecs import openpi

FAKE = environment_spec({})


class Other(Waver):
    """The same class of policy with another convention of itself: another model."""

    def __init__(self, environment):
        super().__init__(environment)
        import dataclasses

        self.spec = dataclasses.replace(self.spec, files={"checkpoint": "other"})


def run(folder, address, *words, name="remote", wait=60):
    typed = [
        *("benchmark=fake", "benchmark.sequences=4", "benchmark.step_limit=20", "policy=remote"),
        *("policy.protocol=openpi", "policy.execute=5", f"policy.address={address}", f"policy.wait={wait}"),
        *("run.backend=local", "run.workers=2", f"run.results={folder}", f"run.name={name}", *words),
    ]
    return command_line.main(typed)


def test_a_run_belongs_to_the_model_that_the_server_says_it_is(tmp_path, capsys):
    with served(Waver(FAKE), FAKE, "openpi_fake") as address:
        assert run(tmp_path, address, "run.only=seq-0000") == 0
    header = json.loads((tmp_path / "remote/journal.jsonl").read_text().splitlines()[0])
    header = header.get("header", header)
    assert "waver@1" in header["identity"]["content"]["policy.server"]
    assert "address" not in header["identity"]["arguments"] and "execute" in header["identity"]["arguments"]
    capsys.readouterr()
    with served(Other(FAKE), FAKE, "openpi_fake") as address:
        assert run(tmp_path, address) == 1
        assert "another state of the policy" in capsys.readouterr().err
    with served(Waver(FAKE), FAKE, "openpi_fake") as address:  # another port, the same model
        assert run(tmp_path, address) == 0
    summary = json.loads((tmp_path / "remote/summary.json").read_text())
    assert summary["timing"]["latency_ms"]["decision"]["p99"] > 0 and summary["timing"]["latency_ms"]["model"]["n"] > 0
    assert run(tmp_path, "127.0.0.1:9") == 0  # nothing is missing, so nobody is asked
    capsys.readouterr()
    assert run(tmp_path, "127.0.0.1:9", name="new", wait=1) == 1
    assert "Is the server running?" in capsys.readouterr().err


WORDS = "Traceback (most recent call last):\n  File 'serve.py', line 7\nKeyError: 'observation/state'"


@pytest.mark.parametrize("inference", ["child", "server"])
def test_what_a_server_says_of_its_failure(tmp_path, capfd, inference):
    """The sentence on the screen; its whole words with the episode that met them."""
    fails = {"at once": True}

    async def failing(connection):
        await connection.send(openpi.encode({"name": "failing"}))
        count = 0
        async for _ in connection:
            count += 1
            if fails["at once"] or count > 3:
                await connection.send(WORDS)
                await connection.close(1011, "Internal server error. Traceback included in previous frame.")
                return
            await connection.send(openpi.encode({"actions": [[0.0] * 4] * 5}))

    words = ("run.workers=1", "run.max_attempts=1", "run.only=seq-0000", f"run.inference={inference}")
    with scripted(failing) as address:
        assert run(tmp_path, address, *words, name="one") == 2
        shown = capfd.readouterr()
        assert f"ws://{address} failed: KeyError: 'observation/state'" in shown.err
        assert "Traceback" not in shown.out + shown.err
        fails["at once"] = False
        run(tmp_path, address, *words, name="two")
    shown = capfd.readouterr()
    assert "Traceback" not in shown.out + shown.err
    report = (tmp_path / "two/errors.md").read_text()
    assert f"ws://{address} failed: KeyError: 'observation/state'" in report
    assert "File 'serve.py', line 7" in report and "websocket.py" not in report


def test_a_small_torture(tmp_path):
    words = ["--episodes", "10", "--troubles", "4", "--workers", "2", "--pause", "0.5"]
    assert remote_torture.main(words) == 0


@pytest.mark.parametrize("protocol", ["openpi", "vla_eval"])
def test_a_little_fuzz(protocol):
    found, grown = remote_fuzz.to_server(protocol, 40, seed=1)
    assert found["a sentence"] > 15 and grown < 4 * remote_fuzz.LIMIT
    found, grown = remote_fuzz.to_client(protocol, 40, seed=1)
    assert found["MessageFault"] > 15 and found.total() == 40 and grown < 4 * remote_fuzz.LIMIT

"""Broken and hostile messages, in either direction: a sentence each, no traceback, no memory beyond the limit.

Our end is a process of its own, whose memory is measured: at its most, beyond what it had after a first good message.
With a limit of 8 MiB for a message it may be three times that: a buffer that grows, and the message taken from it.

python -m tools.remote_fuzz                  2,000 to our server, 2,000 to our client, for each protocol
python -m tools.remote_fuzz --messages 200
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import logging
import multiprocessing
import random
import sys
import threading
from collections import Counter
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import msgpack
import numpy as np

from vla_bench.bench.serving.batches import Batches
from vla_bench.bench.serving.translation import Translation
from vla_bench.bench.serving.websocket import PolicyService
from vla_bench.envs.fake import FakeSimulation
from vla_bench.envs.fake import environment_spec as fake_spec
from vla_bench.envs.observation import Sensors
from vla_bench.policies.base import SubtaskContext
from vla_bench.policies.errors import PolicyError
from vla_bench.policies.remote import policy as policy_module
from vla_bench.policies.remote.codecs import openpi, vla_eval
from vla_bench.policies.remote.codecs.vla_eval import Message
from vla_bench.policies.remote.connections.base import Dial
from vla_bench.policies.remote.errors import RemoteFault
from vla_bench.policies.remote.mapping import load_mapping
from vla_bench.policies.remote.policy import RemotePolicy
from vla_bench.policies.stub import StubPolicy

LIMIT = 8 << 20
"""Bytes of a message in these tests."""
FAKE = fake_spec({})
SPAWN = multiprocessing.get_context("spawn")


def hostile(dice: random.Random, good: bytes) -> bytes | str:
    """One message: noise, a good one that is damaged, or a small one that asks for much."""
    match dice.randrange(9):
        case 0:
            return dice.randbytes(dice.randrange(0, 400))
        case 1:
            damaged = bytearray(good)
            for _ in range(dice.randrange(1, 12)):
                damaged[dice.randrange(min(len(damaged), 200))] = dice.randrange(256)
            return bytes(damaged)
        case 2:
            return good[: dice.randrange(len(good))]
        case 3:
            return good + dice.randbytes(dice.randrange(1, 40))
        case 4:
            head = dice.choice([b"\xdd", b"\xdf", b"\xc6", b"\xdb", b"\xc9"])
            return head + dice.randrange(1 << 20, 1 << 32).to_bytes(4, "big") + dice.randbytes(20)
        case 5:
            return dice.choice([b"\x91", b"\x81\xa1a", b"\xdd\x00\x00\xff\xff"]) * dice.randrange(50, 20_000)
        case 6:
            dtype = dice.choice(["|O", "|V9", "<c16", "<f8", "<U9999999", "|u1", "<M8[s]", "x"])
            shape = dice.choice([[1 << 40], [-1], [0, 1 << 62], [3, 3], "ab", None, [1] * 99])
            array: dict[Any, Any] = {"__ndarray__": True, "data": bytes(8), "dtype": dtype, "shape": shape}
            if dice.random() < 0.5:
                array = {key.encode(): value for key, value in array.items()}
            payload = {"actions": array, "observation/image": array, "images": {"front": array}}
            return msgpack.packb({"type": "action", "payload": payload, "seq": 3, "timestamp": 0.5, **payload})
        case 7:
            return dice.choice(["", "hello", json.dumps({"a": 1}), "Traceback (most recent call last):\n  x\nE: y"])
        case _:
            return bytes(dice.randrange(LIMIT + 1, LIMIT + (1 << 20)))


def settled() -> None:
    """The most that this process has had resident is counted from now on."""
    Path("/proc/self/clear_refs").write_text("5")


def memory() -> int:
    """The most that this process has had resident since, and what it has now; bytes."""
    lines = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return int(lines["VmHWM"].split()[0]) << 10


def our_server(protocol: str, talk: Connection) -> None:
    """``vla-bench serve``'s service in a process of its own."""
    mapping = load_mapping(f"{protocol}_fake")
    policy = StubPolicy(FAKE, chunk=4, cameras="front")
    batches = Batches(policy)
    service = PolicyService(protocol, batches, Translation(mapping, policy.spec, FAKE), policy.spec, largest=LIMIT)
    talk.send(service.start("127.0.0.1", 0))
    talk.recv()  # a good message has come
    settled()
    before = memory()
    talk.send(None)
    talk.recv()
    talk.send(memory() - before)
    service.stop()
    batches.stop()


def to_server(protocol: str, messages: int, seed: int) -> tuple[Counter[str], int]:
    """Sends them to our server, and says by how much its memory has grown; SystemExit: it did other than it should."""
    from websockets.exceptions import ConnectionClosed
    from websockets.sync.client import connect

    logging.getLogger("websockets").setLevel(logging.CRITICAL)  # the hostile end's own troubles
    dice, found = random.Random(seed), Counter[str]()
    talk, theirs = SPAWN.Pipe()
    server = SPAWN.Process(target=our_server, args=(protocol, theirs), daemon=True)
    server.start()
    port = talk.recv()
    seen = FakeSimulation(Sensors.of("front")).observe()
    arrays = {"observation/image": seen["rgb_front"], "observation/state": seen["state"], "prompt": "go"}
    good = openpi.encode(arrays)
    if protocol == "vla_eval":
        payload = {"images": {"front": seen["rgb_front"]}, "task_description": "go", "states": seen["state"]}
        good = vla_eval.encode(Message("observation", payload, 3, 0.5))

    def open_one() -> Any:
        made = connect(f"ws://127.0.0.1:{port}", compression=None, max_size=None, proxy=None).__enter__()
        if protocol == "openpi":
            made.recv(timeout=30)
        return made

    def answer_of(connection: Any, data: bytes | str) -> str:
        try:
            connection.send(data)
            answer = connection.recv(timeout=30)
        except TimeoutError:  # which is an OSError, too
            raise SystemExit(f"no answer to {data[:200]!r}") from None
        except (ConnectionClosed, OSError):
            return "closed"
        if isinstance(answer, str):
            text = answer
        elif protocol == "openpi":
            return "answered"
        else:
            message = vla_eval.decode(answer)
            if message.type != "error":
                return "answered"
            text = str(message.payload["error"])
        if "Traceback" in text or "\n" in text or len(text) > 600:
            raise SystemExit(f"not a sentence: {text[:300]!r}")
        return "a sentence"

    def answers_well() -> None:
        with contextlib.closing(open_one()) as connection:
            if answer_of(connection, good) != "answered":
                raise SystemExit("the server does not answer a good request")

    try:
        answers_well()
        talk.send(None)
        talk.recv()
        for _ in range(messages):
            with contextlib.closing(open_one()) as connection:
                found[answer_of(connection, hostile(dice, good))] += 1
        answers_well()
        talk.send(None)
        return found, talk.recv()
    finally:
        server.kill()


def our_client(protocol: str, address: str, messages: int, talk: Connection) -> None:
    """Asks again and again, in a process of its own; sends what it met with, or what it should not have."""
    policy_module.Dial = partial(Dial, largest=LIMIT)  # type: ignore[misc]
    seen = FakeSimulation(Sensors.of("front")).observe()
    policies = iter(lambda: RemotePolicy(FAKE, protocol, address, probe=False, wait=60.0, timeout=2.0), None)
    found, policy, before = Counter[str](), next(policies), 0
    for number in range(messages + 1):
        talk.send(number)
        talk.recv()  # the answer is ready
        policy.reset(0, "go", SubtaskContext(f"e-{number}", 0, 0))
        try:
            policy.act((0,), (seen,))
            found["taken"] += 1
        except (RemoteFault, PolicyError) as error:
            if "\n" in str(error) or "Traceback" in str(error) or len(str(error)) > 1200:
                talk.send(f"not a sentence: {str(error)[:300]!r}")
                return
            found[type(error).__name__] += 1
            policy.close()
            policy = next(policies)
        if not number:  # that was a good one
            settled()
            found, before = Counter[str](), memory()
    talk.send((found, memory() - before))
    policy.close()


def to_client(protocol: str, messages: int, seed: int) -> tuple[Counter[str], int]:
    """Answers our client by them, and says by how much its memory has grown; SystemExit: it raised other than a
    sentence of ours."""
    from websockets.asyncio.server import serve

    dice = random.Random(seed)
    good = openpi.encode({"actions": np.zeros((4, 4))})
    if protocol == "vla_eval":
        good = vla_eval.encode(Message("action", {"actions": np.zeros(4, np.float32)}, 3, 0.5))
    loop = asyncio.new_event_loop()
    threading.Thread(target=loop.run_forever, daemon=True).start()
    answers: list[bytes | str] = [good]

    async def handler(socket: Any) -> None:
        with contextlib.suppress(Exception):
            if protocol == "openpi":
                await socket.send(openpi.encode({"name": "hostile"}))
            async for data in socket:
                kind = "observation" if protocol == "openpi" else vla_eval.decode(data).type
                if kind == "hello":
                    await socket.send(vla_eval.encode(Message("hello", {"protocol_version": 1}, 1)))
                elif kind == "observation":
                    await socket.send(answers[0])

    async def start() -> Any:
        return await serve(handler, "127.0.0.1", 0, compression=None, max_size=None, close_timeout=0.1)

    server = asyncio.run_coroutine_threadsafe(start(), loop).result(60)
    address = f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
    talk, theirs = SPAWN.Pipe()
    client = SPAWN.Process(target=our_client, args=(protocol, address, messages, theirs), daemon=True)
    client.start()
    theirs.close()
    try:
        while isinstance(said := talk.recv(), int):
            answers[:] = [hostile(dice, good) if said else good]
            talk.send(None)
        if isinstance(said, str):
            raise SystemExit(said)
        return said
    except EOFError:
        raise SystemExit("our client has died; what it says is above") from None
    finally:
        client.kill()
        loop.call_soon_threadsafe(server.close)
        asyncio.run_coroutine_threadsafe(server.wait_closed(), loop).result(60)
        loop.call_soon_threadsafe(loop.stop)


def main(typed: list[str] | None = None) -> int:
    """Runs all; 0 when all is as it should be."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--messages", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args(typed)
    worst = 0
    for protocol in ("openpi", "vla_eval"):
        for name, send in (("to our server", to_server), ("to our client", to_client)):
            found, grown = send(protocol, arguments.messages, arguments.seed)
            worst = max(worst, grown)
            said = ", ".join(f"{what} {count}" for what, count in found.most_common())
            print(f"{protocol}, {name}: {said}; memory at most {grown / 2**20:.0f} MiB more", flush=True)
    return int(worst > 3 * LIMIT)


if __name__ == "__main__":
    sys.exit(main())

"""What a decision of a policy that is served elsewhere costs: ours and the original clients and servers, in turn.

Two CALVIN images and a state there, a chunk of actions back, from servers that answer at once, all on loopback. Each
round asks every pair some hundred times, so that all share the machine; the table has medians over all rounds, and
the tenth that was quickest: on a machine that others use, the median is about them, too.

  python -m tools.remote_round_trip --their-python PYTHON      an interpreter with openpi-client and vla-eval
  python -m tools.remote_round_trip --their-python PYTHON --openpi-server websocket_policy_server.py

Without ``--openpi-server`` (openpi's own file, which no package has) a loop of the same lines stands for it.
"""

import argparse
import asyncio
import importlib.util
import subprocess
import sys
import time

import numpy as np

PROMPT = "push the sliding door to the left side"


def arrays():
    """The images (200, 200, 3) and (84, 84, 3), robot_obs (15,) and the chunk (10, 7)."""
    draw = np.random.default_rng(0)
    static = draw.integers(0, 256, (200, 200, 3), dtype=np.uint8)
    gripper = draw.integers(0, 256, (84, 84, 3), dtype=np.uint8)
    return static, gripper, draw.standard_normal(15), draw.uniform(-1, 1, (10, 7))


def timed(ask, calls):
    """Milliseconds of each call, after ten that do not count."""
    for _ in range(10):
        ask()
    found = []
    for _ in range(calls):
        began = time.perf_counter()
        ask()
        found.append(1e3 * (time.perf_counter() - began))
    return found


# Roles that run by the other interpreter: only its packages may be imported.


def their_openpi_server(file):
    """openpi's own server class, or the same few lines."""
    from openpi_client import msgpack_numpy

    chunk = arrays()[3]

    class Policy:
        def infer(self, seen):
            return {"actions": chunk}

    if file:
        spec = importlib.util.spec_from_file_location("theirs", file)
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        port = free_port()
        print(port, flush=True)
        module.WebsocketPolicyServer(Policy(), "127.0.0.1", port, {"name": "theirs"}).serve_forever()
        return
    import websockets.asyncio.server as websocket

    async def handler(socket):
        packer = msgpack_numpy.Packer()
        await socket.send(packer.pack({"name": "theirs"}))
        while True:
            seen = msgpack_numpy.unpackb(await socket.recv())
            await socket.send(packer.pack({**Policy().infer(seen), "server_timing": {"infer_ms": 0.01}}))

    asyncio.run(forever(websocket.serve, handler))


def their_vla_eval_server():
    """A model server of vla-eval's that answers at once."""
    import anyio
    from vla_eval.model_servers.base import ModelServer
    from vla_eval.model_servers.serve import serve_async

    action = arrays()[3][0].astype(np.float32)

    class Still(ModelServer):
        async def on_observation(self, seen, context):
            await context.send_action({"actions": action})

    async def run():
        async with anyio.create_task_group() as group:
            print(await group.start(serve_async, Still(), "127.0.0.1", 0), flush=True)
            await anyio.sleep_forever()

    anyio.run(run)


def their_clients(protocol, port):
    """Answers ``calls`` on stdin by the milliseconds of so many calls."""
    static, gripper, state, _ = arrays()
    if protocol == "openpi":
        from openpi_client.websocket_client_policy import WebsocketClientPolicy

        client = WebsocketClientPolicy("127.0.0.1", port)
        seen = {"observation/image": static, "observation/wrist_image": gripper, "observation/state": state}
        report(lambda: client.infer({**seen, "prompt": PROMPT}))
        return
    from vla_eval.connection import Connection
    from vla_eval.protocol.numpy_codec import set_image_format

    set_image_format("raw")
    loop = asyncio.new_event_loop()
    connection = Connection(f"ws://127.0.0.1:{port}")
    loop.run_until_complete(connection.connect())
    images = {"rgb_static": static, "rgb_gripper": gripper}
    seen = {"images": images, "task_description": PROMPT, "states": state}
    report(lambda: loop.run_until_complete(connection.act(seen)))


def report(ask):
    """Serves a client role."""
    print("ready", flush=True)
    for line in sys.stdin:
        print(*(f"{each:.4f}" for each in timed(ask, int(line))), flush=True)


def free_port():
    """A port nobody listens on."""
    import socket

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


async def forever(serve, handler):
    """Prints the port and serves until killed."""
    async with serve(handler, "127.0.0.1", 0, compression=None, max_size=None, ping_interval=None) as server:
        print(server.sockets[0].getsockname()[1], flush=True)
        await asyncio.Event().wait()


# Roles that run by this interpreter.


def raw_server():
    """Answers the same bytes to whatever comes."""
    from websockets.asyncio.server import serve

    from vla_bench.policies.remote.codecs import openpi

    reply = openpi.encode({"actions": arrays()[3], "server_timing": {"infer_ms": 0.01}})

    async def handler(socket):
        async for _ in socket:
            await socket.send(reply)

    asyncio.run(forever(serve, handler))


def our_server(protocol):
    """``vla-bench serve`` of a policy that answers at once."""
    from vla_bench.bench.cli import main

    words = ["serve", "policy._target_=tools.remote_round_trip:Still", "--protocol", protocol, "--port", "0"]
    main.main(words)


class Still:
    """A policy that answers at once, whatever it sees."""

    def __init__(self, environment):
        from vla_bench.envs.observation import Sensors
        from vla_bench.policies.base import PolicySpec

        sensors = Sensors.of("static", "gripper")
        self.spec = PolicySpec("still", environment.action("relative"), sensors, chunk=10, execute=10)
        self._chunk = arrays()[3]
        self._chunk[:, -1] = 1

    def reset(self, slot, instruction, context):
        """Forgets nothing."""

    def act(self, slots, observations):
        """The same chunk each time."""
        return [self._chunk for _ in slots]

    def close(self):
        """Holds nothing."""


def raw_client(port):
    """Sends the encoded observation as it is, decodes nothing."""
    from websockets.sync.client import connect

    from vla_bench.policies.remote.codecs import openpi

    static, gripper, state, _ = arrays()
    seen = {"observation/image": static, "observation/wrist_image": gripper, "observation/state": state}
    data = openpi.encode({**seen, "prompt": PROMPT})
    with connect(
        f"ws://127.0.0.1:{port}", compression=None, max_size=None, ping_interval=None, proxy=None
    ) as connection:

        def ask():
            connection.send(data)
            connection.recv()

        report(ask)


def our_client(protocol, port):
    """The policy as an evaluation has it, mapping and all."""
    from vla_bench.envs.observation import Observation
    from vla_bench.envs.simulation import environment_spec
    from vla_bench.policies.base import SubtaskContext
    from vla_bench.policies.remote import RemotePolicy

    static, gripper, state, _ = arrays()
    seen = Observation({"rgb_static": static, "rgb_gripper": gripper, "robot_obs": state})
    mapping = f"{protocol}_raw_calvin"
    policy = RemotePolicy(environment_spec("calvin"), protocol, f"127.0.0.1:{port}", mapping=mapping, probe=False)
    policy.reset(0, PROMPT, SubtaskContext("seq-0000", 0, 0))
    report(lambda: policy.act((0,), (seen,)))


PAIRS = {
    "raw websocket, the same bytes": ("raw", "raw"),
    "openpi's client, openpi's server": ("their openpi", "their openpi"),
    "our client, openpi's server": ("our openpi", "their openpi"),
    "our client, our server (openpi)": ("our openpi", "our openpi"),
    "vla-eval's client, vla-eval's server": ("their vla_eval", "their vla_eval"),
    "our client, vla-eval's server": ("our vla_eval", "their vla_eval"),
    "our client, our server (vla-eval)": ("our vla_eval", "our vla_eval"),
}


class Process:
    """A role in a process of its own; the first line it prints says that it is ready, or on which port."""

    def __init__(self, python, *words):
        command = [python, *(("-m", "tools.remote_round_trip") if python == sys.executable else (__file__,)), *words]
        self.popen = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        while not (line := self.popen.stdout.readline()).strip() or "building" in line:
            if self.popen.poll() is not None:
                raise SystemExit(f"{' '.join(map(str, words))} ended at once")
        self.said = line.strip()

    def ask(self, line):
        print(line, file=self.popen.stdin, flush=True)
        return self.popen.stdout.readline()

    def close(self):
        self.popen.kill()
        self.popen.wait()


def main(typed=None):
    """Measures and prints, or plays one role."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--their-python", default="", help="interpreter with openpi-client and vla-eval")
    parser.add_argument("--openpi-server", default="", help="openpi's src/openpi/serving/websocket_policy_server.py")
    parser.add_argument("--calls", type=int, default=200, help="of each pair in each round")
    parser.add_argument("--rounds", type=int, default=6)
    parser.add_argument("--role", nargs="+", default=(), help=argparse.SUPPRESS)
    arguments = parser.parse_args(typed)
    if arguments.role:
        play(*arguments.role, file=arguments.openpi_server)
        return
    measure(arguments)


def play(side, who, protocol="", port="0", file=""):
    """One role."""
    if side == "server":
        if who == "raw":
            raw_server()
        elif who == "our":
            our_server(protocol)
        elif protocol == "openpi":
            their_openpi_server(file)
        else:
            their_vla_eval_server()
    elif who == "raw":
        raw_client(int(port))
    elif who == "our":
        our_client(protocol, int(port))
    else:
        their_clients(protocol, int(port))


def measure(arguments):
    """Starts all, asks in turn, prints the table."""
    pythons = {"their": arguments.their_python, "our": sys.executable, "raw": sys.executable}
    chosen = {name: pair for name, pair in PAIRS.items() if all(pythons[each.split()[0]] for each in pair)}
    servers, clients, found = {}, {}, {name: [] for name in chosen}
    try:
        for name, (client, server) in chosen.items():
            if server not in servers:
                who, _, protocol = server.partition(" ")
                more = ("--openpi-server", arguments.openpi_server) if who == "their" else ()
                servers[server] = Process(pythons[who], *more, "--role", "server", who, protocol or "none")
            port = servers[server].said.partition(";")[0].rpartition(":")[2]
            who, _, protocol = client.partition(" ")
            clients[name] = Process(pythons[who], "--role", "client", who, protocol or "none", port)
        for _ in range(arguments.rounds):
            for name, client in clients.items():
                found[name] += map(float, client.ask(arguments.calls).split())
    finally:
        for each in (*clients.values(), *servers.values()):
            each.close()
    raw_low, raw = np.quantile(found["raw websocket, the same bytes"], (0.1, 0.5))
    print(f"{'pair':<40}{'median ms':>10}{'p95':>8}{'x raw':>8}{'over raw':>10}{'p10':>8}{'x raw':>8}{'over raw':>10}")
    for name, times in found.items():
        low, median, high = np.quantile(times, (0.1, 0.5, 0.95))
        print(
            f"{name:<40}{median:>10.3f}{high:>8.3f}{median / raw:>8.2f}{median - raw:>10.3f}"
            f"{low:>8.3f}{low / raw_low:>8.2f}{low - raw_low:>10.3f}"
        )


if __name__ == "__main__":
    main()

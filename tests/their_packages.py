"""Run by an interpreter that has openpi-client and vla-eval; knows nothing of this project.

their_packages.py client openpi|vla_eval ADDRESS   observations from stdin, actions to stdout, through their client
their_packages.py server openpi|vla_eval           a model server of theirs; prints its port
"""

import asyncio
import struct
import sys
import traceback
from pathlib import Path

from openpi_client import msgpack_numpy

sys.path.insert(0, str(Path(__file__).parent))
from waver import wave

CHUNK = 5
IMAGES = ("rgb_static", "rgb_gripper")


def read():
    head = sys.stdin.buffer.read(4)
    return msgpack_numpy.unpackb(sys.stdin.buffer.read(struct.unpack("<I", head)[0])) if len(head) == 4 else None


def write(value):
    data = msgpack_numpy.packb(value)
    sys.stdout.buffer.write(struct.pack("<I", len(data)) + data)
    sys.stdout.buffer.flush()


def openpi_client(address):
    from openpi_client.websocket_client_policy import WebsocketClientPolicy

    host, port = address.split(":")
    client = WebsocketClientPolicy(host, int(port))
    while (asked := read()) is not None:
        seen = {
            "observation/image": asked["rgb_static"],
            "observation/wrist_image": asked["rgb_gripper"],
            "observation/state": asked["robot_obs"],
            "prompt": asked["instruction"],
        }
        write({"actions": client.infer(seen)["actions"]})


async def vla_eval_client(address):
    from vla_eval.connection import Connection
    from vla_eval.protocol.numpy_codec import set_image_format

    set_image_format(sys.argv[4] if len(sys.argv) > 4 else "raw")
    loop = asyncio.get_running_loop()
    async with Connection(f"ws://{address}") as connection:
        while (asked := await loop.run_in_executor(None, read)) is not None:
            if asked.get("episode_start"):
                await connection.start_episode({"task": {"name": asked["episode_start"]}})
                continue
            seen = {
                "images": {name: asked[name] for name in IMAGES},
                "task_description": asked["instruction"],
                "states": asked["robot_obs"],
            }
            if asked["restart"]:
                seen["episode_restart"] = True
            write({"actions": (await connection.act(seen))["actions"]})


async def openpi_server():
    import websockets.asyncio.server as server

    async def handler(socket):
        await socket.send(msgpack_numpy.packb({"name": "wave@1"}))
        async for data in socket:
            try:
                seen = msgpack_numpy.unpackb(data)
                images = [seen["observation/image"], seen["observation/wrist_image"]]
                actions = wave(seen["prompt"], seen["observation/state"], images, CHUNK, 7)
                await socket.send(msgpack_numpy.packb({"actions": actions, "server_timing": {"infer_ms": 1.0}}))
            except Exception:
                await socket.send(traceback.format_exc())
                await socket.close(1011, "Internal server error. Traceback included in previous frame.")

    async with server.serve(handler, "127.0.0.1", 0, compression=None, max_size=None) as running:
        print(running.sockets[0].getsockname()[1], flush=True)
        await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)


def vla_eval_server():
    import anyio
    from vla_eval.model_servers.base import ModelServer
    from vla_eval.model_servers.serve import serve_async

    class Wave(ModelServer):
        def __init__(self):
            self.plans = {}

        async def on_episode_start(self, config, context):
            self.plans.pop(context.session_id, None)

        async def on_observation(self, seen, context):
            plan = self.plans.get(context.session_id)
            if plan is None or not len(plan) or seen.get("episode_restart"):
                images = [seen["images"][name] for name in IMAGES]
                plan = wave(seen["task_description"], seen["states"], images, CHUNK, 7)
            self.plans[context.session_id] = plan[1:]
            await context.send_action({"actions": plan[0]})

    async def run():
        async with anyio.create_task_group() as group:
            print(await group.start(serve_async, Wave(), "127.0.0.1", 0), flush=True)
            await anyio.to_thread.run_sync(sys.stdin.read)
            group.cancel_scope.cancel()

    anyio.run(run)


if __name__ == "__main__":
    side, protocol = sys.argv[1:3]
    if (side, protocol) == ("client", "openpi"):
        openpi_client(sys.argv[3])
    elif (side, protocol) == ("client", "vla_eval"):
        asyncio.run(vla_eval_client(sys.argv[3]))
    elif (side, protocol) == ("server", "openpi"):
        asyncio.run(openpi_server())
    else:
        vla_eval_server()

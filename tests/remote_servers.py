"""Servers for tests: a policy of ours behind its protocol in a thread, and one that misbehaves on cue."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable, Iterator

import numpy as np
from waver import wave

from vla_bench.envs.observation import Sensors
from vla_bench.envs.simulation import EnvironmentSpec
from vla_bench.policies.base import PolicySpec

CHUNK = 5


class Waver:
    """Moves by a function of all it is shown, so that one different bit shows in the records. Batched, no memory."""

    def __init__(self, environment: EnvironmentSpec, chunk: int = CHUNK, dtype: str = "float32") -> None:
        self.spec = self.describe(environment, chunk, dtype)
        self._dtype = np.dtype(dtype)
        self._instructions: dict[int, str] = {}

    @classmethod
    def describe(cls, environment: EnvironmentSpec, chunk: int = CHUNK, dtype: str = "float32") -> PolicySpec:
        cameras = [name for name in ("static", "gripper", "front") if name in environment.cameras]
        cameras = cameras or list(environment.cameras)
        return PolicySpec("waver", environment.actions[0], Sensors.named(cameras), chunk=chunk, execute=chunk)

    def reset(self, slot, instruction, context):
        self._instructions[slot] = instruction

    def act(self, slots, observations):
        return [self._chunk(self._instructions[slot], seen) for slot, seen in zip(slots, observations, strict=True)]

    def _chunk(self, instruction, seen):
        state = seen["robot_obs" if "robot_obs" in seen else "state"]
        images = [seen[f"rgb_{camera.name}"] for camera in self.spec.sensors.cameras]
        return wave(instruction, state, images, self.spec.chunk, self.spec.action.size, self._dtype)

    def close(self):
        pass


class Thread:
    """An asyncio loop in a thread, for a server of the test's own."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self._thread.start()

    def call(self, coroutine):
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop).result(60)

    def close(self) -> None:
        async def cancel() -> None:
            tasks = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

        with contextlib.suppress(Exception):
            self.call(cancel())
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(5)
        self.loop.close()


@contextlib.contextmanager
def served(policy, environment: EnvironmentSpec, mapping: str, port: int = 0, tls=None) -> Iterator[str]:
    """The address of a policy that is served in this process."""
    from vla_bench.bench.serving.batches import Batches
    from vla_bench.bench.serving.translation import Translation
    from vla_bench.bench.serving.websocket import PolicyService
    from vla_bench.policies.remote.mapping import load_mapping

    chosen = load_mapping(mapping)
    batches = Batches(policy)
    translation = Translation(chosen, policy.spec, environment)
    service = PolicyService(chosen.protocol, batches, translation, policy.spec, name="waver@1")
    try:
        yield f"127.0.0.1:{service.start('127.0.0.1', port, tls)}"
    finally:
        service.stop()
        batches.stop()


@contextlib.contextmanager
def scripted(handler: Callable, **options) -> Iterator[str]:
    """The address of a websocket server whose connections are handled by a coroutine of the test's."""
    from websockets.asyncio.server import serve

    thread = Thread()

    async def start():
        plain = {"compression": None, "max_size": None, "ping_interval": None, "close_timeout": 0.2}
        return await serve(handler, "127.0.0.1", 0, **{**plain, **options})

    async def stop(server):
        server.close()
        await server.wait_closed()

    try:
        server = thread.call(start())
        yield f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
        thread.call(stop(server))
    finally:
        thread.close()

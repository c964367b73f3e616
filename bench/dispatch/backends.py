"""Which kind of pool a run has."""

from __future__ import annotations

from typing import Literal

from vla_bench.bench.dispatch.pool import Pool
from vla_bench.bench.errors import ConfigError

Backend = Literal["local", "ray", "inline"]


def make_pool(backend: Backend, workers: int, address: str | None = None, gpu_share: float = 0.0) -> Pool:
    """A pool of ``workers``: ``local`` in threads of this process, Ray actors, or ``inline``, one for debugging.

    ``address``: an existing Ray cluster to join (``auto``, ``ray://host:10001``); None starts one on this
    machine. ``gpu_share``: what each Ray actor reserves of a GPU. ConfigError: values that cannot be.
    """
    if workers < 1:
        raise ConfigError(f"run.workers is {workers}; at least 1 is needed")
    if backend == "local":
        if address:
            raise ConfigError(f"run.address={address} needs run.backend=ray")
        from vla_bench.bench.dispatch.local_pool import LocalPool

        return LocalPool(workers)
    if backend == "inline":
        from vla_bench.bench.dispatch.inline_pool import InlinePool

        return InlinePool()
    if backend == "ray":
        from vla_bench.bench.dispatch.ray_pool import RayPool

        return RayPool(workers, address, gpu_share)
    raise ConfigError(f"run.backend is {backend!r}; known: local, ray, inline")

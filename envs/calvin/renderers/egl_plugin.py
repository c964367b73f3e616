"""PyBullet's EGL plugin: loading it quietly, and trying it in a process of its own.

A driver that does not work ends the process that loads it: the plugin calls ``exit`` for what it
notices, and crashes for what it does not. So a child process goes first::

    python -m vla_bench.envs.calvin.renderers.egl_plugin    loads it, renders a frame, prints the driver
"""

from __future__ import annotations

import contextlib
import ctypes
import dataclasses
import functools
import importlib.util
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from typing import Any

from vla_bench import start
from vla_bench.envs.calvin.renderers.egl_devices import (
    VARIABLE,
    choose_device,
    list_devices,
    nvidia_pci_order,
)
from vla_bench.envs.errors import RendererError

_PROBE_SECONDS = 60
_SOFTWARE = ("llvmpipe", "softpipe", "swrast", "swiftshader")
_MENDING = (
    "On Debian and Ubuntu the packages libegl1, libgl1-mesa-dri and libgles2 bring a driver that works on "
    "any machine: type apt-get install libegl1 libgl1-mesa-dri libgles2; a GPU needs its own driver. Or "
    "type benchmark.renderer=fast, which needs none"
)


@dataclasses.dataclass(frozen=True, slots=True)
class Driver:
    """The OpenGL driver behind EGL."""

    vendor: str
    renderer: str
    version: str
    device: str
    """What EGL_VISIBLE_DEVICES has to be for it; empty for unset."""

    @property
    def software(self) -> bool:
        """Whether it renders on the processor."""
        return any(name in self.renderer.lower() for name in _SOFTWARE)


@functools.cache
def probe() -> Driver:
    """The driver that the plugin gets on this machine, tried in a child process.

    Raises:
        RendererError: when there is none, or it does not work.
    """
    try:
        done = subprocess.run(
            start.command("vla_bench.envs.calvin.renderers.egl_plugin"),
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_PROBE_SECONDS,
        )
    except subprocess.TimeoutExpired:
        raise RendererError(f"EGL does not answer within {_PROBE_SECONDS} s. {_MENDING}") from None
    if done.returncode == 0:
        return _driver(done.stdout, _value(done.stdout, VARIABLE))
    reason = (done.stderr.strip() or done.stdout.strip()).rpartition("\n")[2]
    ended = f"ended by signal {-done.returncode}" if done.returncode < 0 else f"exit code {done.returncode}"
    raise RendererError(f"EGL does not work here ({reason or 'no message'}; {ended}). {_MENDING}")


def load(bullet: Any, client: int) -> Driver:
    """Loads the plugin into ``client`` and tells the driver that it uses.

    Raises:
        RendererError: when this PyBullet has no such plugin.
    """
    found = importlib.util.find_spec("eglRenderer")
    if found is None or found.origin is None:
        raise RendererError(f"this PyBullet was built without its EGL plugin. {_MENDING}")
    with quiet() as lines:
        plugin = bullet.loadPlugin(found.origin, "_eglRendererPlugin", physicsClientId=client)
    text = "\n".join(lines)
    if plugin < 0:
        raise RendererError(f"PyBullet's EGL plugin does not load. {_MENDING}")
    return _driver(text, os.environ.get(VARIABLE, ""))


def disconnect(bullet: Any, client: int) -> None:
    """Ends ``client`` and the plugin in it."""
    if bullet.isConnected(client):
        with quiet():
            bullet.disconnect(client)


def _driver(output: str, device: str) -> Driver:
    vendor, renderer, version = (_value(output, f"GL_{key}") for key in ("VENDOR", "RENDERER", "VERSION"))
    return Driver(vendor or "unknown", renderer or "unknown", version or "unknown", device)


def _value(output: str, key: str) -> str:
    found = re.search(rf"^{key}=(.*)$", output, re.MULTILINE)
    return found[1].strip() if found else ""


@contextlib.contextmanager
def quiet() -> Iterator[list[str]]:
    """Collects the lines that C code writes to the standard streams, which the plugin does freely."""
    lines: list[str] = []
    library = ctypes.CDLL(None)
    sys.stdout.flush()
    sys.stderr.flush()
    library.fflush(None)
    kept = [(stream, os.dup(stream)) for stream in (1, 2)]
    with tempfile.TemporaryFile() as file:
        try:
            for stream, _ in kept:
                os.dup2(file.fileno(), stream)
            yield lines
        finally:
            library.fflush(None)
            for stream, copy in kept:
                os.dup2(copy, stream)
                os.close(copy)
            file.seek(0)
            lines += file.read().decode(errors="replace").splitlines()


def main() -> None:
    """Chooses a device, loads the plugin, renders a frame. Ends as the plugin makes it end."""
    number = choose_device(list_devices(), os.environ, nvidia_pci_order())
    if number is not None:
        os.environ[VARIABLE] = str(number)
    print(f"{VARIABLE}={os.environ.get(VARIABLE, '')}", flush=True)
    found = importlib.util.find_spec("eglRenderer")
    if found is None or found.origin is None:
        sys.exit("this PyBullet was built without its EGL plugin")
    import pybullet

    client = pybullet.connect(pybullet.DIRECT)
    if pybullet.loadPlugin(found.origin, "_eglRendererPlugin", physicsClientId=client) < 0:
        sys.exit("PyBullet's EGL plugin does not load")
    pixels = pybullet.getCameraImage(16, 16, renderer=pybullet.ER_BULLET_HARDWARE_OPENGL)[2]
    if len(pixels) == 0:
        sys.exit("the driver renders nothing")


if __name__ == "__main__":
    main()

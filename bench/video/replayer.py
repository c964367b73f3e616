"""Replays of traces in a process of their own: a simulator that talks, or crashes, costs one clip at most."""

from __future__ import annotations

import math
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from vla_bench import start
from vla_bench.bench.families import find_family
from vla_bench.bench.video.replay import Moment
from vla_bench.bench.video.trace import Trace
from vla_bench.bench.wire import receive, receive_bytes, send

_REPLAYERS: dict[str, Replayer] = {}


class Replayer:
    """A process that replays one trace after the other.

    ``python``: the interpreter that has the simulator. The process ends with its parent.
    """

    def __init__(self, python: str) -> None:
        self._connection, theirs = socket.socketpair()
        with theirs, tempfile.TemporaryFile() as log:
            self._process = subprocess.Popen(
                start.command("vla_bench.bench.video.replay", theirs.fileno(), python=python),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                pass_fds=[theirs.fileno()],
                env=start.simulation_environment(),
            )
        self.seconds = 0.0
        """CPU time of the last trace."""

    def moments(self, path: Path) -> Iterator[Moment]:
        """What :func:`vla_bench.bench.video.replay.replay` gives for the trace in ``path``. RuntimeError: it failed."""
        try:
            send(self._connection, {"path": str(path)})
            while (told := receive(self._connection)) is not None and "moment" in told:
                images = {name: self._image(shape) for name, shape in told["images"].items()}
                yield Moment(images=images, **told["moment"])
        except OSError:
            told = None
        if told is None:
            raise RuntimeError(f"its replay crashed (exit code {self._process.wait()})")
        if "error" in told:
            raise RuntimeError(told["error"])
        self.seconds = told["seconds"]

    def _image(self, shape: list[int]) -> np.ndarray:
        content = receive_bytes(self._connection, math.prod(shape))
        if content is None:
            raise ConnectionResetError
        return np.frombuffer(content, dtype=np.uint8).reshape(shape)

    def close(self) -> None:
        """Ends the process."""
        self._connection.close()
        self._process.kill()
        self._process.wait()


def replayer_for(trace: Trace) -> Replayer:
    """This process's replayer for traces of this kind: in the interpreter that the run had, else, where that is
    gone, in the one that the family finds. ConfigError: there is none."""
    python = trace.python if trace.python and Path(trace.python).is_file() else ""
    python = python or find_family(trace.family).interpreter(trace.options) or sys.executable
    if python not in _REPLAYERS:
        _REPLAYERS[python] = Replayer(python)
    return _REPLAYERS[python]


def give_up(replayer: Replayer) -> None:
    """Ends a replayer that failed; the next trace gets another one."""
    for python, each in list(_REPLAYERS.items()):
        if each is replayer:
            del _REPLAYERS[python]
    replayer.close()

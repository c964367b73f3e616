"""Executes a trace again and looks on: ``python -m vla_bench.bench.video.replay SOCKET``.

The number is an inherited file descriptor, over which :class:`vla_bench.bench.video.replayer.Replayer` names traces and
is sent what is seen.
"""

from __future__ import annotations

import socket
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from vla_bench.bench.protocol import to_plain
from vla_bench.bench.video.trace import Trace
from vla_bench.bench.wire import receive, send
from vla_bench.envs.observation import Camera, Sensors
from vla_bench.envs.simulation import Simulation, SimulationSpec, environment_spec
from vla_bench.envs.stress.wrapped import make_simulation

STRIDE = 3
"""Control steps between two frames: ten frames for each second of 30 control steps."""


@dataclass(frozen=True, slots=True)
class Moment:
    """What is seen at some step of a subtask."""

    position: int
    step: int
    images: Mapping[str, np.ndarray]
    """(H, W, 3) uint8 by camera."""
    outcome: bool | None = None
    """Whether the subtask was solved, at its last moment."""
    faithful: bool = True
    """False when the state at the end of a subtask was not the recorded one."""


def open_simulation(trace: Trace) -> Simulation:
    """The trace's simulation, with all cameras."""
    environment = environment_spec(trace.family, trace.options)
    sensors = Sensors(tuple(Camera(name) for name in environment.cameras))
    return make_simulation(SimulationSpec(trace.family, trace.options, sensors, trace.action))


def replay(simulation: Simulation, trace: Trace, stride: int = STRIDE) -> Iterator[Moment]:
    """The moments of an episode, every ``stride`` steps and at the end of each subtask."""
    episode = trace.episode
    simulation.reset(episode.start)
    for position, (actions, result) in enumerate(zip(trace.actions, trace.results, strict=True)):
        simulation.begin(episode.subtasks[position])
        for step, action in enumerate(actions):
            if step % stride == 0:
                yield Moment(position, step, _images(simulation))
            simulation.advance(action[None])
        faithful = simulation.privileged().digest() == result["digest"]
        yield Moment(position, len(actions), _images(simulation), bool(result["success"]), faithful)


def _images(simulation: Simulation) -> dict[str, np.ndarray]:
    return {name.removeprefix("rgb_"): array for name, array in simulation.observe().items() if name.startswith("rgb_")}


def serve(connection: socket.socket) -> None:
    """Replays what it is told to, in one simulation for as long as the traces are of one kind."""
    opened: Any = None
    simulation: Simulation | None = None
    while (message := receive(connection)) is not None:
        started = time.process_time()
        try:
            trace = Trace.read(Path(message["path"]))
            kind = to_plain((trace.family, trace.options, trace.action))
            if simulation is None or kind != opened:
                if simulation is not None:
                    simulation.close()
                simulation, opened = open_simulation(trace), kind
            for moment in replay(simulation, trace):
                _show(connection, moment)
        except OSError:
            raise  # the connection, or what cannot be mended either
        except Exception as error:
            send(connection, {"error": f"{type(error).__name__}: {error}"})
        else:
            send(connection, {"seconds": time.process_time() - started})


def _show(connection: socket.socket, moment: Moment) -> None:
    images = {name: np.ascontiguousarray(image) for name, image in moment.images.items()}
    said = {name: getattr(moment, name) for name in ("position", "step", "outcome", "faithful")}
    send(connection, {"moment": said, "images": {name: image.shape for name, image in images.items()}})
    for image in images.values():
        connection.sendall(image.data)


if __name__ == "__main__":
    serve(socket.socket(fileno=int(sys.argv[1])))

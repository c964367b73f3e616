"""What a frame of CALVIN costs with each renderer, what a reset costs, and the memory it takes.

CPU time of a process of its own (for EGL on a processor: of all its threads), the arm moving between
frames. The least disturbed tenth counts. Growth is resident memory over resets after the first ones, a
frame after each. How like each other renderers draw is told by tools.likeness.

  python -m tools.rendering
  python -m tools.rendering --assets builtin --scene A --resets 1000
"""

from __future__ import annotations

import argparse
import gc
import multiprocessing
import os
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from typing import Any, NamedTuple

import numpy as np

CAMERAS = ("static", "gripper")
_SETTLING_RESETS = 20


class Costs(NamedTuple):
    """Of one renderer."""

    static: float
    """Milliseconds of a frame."""
    gripper: float
    both: float
    """Milliseconds of an observation with both cameras."""
    reset: float
    first: float
    """Milliseconds of the first reset and frame of a process."""
    resident: float
    """Megabytes of the process after the resets."""
    growth: float
    """Megabytes by which 1000 resets would grow it."""


def main() -> None:
    """Measures and prints."""
    from vla_bench.envs.calvin.renderers import RENDERERS

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--assets", default="official" if os.environ.get("CALVIN_ASSETS") else "builtin")
    parser.add_argument("--scene", default="D")
    parser.add_argument("--frames", type=int, default=60, help="frames per camera")
    parser.add_argument("--resets", type=int, default=200)
    parser.add_argument("--renderers", nargs="+", default=usable(RENDERERS), metavar="NAME")
    arguments = parser.parse_args()
    print(f"{arguments.assets} assets, scene {arguments.scene}; milliseconds of CPU time, megabytes\n")
    titles = ("static", "gripper", "both", "reset", "first", "memory")
    print(f"{'':<8}" + "".join(f"{title:>9}" for title in titles) + "   growth over 1000 resets")
    for name in arguments.renderers:
        context = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(1, mp_context=context) as process:
            measured = process.submit(
                measure, name, arguments.assets, arguments.scene, arguments.frames, arguments.resets
            ).result()
        print(
            f"{name:<8}{measured.static:>9.2f}{measured.gripper:>9.2f}{measured.both:>9.2f}"
            f"{measured.reset:>9.1f}{measured.first:>9.0f}{measured.resident:>9.0f}"
            f"   {measured.growth:.1f} (of {arguments.resets} resets)"
        )


def measure(renderer: str, assets: str, scene: str, frames: int, resets: int) -> Costs:
    """All of it, for one renderer, in this process."""
    measured = Measurement(renderer, assets, scene)
    costs = measured.frames(frames)
    reset, growth = measured.resets(resets)
    resident = _resident_mb()
    measured.close()
    return Costs(**costs, reset=reset, first=measured.first, resident=resident, growth=growth)


def usable(names: Sequence[str]) -> list[str]:
    """Those renderers that work here."""
    from vla_bench.envs.calvin.renderers import resolve_renderer
    from vla_bench.envs.errors import RendererError

    working = []
    for name in names:
        try:
            working.append(resolve_renderer(name))
        except RendererError as error:
            print(f"left out: {error}")
    return working


class Measurement:
    """One simulation with one renderer."""

    def __init__(self, renderer: str, assets: str, scene: str) -> None:
        from vla_bench.envs.calvin.bundle import find_bundle
        from vla_bench.envs.calvin.simulation import CalvinSimulation
        from vla_bench.envs.observation import Sensors
        from vla_bench.envs.simulation import EpisodeStart

        self._simulation = CalvinSimulation(find_bundle(assets), Sensors.of(*CAMERAS), renderer=renderer)
        self._start = EpisodeStart(scene, {})
        started = time.process_time()
        self._simulation.reset(self._start)
        self._simulation.observe()
        self.first = 1e3 * (time.process_time() - started)
        """The first reset and frame, milliseconds."""

    def frames(self, count: int) -> dict[str, float]:
        """Milliseconds for each camera and for both in one observation."""
        from vla_bench.envs.calvin.cameras import view_of
        from vla_bench.envs.observation import Camera

        simulation = self._simulation
        world, bullet = simulation.world, simulation._bullet
        generator = np.random.default_rng(0)
        times: dict[str, list[float]] = {"static": [], "gripper": [], "both": []}

        def move() -> None:
            world.step(np.append(generator.uniform(-1, 1, 6), 1.0))

        for _ in range(count):
            for camera in CAMERAS:
                move()
                view = view_of(Camera(camera), bullet, world.client, world.robot.body)
                times[camera].append(_timed(lambda view=view: simulation.renderer.render(view))[0])
            move()
            times["both"].append(_timed(simulation.observe)[0])
        return {name: 1e3 * float(np.quantile(values, 0.1)) for name, values in times.items()}

    def resets(self, count: int) -> tuple[float, float]:
        """Milliseconds per reset, and megabytes by which 1000 resets would grow the process."""
        times = []
        before = 0.0
        for number in range(_SETTLING_RESETS + count):
            if number == _SETTLING_RESETS:
                before = _resident_mb()
            times.append(_timed(lambda: self._simulation.reset(self._start))[0])
            self._simulation.observe()
        growth = (_resident_mb() - before) * 1000 / max(count, 1)
        return 1e3 * float(np.quantile(times, 0.1)), growth

    def close(self) -> None:
        """Ends the simulation."""
        self._simulation.close()


def _timed(call: Callable[[], Any]) -> tuple[float, Any]:
    started = time.process_time()
    result = call()
    return time.process_time() - started, result


def _resident_mb() -> float:
    gc.collect()
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6


if __name__ == "__main__":
    main()

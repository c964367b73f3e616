"""What a control step of CALVIN costs: ours, a bare loop of the same Bullet calls, and the original.

CPU time of one process, the same actions from the same state for everyone, in alternating rounds;
the least disturbed round counts. Every contender must end in the same state to the last bit.

  python -m tools.calvin_step
  python -m tools.calvin_step --original-python ~/calvin/bin/python   (has calvin_env)
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from tools.calvin_contenders import (
    ROOT,
    TASK,
    BareLoop,
    OriginalElsewhere,
    Ours,
    actions,
    start,
)

CAMERAS = ("static", "gripper")
CHUNK = 10
"""Steps between two looks of a policy that predicts several actions at once."""
LOOKING_STEPS = 40
"""Steps of a round in which frames are rendered; a frame may cost fifty times a step."""


def race(contenders: dict[str, Any], sequence: np.ndarray, rounds: int) -> dict[str, float]:
    """The best CPU seconds per step of each, in alternating rounds; all must end in one state."""
    best: dict[str, float] = {}
    states = set()
    for _ in range(rounds):
        for name, contender in contenders.items():
            result = contender.round(sequence)
            states.add(result.state)
            best[name] = min(result.seconds, best.get(name, float("inf")))
    if len(states) != 1:
        raise SystemExit(f"error: the contenders end in {len(states)} different states")
    return best


def table(title: str, best: dict[str, float], against: Sequence[str]) -> None:
    """Prints milliseconds and how many times as fast as each of ``against``."""
    known = [name for name in against if name in best]
    print(f"\n{title}")
    print(f"  {'':<34}{'CPU ms/step':>12}" + "".join(f"{'x ' + name:>14}" for name in known))
    for name, seconds in best.items():
        ratios = "".join(f"{best[other] / seconds:14.2f}" for other in known)
        print(f"  {name:<34}{seconds * 1e3:12.3f}{ratios}")


def reset_cost(contender: Ours) -> float:
    """Best CPU seconds of a reset, of seven."""
    seconds = []
    for _ in range(7):
        before = time.process_time()
        contender.simulation.reset(start())
        seconds.append(time.process_time() - before)
    return min(seconds)


def resident() -> float:
    """Resident memory of this process, MB."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def growth(contender: Ours, resets: int) -> float:
    """MB by which memory grows over that many resets and a few steps after each."""
    moves = actions(2)
    for number in range(resets + 20):
        if number == 20:  # caches are full by now
            before = resident()
        contender.simulation.reset(start())
        contender.simulation.begin(TASK)
        contender.simulation.advance(moves)
        contender.simulation.observe()
    return resident() - before


FIRST_STEP = """
from vla_bench.envs.calvin.bundle import find_bundle
from vla_bench.envs.calvin.simulation import CalvinSimulation
from tools.calvin_contenders import TASK, actions, start
from tools.calvin_step import resident
simulation = CalvinSimulation(find_bundle("{assets}"))
simulation.reset(start())
simulation.begin(TASK)
simulation.advance(actions(1))
print(resident())
"""


def first_step(assets: str) -> tuple[float, float]:
    """Wall seconds from nothing to the first step of a new process, and its memory in MB."""
    before = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-c", FIRST_STEP.format(assets=assets)],
        capture_output=True,
        text=True,
        check=True,
        cwd=ROOT,
    )
    return time.perf_counter() - before, float(done.stdout.split()[-1])


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--assets", choices=("official", "builtin"), default="official")
    parser.add_argument("--steps", type=int, default=360, help="control steps of a round")
    parser.add_argument("--rounds", type=int, default=5, help="rounds of each contender")
    parser.add_argument("--resets", type=int, default=200, help="resets over which memory is watched")
    parser.add_argument("--renderers", nargs="*", help="default: all that work here; none: no rendering")
    parser.add_argument("--original-python", metavar="PYTHON", help="interpreter that has calvin_env")
    arguments = parser.parse_args()
    python = arguments.original_python or (sys.executable if find_spec("calvin_env") else "")
    if not python:
        print("calvin_env is not installed here: no comparison with the original (--original-python)")
    states(arguments, python)
    looks(arguments, python)
    bounds(arguments)


def states(arguments: argparse.Namespace, python: str) -> None:
    """Physics, state vectors and the verdict on one task; no camera."""
    assets = arguments.assets
    contenders: dict[str, Any] = {
        "bare loop": BareLoop(assets),
        "ours": Ours(assets),
        f"ours, a look every {CHUNK}th step": Ours(assets, chunk=CHUNK),
    }
    if python:
        contenders["original"] = OriginalElsewhere(python, assets)
    best = race(contenders, actions(arguments.steps), arguments.rounds)
    table("physics, state vectors and one task's verdict; no camera", best, ("bare loop", "original"))
    if python:
        contenders["original"].close()


def looks(arguments: argparse.Namespace, python: str) -> None:
    """With both cameras, at every step and at every tenth."""
    contenders: dict[str, Any] = {}
    for renderer in usable_renderers() if arguments.renderers is None else arguments.renderers:
        contenders[f"{renderer}, a look at every step"] = Ours(arguments.assets, CAMERAS, renderer)
        name = f"{renderer}, a look every {CHUNK}th step"
        contenders[name] = Ours(arguments.assets, CAMERAS, renderer, CHUNK)
    if not contenders:
        return
    if python:
        contenders["original"] = OriginalElsewhere(python, arguments.assets, CAMERAS)
    best = race(contenders, actions(LOOKING_STEPS), max(2, arguments.rounds // 2))
    table("with both cameras (the original: TinyRenderer, at every step)", best, ("original",))
    if python:
        contenders["original"].close()


def usable_renderers() -> list[str]:
    """The renderers that work on this machine."""
    from vla_bench.envs.calvin.renderers import RENDERERS, resolve_renderer
    from vla_bench.envs.errors import RendererError

    usable = []
    for name in RENDERERS:
        try:
            usable.append(resolve_renderer(name))
        except RendererError as error:
            print(f"renderer {name} left out: {error}")
    return usable


def bounds(arguments: argparse.Namespace) -> None:
    """Resets, memory and start-up."""
    seconds, megabytes = first_step(arguments.assets)
    ours = Ours(arguments.assets)
    print("\nno camera")
    print(f"  reset, fresh semantics          {reset_cost(ours) * 1e3:8.1f} CPU ms")
    print(f"  new process to first step       {seconds:8.2f} s")
    print(f"  memory of that process          {megabytes:8.0f} MB")
    if arguments.resets:
        per_thousand = growth(ours, arguments.resets) * 1000 / arguments.resets
        print(f"  growth over 1000 resets         {per_thousand:8.1f} MB (from {arguments.resets})")


if __name__ == "__main__":
    main()

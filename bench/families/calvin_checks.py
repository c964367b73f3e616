"""What CALVIN needs of a machine; part of ``vla-bench doctor``.

The simulator is asked in a child process: a bad driver takes that process down, not this one.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

from vla_bench import start
from vla_bench.bench.errors import UserError
from vla_bench.bench.families.family import Check
from vla_bench.envs.errors import EnvironmentFault

LOOK_SECONDS = 120.0
"""For one simulation to be built and looked at."""


def _looked(assets: str) -> str:
    done = subprocess.run(
        start.command("vla_bench.bench.families.calvin_checks", assets),
        capture_output=True,
        text=True,
        timeout=LOOK_SECONDS,
        check=False,
    )
    if done.returncode:
        last = done.stderr.strip().rpartition("\n")[2] or f"the process ended with code {done.returncode}"
        raise EnvironmentFault(last)
    return next(line for line in done.stdout.splitlines() if line.startswith("renderer "))


def _official() -> str:
    from vla_bench.envs.calvin.bundle import find_bundle

    bundle = find_bundle("official")
    return f"{bundle.root}, checksum {bundle.checksum}; {_looked('official')}"


def _with(assets: str) -> Callable[[Any], bool]:
    return lambda benchmark: benchmark.options.assets == assets


COMPILING = "the first time after an installation, the renderer is compiled, which may take most of a minute"
CHECKS = (
    Check("CALVIN, built-in assets", lambda: _looked("builtin"), needed=True, meant=_with("builtin"), slow=COMPILING),
    Check("CALVIN, official assets", _official, meant=_with("official"), slow=COMPILING),
)


def look(assets: str) -> str:
    """Builds CALVIN's scene D, looks through both cameras, and makes a step; in this very process.

    Raises:
        UserError: files, renderer or simulator do not work; says what to type.
    """
    import numpy as np

    from vla_bench.bench.episode.watch import is_plain, not_finite
    from vla_bench.envs.calvin.initial_states import initial_state
    from vla_bench.envs.calvin.sequences import official_sequences
    from vla_bench.envs.observation import Sensors
    from vla_bench.envs.simulation import SimulationSpec, make_simulation

    simulation = make_simulation(SimulationSpec("calvin", {"assets": assets}, Sensors.of("static", "gripper")))
    simulation.reset(initial_state(official_sequences()[0].condition))
    simulation.begin("open_drawer")
    simulation.observe()
    began = time.perf_counter()
    seen = simulation.observe()
    frame = time.perf_counter() - began
    plain = [name for name in ("rgb_static", "rgb_gripper") if is_plain(seen[name])]
    if plain or not_finite(seen):
        raise EnvironmentFault(f"{', '.join(plain) or not_finite(seen)} shows nothing; try benchmark.renderer=tiny")
    began = time.perf_counter()
    simulation.advance(np.tile(np.array([0, 0, 0, 0, 0, 0, 1.0]), (10, 1)))
    step = (time.perf_counter() - began) / 10
    renderer = getattr(simulation, "describe", dict[str, str])().get("renderer", "unknown")
    simulation.close()
    return f"renderer {renderer}, both frames in {1000 * frame:.1f} ms, a step in {1000 * step:.2f} ms"


if __name__ == "__main__":
    try:
        print(look(sys.argv[1]), flush=True)  # before what PyBullet says when it ends
    except UserError as error:
        sys.exit(str(error))

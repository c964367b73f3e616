"""What every evaluation needs of a machine, looked at one by one; part of ``vla-bench doctor``.

Simulators and drivers are asked in a child process: a bad one takes that process down, not this one.
"""

from __future__ import annotations

import importlib.metadata
import os
import platform
import re
import resource
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from vla_bench import start
from vla_bench.bench.errors import AssetError, UserError
from vla_bench.bench.machine.cores import usable_cores
from vla_bench.envs.errors import EnvironmentFault
from vla_bench.program import installing, needed_packages

LOOK_SECONDS = 120.0
"""For one simulation to be built and looked at."""
WORKER_MB = 350
"""Resident memory of one worker of CALVIN, its policy aside."""
FREE_MB = 500
"""Of disk, below which a run is likely to end early."""
OPEN_FILES = 1024
"""Ray and the workers of one machine together need some hundreds."""


def _python() -> str:
    if not (3, 11) <= sys.version_info[:2] < (3, 13):
        raise EnvironmentFault(f"Python {platform.python_version()}; 3.11 or 3.12 is needed: make benchmark")
    return f"{platform.python_version()}, {sys.executable}"


def _packages() -> str:
    from packaging.requirements import Requirement

    requirements = [Requirement(line) for line in needed_packages()]
    wrong = []
    for requirement in requirements:
        try:
            found = importlib.metadata.version(requirement.name)
        except importlib.metadata.PackageNotFoundError:
            wrong.append(f"{requirement.name} is missing")
        else:
            if not requirement.specifier.contains(found, prereleases=True):
                wrong.append(f"{requirement.name} is {found}, {requirement.specifier} is needed")
    if wrong:
        raise EnvironmentFault(f"{'; '.join(wrong)}. Type: {installing()}")
    return f"all {len(requirements)} are here"


def _cores_and_memory() -> str:
    cores, (load, _, _) = usable_cores(), os.getloadavg()
    free = _available_mb()
    said = f"{cores} cores (load {load:.1f}), {free:.0f} MB of memory free"
    if free < WORKER_MB * cores:
        raise EnvironmentFault(
            f"{said}: too little for {cores} workers of {WORKER_MB} MB; type run.workers={_workers(free)}"
        )
    return said


def _workers(free: float) -> int:
    return max(1, int(free // WORKER_MB))


def _available_mb() -> float:
    """Memory that may be taken: what the kernel says, within what the container grants."""
    text = Path("/proc/meminfo").read_text() if Path("/proc/meminfo").exists() else ""
    match = re.search(r"MemAvailable:\s+(\d+) kB", text)
    free = int(match[1]) / 1024 if match else float("inf")
    try:
        granted = Path("/sys/fs/cgroup/memory.max").read_text().strip()
        used = int(Path("/sys/fs/cgroup/memory.current").read_text())
    except (OSError, ValueError):
        return free
    return free if granted == "max" else min(free, (int(granted) - used) / 2**20)


def _disk() -> str:
    folder = Path("results")
    place = folder if folder.is_dir() else Path.cwd()
    if not os.access(place, os.W_OK):
        raise EnvironmentFault(f"{place.resolve()} cannot be written to; another place: run.results=<folder>")
    free = shutil.disk_usage(place).free / 1e6
    if free < FREE_MB:
        raise EnvironmentFault(f"{free:.0f} MB free in {place.resolve()}; another place: run.results=<folder>")
    return f"{free / 1000:.0f} GB free in {place.resolve()}"


def _open_files() -> str:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < OPEN_FILES:
        raise EnvironmentFault(f"a process may open {soft} files; type: ulimit -n {min(hard, 65536)}")
    return f"{soft} may be open"


def _variables() -> str:
    """Of the environment: set, but to something that cannot be."""
    for name in ("CALVIN_ASSETS", "SIMPLER_ASSETS"):
        if (value := os.environ.get(name)) is not None and not Path(value).expanduser().is_dir():
            raise EnvironmentFault(f"{name}={value} is no folder; unset {name}, or name one")
    spoilers = [name for name in ("PYTHONHOME", "PYTHONOPTIMIZE") if os.environ.get(name)]
    if spoilers:
        raise EnvironmentFault(f"{spoilers[0]} is set and changes how Python works; type: unset {spoilers[0]}")
    known = ("CALVIN_ASSETS", "SIMPLER_ASSETS", "RAY_ADDRESS", "RAY_TMPDIR", "CUDA_VISIBLE_DEVICES")
    found = [f"{name}={os.environ[name]}" for name in known if name in os.environ]
    return ", ".join(found) or "none that matters is set"


def _calvin(assets: str) -> str:
    done = subprocess.run(
        start.command("vla_bench.bench.machine.checks", assets),
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
    return f"{bundle.root}, checksum {bundle.checksum}; {_calvin('official')}"


def _ray() -> str:
    try:
        version = importlib.metadata.version("ray")
    except importlib.metadata.PackageNotFoundError:
        raise EnvironmentFault(f"not installed; run.backend=local does without, or: {installing()}") from None
    folder = os.environ.get("RAY_TMPDIR", "/tmp")
    if not os.access(folder, os.W_OK):
        raise EnvironmentFault(f"{folder} cannot be written to; type: export RAY_TMPDIR=<short folder>")
    if len(folder) > 40:
        raise EnvironmentFault(f"RAY_TMPDIR={folder} is too long for the sockets in it; name one like /tmp/r")
    shared = Path("/dev/shm")
    free = shutil.disk_usage(shared).free / 1e6 if shared.is_dir() else 0.0
    if free < 120:
        raise EnvironmentFault(
            f"/dev/shm has {free:.0f} MB free, Ray wants 120; start the container with --shm-size=1g, or "
            "type run.backend=local"
        )
    return f"{version}, sockets in {folder}, {free:.0f} MB of shared memory free"


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


CHECKS: dict[str, Callable[[], str]] = {
    "Python": _python,
    "packages": _packages,
    "machine": _cores_and_memory,
    "results": _disk,
    "open files": _open_files,
    "environment variables": _variables,
    "CALVIN, built-in assets": lambda: _calvin("builtin"),
    "Ray": _ray,
}
"""What must be in order for any evaluation, by name."""
OFFICIAL: dict[str, Callable[[], str]] = {"CALVIN, official assets": _official}
"""What published numbers need."""


if __name__ == "__main__":
    try:
        print(look(sys.argv[1]), flush=True)  # before what PyBullet says when it ends
    except (UserError, AssetError) as error:
        sys.exit(str(error))

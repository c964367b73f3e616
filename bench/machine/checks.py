"""What every evaluation needs of a machine, looked at one by one; part of ``vla-bench doctor``."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import re
import resource
import shutil
import sys
from pathlib import Path

from vla_bench.bench.families import families
from vla_bench.bench.families.family import Check
from vla_bench.bench.machine.cores import usable_cores
from vla_bench.envs.errors import EnvironmentFault
from vla_bench.program import installing, needed_packages

WORKER_MB = 350
"""Resident memory of one worker, its policy aside."""
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
    folders = [name for family in families() for name in family.variables]
    for name in folders:
        if (value := os.environ.get(name)) is not None and not Path(value).expanduser().is_dir():
            raise EnvironmentFault(f"{name}={value} is no folder; unset {name}, or name one")
    spoilers = [name for name in ("PYTHONHOME", "PYTHONOPTIMIZE") if os.environ.get(name)]
    if spoilers:
        raise EnvironmentFault(f"{spoilers[0]} is set and changes how Python works; type: unset {spoilers[0]}")
    known = (*folders, "RAY_ADDRESS", "RAY_TMPDIR", "CUDA_VISIBLE_DEVICES")
    found = [f"{name}={os.environ[name]}" for name in known if name in os.environ]
    return ", ".join(found) or "none that matters is set"


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


CHECKS = (
    Check("Python", _python, needed=True),
    Check("packages", _packages, needed=True),
    Check("machine", _cores_and_memory, needed=True),
    Check("results", _disk, needed=True),
    Check("open files", _open_files, needed=True),
    Check("environment variables", _variables, needed=True),
    Check("Ray", _ray, needed=True),
)
"""What must be in order for any evaluation."""

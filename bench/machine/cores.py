"""How many cores this process may really use: by its affinity and by every control group above it."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from pathlib import Path, PurePosixPath


def usable_cores(root: Path = Path("/")) -> int:
    """Cores, at least 1. A container or a batch system may grant fewer than the machine has.

    Control groups nest (a container in a Slurm job in a slice), and each may limit: the least counts. Both
    versions, ``/proc/self/cgroup`` and the files as in the kernel's documentation (cgroup-v1/cpuacct,
    cgroup-v2 ``cpu.max``). ``root``: where ``proc`` and ``sys`` are, for tests.
    """
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    granted = [math.ceil(cores) for cores in _grants(root)]
    return max(1, min([allowed, *granted]))


def _grants(root: Path) -> Iterator[float]:
    """Cores that each control group above this process grants, where it limits them."""
    try:
        lines = (root / "proc/self/cgroup").read_text().splitlines()
    except OSError:
        lines = ["0::/"]
    for line in lines:
        _, controllers, path = [*line.split(":", 2), "", ""][:3]
        if not controllers:
            for folder in _upwards(root / "sys/fs/cgroup", path):
                yield from _version_2(folder)
        elif "cpu" in controllers.split(","):
            for mount in (root / "sys/fs/cgroup" / controllers, root / "sys/fs/cgroup/cpu"):
                if mount.is_dir():
                    for folder in _upwards(mount, path):
                        yield from _version_1(folder)
                    break


def _upwards(mount: Path, path: str) -> Iterator[Path]:
    """The group's folder and those above it; in a container the path may be one of the host's, then the mount."""
    parts = [part for part in PurePosixPath(path).parts if part not in ("/", "..")]
    for length in range(len(parts), -1, -1):
        yield mount.joinpath(*parts[:length])


def _version_2(folder: Path) -> Iterator[float]:
    try:
        quota, period = (folder / "cpu.max").read_text().split()
        if quota != "max":
            yield int(quota) / int(period)
    except (OSError, ValueError):
        return


def _version_1(folder: Path) -> Iterator[float]:
    try:
        quota = int((folder / "cpu.cfs_quota_us").read_text())
        if quota > 0:
            yield quota / int((folder / "cpu.cfs_period_us").read_text())
    except (OSError, ValueError, ZeroDivisionError):
        return

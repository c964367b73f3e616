"""Where a result set comes from: code, packages, machine, and when it was made by which command.

A run may take several tries (a crash, then the same command again); each try leaves its own entry.
"""

from __future__ import annotations

import contextlib
import datetime
import hashlib
import itertools
import json
import os
import platform
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from vla_bench.bench.machine.cores import usable_cores
from vla_bench.bench.packages import ENGINE, LEARNED, versions
from vla_bench.bench.records.journal import write_atomically
from vla_bench.policies.identity.content import (
    Content,
    content_from_plain,
    content_to_plain,
    shared_differences,
)
from vla_bench.program import command_line, is_checkout, version

_ROOT = Path(__file__).resolve().parents[2]
_CODE = ("vla_bench", "bench", "envs", "policies", "configs", "run_benchmark.py", "pyproject.toml")
"""What of the checkout takes part in a run."""


def describe_code() -> dict[str, Any]:
    """The checkout's commit, and whether the code (:data:`_CODE`) differs from it.

    ``changes`` is the SHA-256 of the difference, so that two runs of the same dirty tree show it. All
    are None outside a git checkout.
    """
    commit = _git("rev-parse", "HEAD")
    if commit is None:
        return {"commit": None, "dirty": None, "changes": None}
    status = _git("status", "--porcelain", "--", *_CODE) or ""
    difference = (_git("diff", "HEAD", "--", *_CODE) or "") + status if status else ""
    return {
        "commit": commit.strip(),
        "dirty": bool(status),
        "changes": hashlib.sha256(difference.encode()).hexdigest()[:12] if status else None,
    }


def _git(*arguments: str) -> str | None:
    if not is_checkout():  # installed, perhaps below some other project's repository
        return None
    command = ["git", "-C", str(_ROOT), *arguments]
    environment = {**os.environ, "GIT_OPTIONAL_LOCKS": "0"}
    try:
        done = subprocess.run(command, capture_output=True, timeout=10, env=environment)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.decode(errors="replace") if done.returncode == 0 else None


def policy_entry(target: str, content: Content) -> dict[str, Any]:
    """The policy's target, the digests of its code and files, and what could not be compared."""
    return {"target": target, **content_to_plain(content)}


def describe_machine() -> dict[str, Any]:
    """This machine: system, processor, memory."""
    return {
        "host": platform.node(),
        "system": platform.platform(),
        "processor": _processor(),
        "cores": os.cpu_count(),
        "usable_cores": usable_cores(),
        "memory_gb": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9, 1),
    }


def _processor() -> str:
    try:
        with open("/proc/cpuinfo", encoding="utf-8", errors="replace") as file:
            for line in file:
                if line.startswith("model name"):
                    return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


class Provenance:
    """The ``provenance.json`` of a run's folder: what does not change, and one entry per try."""

    def __init__(self, path: Path, fixed: Mapping[str, Any], *, fresh: bool = False) -> None:
        """Reads what earlier tries left, unless ``fresh``; ``fixed`` is about the run as a whole."""
        self._path = path
        self._content: dict[str, Any] = {**fixed, "tries": [] if fresh else tries_of(path)}

    def begin(self, policy: Mapping[str, Any], placement: Mapping[str, Any]) -> None:
        """Opens a try; ``policy`` as :func:`policy_entry` has it, ``placement`` says how it is run (workers,
        backend…)."""
        self._content["tries"].append(
            {
                "started": now(),
                "first_worker": None,
                "ended": None,
                "version": version(),
                "command": command_line(),
                "placement": dict(placement),
                "python": platform.python_version(),
                "code": describe_code(),
                "policy": dict(policy),
                "packages": versions((*ENGINE, *LEARNED)),
                "machine": describe_machine(),
                "workers": [],
            }
        )
        self._write()

    def add_worker(self, name: str, info: Mapping[str, Any]) -> None:
        """Notes what a worker said of itself when it started."""
        attempt = self._content["tries"][-1]
        attempt["first_worker"] = attempt["first_worker"] or now()
        attempt["workers"].append({"worker": name, **info})
        self._write()

    def end(self, episodes: int) -> None:
        """Closes the try, which finished so many episodes."""
        self._content["tries"][-1] |= {"ended": now(), "episodes": episodes}
        self._write()

    def _write(self) -> None:
        text = json.dumps(self._content, indent=2, ensure_ascii=False, default=str) + "\n"
        write_atomically(self._path, lambda temporary: temporary.write_text(text, encoding="utf-8"))


def tries_of(path: Path) -> list[dict[str, Any]]:
    """The tries noted in a ``provenance.json``; none when there is no readable one."""
    try:
        tries = json.loads(path.read_text(encoding="utf-8"))["tries"]
        return [each for each in tries if _is_try(each)]
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return []


def _is_try(each: Any) -> bool:
    """Whether it is what :meth:`Provenance.begin` writes, as far as readers rely on it."""
    if not isinstance(each, dict) or not isinstance(each.get("packages", {}), dict):
        return False
    workers = each.get("workers", [])
    if not isinstance(workers, list) or not all(isinstance(worker, dict) for worker in workers):
        return False
    times = [each["started"], *filter(None, (each.get("ended"), each.get("first_worker")))]
    return all(datetime.datetime.fromisoformat(time).tzinfo is not None for time in times)


def changes_between(tries: Sequence[Mapping[str, Any]]) -> list[str]:
    """What was not the same in all tries that finished an episode: ``code``, a package… (The policy is
    looked after by the journal's header.)"""
    counted = [each for each in tries if each.get("episodes") != 0]
    changed = [
        name for name in ("code", "python") if len({json.dumps(each.get(name), sort_keys=True) for each in counted}) > 1
    ]
    packages = [each.get("packages", {}) for each in counted]
    stated = [worker.get("packages") for each in counted for worker in each.get("workers", ())]
    differing = {*_differing(packages), *_differing([each for each in stated if isinstance(each, dict)])}
    return changed + sorted(differing)


def _differing(packages: Sequence[Mapping[str, Any]]) -> list[str]:
    """Packages that were not of one version wherever they were stated; one that some left out is none."""
    names = {name for each in packages for name in each}
    return [name for name in names if len({str(each[name]) for each in packages if name in each}) > 1]


def pixels_of(tries: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """Who draws which pixels: host and driver of a first worker, by the hash of its reference frame.

    More than one entry: the same renderer drew other pixels on another machine.
    """
    pixels: dict[str, str] = {}
    for worker in (worker for each in tries for worker in each.get("workers", ())):
        details = worker.get("renderer_details")
        if isinstance(details, dict) and "reference_frame" in details:
            driver = details.get("gl_renderer") or details.get("renderer")
            pixels.setdefault(str(details["reference_frame"]), f"{worker.get('host')}: {driver}")
    return pixels


def stated_by_workers(tries: Sequence[Mapping[str, Any]]) -> Content:
    """The user's own modules that workers had loaded once they had decided, and the files that they had read by then,
    whoever named them: the last try that finished an episode has the word."""
    sources: dict[str, str] = {}
    files: dict[str, str] = {}
    for each in tries:
        for worker in each.get("workers", ()) if each.get("episodes") != 0 else ():
            with contextlib.suppress(KeyError, TypeError, ValueError, AttributeError):
                stated = content_from_plain(worker["content"])
                sources |= stated.sources
                files |= stated.read
    return Content(sources, files)


def policies_of(tries: Sequence[Mapping[str, Any]]) -> list[str]:
    """What workers had of the policy that the process which began their try had otherwise, in words."""
    found: dict[str, None] = {}
    for each in tries:
        for worker in each.get("workers", ()):
            with contextlib.suppress(KeyError, TypeError, ValueError, AttributeError):
                mine, theirs = content_from_plain(each["policy"]), content_from_plain(worker["content"])
                found |= dict.fromkeys(shared_differences(mine, theirs, f"on {worker.get('host')}"))
    for earlier, later in itertools.pairwise(each for each in tries if each.get("episodes") != 0):
        then, now = stated_by_workers([earlier]), stated_by_workers([later])
        found |= dict.fromkeys(shared_differences(then, now, "later"))
    return list(found)


def answers_of(tries: Sequence[Mapping[str, Any]]) -> dict[str, int]:
    """How many workers found which answer of their policy's server to one fixed observation, by its digest."""
    found: dict[str, int] = {}
    for worker in (worker for each in tries for worker in each.get("workers", ())):
        says = worker.get("policy_says")
        if isinstance(says, dict) and says.get("answer_to_probe"):
            digest = str(says["answer_to_probe"])
            found[digest] = found.get(digest, 0) + 1
    return found


class Elapsed(NamedTuple):
    """Seconds that the tries of a run took together, nan when nothing is known."""

    wall: float
    startup: float
    """The part of it before the first worker was ready."""


def elapsed(tries: Sequence[Mapping[str, Any]], record_times: Sequence[float]) -> Elapsed:
    """The time of all tries; one that was killed counts up to its last record (unix times given)."""
    if not tries:
        return Elapsed(float("nan"), float("nan"))
    starts = [_unix(each["started"]) for each in tries]
    wall = startup = 0.0
    for each, start, following in zip(tries, starts, [*starts[1:], float("inf")], strict=True):
        if each.get("ended"):
            took = _unix(each["ended"]) - start
        else:
            took = max((time - start for time in record_times if start <= time < following), default=0.0)
        wall += took
        ready = each.get("first_worker")
        startup += min(took, _unix(ready) - start) if ready else took
    return Elapsed(wall, startup)


def now() -> str:
    """The time as ISO 8601 in UTC, to the millisecond."""
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="milliseconds")


def _unix(text: str) -> float:
    return datetime.datetime.fromisoformat(text).timestamp()

"""Records and headers for the tests of what is made from them."""

from __future__ import annotations

import datetime
from collections.abc import Mapping, Sequence
from typing import Any

from vla_bench.bench.protocol import EpisodeError, EpisodeRecord, SubtaskRecord, Timings

TASKS = ("open_drawer", "lift_red_block_table", "turn_on_led", "push_blue_block_left", "close_drawer")


def chain_record(index: int, length: int, *, scene: str = "D", **changes: Any) -> EpisodeRecord:
    """A judged chain of five that got so far."""
    attempted = min(length + 1, 5)
    subtasks = tuple(
        SubtaskRecord(position, TASKS[position], f"do {TASKS[position]}", position < length, 10, 5, f"{index:x}")
        for position in range(attempted)
    )
    fields: dict[str, Any] = {
        "index": index,
        "episode": f"seq-{index:04d}",
        "scene": scene,
        "status": "done",
        "chain_length": length,
        "subtasks": subtasks,
        "worker": "local-0",
        "timings": Timings(physics=1.0, policy=0.5),
    }
    return EpisodeRecord(**{**fields, **changes})


def error_record(index: int, message: str = "was killed by SIGSEGV") -> EpisodeRecord:
    """An episode that could not be judged."""
    return EpisodeRecord(index, f"seq-{index:04d}", "D", "error", 0, (), EpisodeError("crash", message, "log"))


def task_record(index: int, task: str, scene: str, *, success: bool) -> EpisodeRecord:
    """One trial of the task suite."""
    subtask = SubtaskRecord(0, task, f"do {task}", success, 7, 7, "d")
    return EpisodeRecord(index, f"{scene}-{task}-{index}", scene, "done", int(success), (subtask,))


def header(
    episodes: int,
    *,
    kind: str = "chains",
    tasks: Sequence[str] = TASKS,
    scenes: Sequence[str] = ("D",),
    **facts: Any,
) -> Mapping[str, Any]:
    """A journal's header as the runner writes it."""
    return {
        "format": 1,
        "benchmark": "calvin_smoke",
        "policy": "expert",
        "identity": {
            "split": "none",
            "policy": "expert",
            "arguments": {},
            "seed": 0,
            "protocol": "0123456789ab",
        },
        "protocol": {
            "name": f"calvin-{kind}",
            "hash": "0123456789ab",
            "facts": {"family": "calvin", "kind": kind, "assets": "builtin", "renderer": "tiny", **facts},
        },
        "episodes": episodes,
        "longest": 5 if kind == "chains" else 1,
        "tasks": sorted(tasks),
        "scenes": list(scenes),
        "notes": ["built-in assets: not comparable with published CALVIN numbers"],
    }


RECORD_TIME = 1_700_000_000.0
"""Unix time that the seconds of :func:`attempt` count from."""


def attempt(**changes: Any) -> dict[str, Any]:
    """A try as ``provenance.json`` notes it; times are seconds after :data:`RECORD_TIME`."""
    fields: dict[str, Any] = {
        "started": 0,
        "first_worker": 1,
        "ended": 2,
        "episodes": 3,
        "code": {"commit": "a"},
        "packages": {"numpy": "1", "torch": None},
        **changes,
    }
    for name in ("started", "first_worker", "ended"):
        if fields[name] is not None:
            moment = datetime.datetime.fromtimestamp(RECORD_TIME + fields[name], datetime.UTC)
            fields[name] = moment.isoformat()
    return fields

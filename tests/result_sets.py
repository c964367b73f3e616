"""Result sets made up for tests: journals as the runner writes them, without running anything."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np

from vla_bench.bench.protocol import EpisodeError, EpisodeRecord, SubtaskRecord, Timings
from vla_bench.bench.records.journal import Journal
from vla_bench.bench.records.result_set import JOURNAL
from vla_bench.envs.calvin.sequences import official_sequences

FACTS = {
    "family": "calvin",
    "kind": "chains",
    "assets": "official",
    "assets_checksum": "abc",
    "renderer": "egl",
    "history": "fresh",
    "action": {"control": "tcp_delta", "frame": "world"},
    "executed_chunk": 1,
}


def chain_lengths(chance: float, n: int, *, seed: int = 0, luck: int = 1) -> list[int]:
    """Chain lengths of a policy that solves each subtask with this chance. Policies of the same ``luck``
    find the same sequences easy."""
    common = np.random.default_rng([7, luck]).uniform(-0.12, 0.12, (n, 5))
    draws = np.random.default_rng(seed).uniform(size=(n, 5)) < np.clip(chance + common, 0, 1)
    return [int(np.cumprod(row).sum()) for row in draws]


def write_chains(
    folder: Path,
    lengths: Sequence[int],
    *,
    policy: str = "mine",
    split: str = "ABC",
    seed: int = 0,
    errors: Sequence[int] = (),
    planned: int = 0,
    facts: Mapping[str, Any] | None = None,
    **header: Any,
) -> Path:
    """A run of the first official sequences with these chain lengths; ``errors`` are those not judged."""
    facts = {**FACTS, **(facts or {})}
    sequences = official_sequences()[: max(len(lengths), planned)]
    tasks = sorted({task for sequence in sequences for task in sequence.subtasks})
    digest = f"{hash((str(facts), len(sequences))) & 0xFFFFFFFFFFFF:012x}"
    first_line = {
        "created": "2026-01-01T00:00:00.000+00:00",
        "name": folder.name,
        "benchmark": "calvin_abc_d",
        "policy": policy,
        "identity": {
            "split": split,
            "policy": policy,
            "arguments": {},
            "seed": seed,
            "protocol": digest,
        },
        "protocol": {"name": "calvin-chains", "hash": digest, "facts": facts},
        "episodes": len(sequences),
        "episode_digests": [f"{index:08x}" for index in range(len(sequences))],
        "longest": 5,
        "tasks": tasks,
        "scenes": ["D"],
        "notes": [],
        **header,
    }
    without_waiting = mock.patch.object(os, "fsync")  # a thousand times is half a minute
    with without_waiting, Journal.open(folder / JOURNAL, first_line) as journal:
        for index, length in enumerate(lengths):
            if index in errors:
                error = EpisodeError("crash", "was killed by SIGSEGV", "log")
                journal.append(EpisodeRecord(index, f"seq-{index:04d}", "D", "error", 0, (), error))
            else:
                journal.append(_chain(index, length, sequences[index].subtasks))
    return folder


def _chain(index: int, length: int, tasks: Sequence[str]) -> EpisodeRecord:
    tried = [
        SubtaskRecord(
            position=position,
            subtask=task,
            instruction=task.replace("_", " "),
            success=position < length,
            steps=60 + 7 * position if position < length else 360,
            decisions=30,
            digest=f"{index:x}",
        )
        for position, task in enumerate(tasks[: min(length + 1, 5)])
    ]
    times = Timings(physics=2.1, rendering=0.8, policy=1.9, reset=0.02, waiting=0.1)
    return EpisodeRecord(
        index,
        f"seq-{index:04d}",
        "D",
        "done",
        length,
        tuple(tried),
        worker=f"local-{index % 2}",
        timings=times,
    )

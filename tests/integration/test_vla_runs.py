"""Whole evaluations of tiny policies on CALVIN's built-in table: records do not depend on the workers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")

from vla_bench import bench
from vla_bench.bench.setup.presets import load_config

WORDS = (
    "benchmark=calvin_smoke",
    "policy=vla_tiny",
    "policy.model.chunk=3",
    "run.backend=local",
    "benchmark.step_limit=8",
    "benchmark.sequences=3",
)
STRUCTURES = {
    "policy_head": ("policy.model.head=lstm",),
    "interleaved_tokens": (
        "policy.model.structure=interleaved",
        "policy.model.head=none",
        "policy.model.action_space=discrete",
    ),
}


def outcomes(folder: Path, *words: str) -> list[dict[str, Any]]:
    results = bench.evaluate(load_config([*WORDS, *words, f"run.results={folder}"]))
    assert [record.status for record in results.records] == ["done"] * 3
    return [record.outcome() for record in results.records]


@pytest.mark.slow
@pytest.mark.parametrize("structure", STRUCTURES)
def test_records_do_not_depend_on_the_workers(structure: str, tmp_path: Path) -> None:
    alone = outcomes(tmp_path / "one", *STRUCTURES[structure], "run.workers=1")
    together = outcomes(tmp_path / "two", *STRUCTURES[structure], "run.workers=2", "run.inference=server")
    assert alone == together
    # The policy moves: no two sequences end in the same state.
    assert len({record["subtasks"][-1]["digest"] for record in alone}) == 3


def test_compatibility_is_part_of_the_protocol() -> None:
    from vla_bench.bench.setup.plan import environment_of, plan
    from vla_bench.policies.registry import describe_policy

    hashes = set()
    for compat in ("intended", "released"):
        config = load_config([*WORDS, f"policy.compat={compat}"])
        policy = describe_policy(config.policy, environment_of(config.benchmark))
        made = plan(config.benchmark, policy)
        assert made.protocol.facts["policy_switches"] == {"compat": compat}
        hashes.add(made.protocol.hash)
    assert len(hashes) == 2

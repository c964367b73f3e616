"""Several seeds or checkpoints in one row of a table."""

from __future__ import annotations

import numpy as np
import pytest
from result_sets import chain_lengths, write_chains

from vla_bench.bench.cli.main import main
from vla_bench.bench.errors import ConfigError, ProtocolMismatch, ResultSetError
from vla_bench.bench.records.lineup import open_rows
from vla_bench.bench.records.result_set import ResultSet
from vla_bench.bench.records.several_runs import SeveralRuns, intervals


def runs(folder, chances=(0.8, 0.85, 0.9), n=200, **changes):
    return [
        write_chains(folder / f"seed{seed}", chain_lengths(chance, n, seed=seed), seed=seed, **changes)
        for seed, chance in enumerate(chances)
    ]


def test_the_interval_is_that_of_runs_and_episodes():
    """Normal data with known variances: run, episode and what is left."""
    generator = np.random.default_rng(0)
    inside, sizes = 0, []
    for _ in range(150):
        values = (
            generator.normal(0, 0.2, (12, 1)) + generator.normal(0, 1.0, (1, 120)) + generator.normal(0, 0.5, (12, 120))
        )
        ((low, high),) = intervals(values[..., None])
        inside += low <= 0 <= high
        sizes.append(high - low)
    spread = np.sqrt(0.2**2 / 12 + 1 / 120 + 0.5**2 / 1440)
    assert np.mean(sizes) == pytest.approx(2 * 1.96 * spread, rel=0.12)
    assert 0.89 <= inside / 150 <= 0.99


def test_episodes_of_a_cluster_are_drawn_together():
    """Copies of an episode add nothing; ten clusters of twelve copies are as sure as ten episodes."""
    ten = np.random.default_rng(1).normal(0, 1, (3, 10, 1))
    names = [f"start {number}" for number in range(10)]
    copied, copies = np.repeat(ten, 12, axis=1), [name for name in names for _ in range(12)]
    assert intervals(copied, copies)[0] == pytest.approx(intervals(ten)[0])
    assert intervals(ten, names) == intervals(ten)
    assert np.diff(intervals(copied)[0])[0] < 0.7 * np.diff(intervals(ten)[0])[0]


def test_a_row_of_runs_is_wider_than_its_episodes_alone(tmp_path):
    folders = runs(tmp_path)
    sets = [ResultSet.load(folder) for folder in folders]
    row = SeveralRuns(sets).summary
    means = [each.summary.chain.average.value for each in sets]
    assert row.chain.average.value == pytest.approx(np.mean(means))
    assert row.chain.average.n == row.done == 600
    assert row.chain.rates[0].value == pytest.approx(np.mean([s.summary.chain.rates[0].value for s in sets]))
    alone = sets[1].summary.chain.average
    assert row.chain.average.high - row.chain.average.low > alone.high - alone.low
    assert "mean of 3 runs (seeds 0, 1, 2; " in row.notes[-1]


def test_table_of_rows(tmp_path, capsys):
    a, b, c = map(str, runs(tmp_path))
    assert main(["table", f"ours={a},{b}", f"other={c}", "--format", "csv", "--no-published"]) == 0
    said = capsys.readouterr().out
    assert "ours" in said and "400" in said and "other" in said
    assert list(open_rows([f"ours={a},{b}", c])) == ["ours", "mine"]


def test_what_is_no_row_is_refused(tmp_path):
    a, b, _ = runs(tmp_path)
    with pytest.raises(ConfigError, match=r"is the same run as one before it"):
        open_rows([f"ours={a},{a}"])
    with pytest.raises(ConfigError, match=r"give the runs .* a name: ours="):
        open_rows([f"{a},{b}"])
    tiny = write_chains(tmp_path / "tiny", chain_lengths(0.8, 200), seed=7, facts={"renderer": "tiny"})
    with pytest.raises(ProtocolMismatch, match="renderer egl / tiny"):
        open_rows([f"ours={a},{tiny}"])
    with pytest.raises(ResultSetError, match="no episode was judged in all"):
        none = write_chains(tmp_path / "none", [0] * 200, seed=8, errors=range(200))
        open_rows([f"ours={a},{none}"])

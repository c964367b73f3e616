"""Runs under stress: the same for any number of workers, resumed, and read back as a table."""

import pytest

from vla_bench.bench.cli.main import main
from vla_bench.bench.errors import ProtocolMismatch
from vla_bench.bench.records.comparison import compare
from vla_bench.bench.runner import evaluate
from vla_bench.bench.setup.presets import load_config

WORDS = ["benchmark=fake", "benchmark.sequences=6", "benchmark.step_limit=60", "policy=random", "run.backend=local"]
STRESS = ["stress.action_noise=0.3", "stress.lost=0.1", "stress.typos=0.5", "stress.latency_steps=2"]


def evaluated(folder, *more, workers=1):
    config = load_config([*WORDS, f"run.results={folder}", f"run.workers={workers}", *more])
    return evaluate(config)


def outcomes(of):
    return sorted((record.outcome() for record in of.records), key=lambda each: each["index"])


def test_workers_and_interruptions_change_nothing_and_the_twin_is_found(tmp_path, capsys):
    one = evaluated(tmp_path / "one", *STRESS)
    evaluated(tmp_path / "two", *STRESS, "run.only=seq-0003..seq-0005", workers=2)
    two = evaluated(tmp_path / "two", *STRESS, workers=2)
    assert outcomes(one) == outcomes(two)
    plain = evaluated(tmp_path / "one")
    zero = evaluated(tmp_path / "two", "stress=none", "stress.seed=5")
    assert outcomes(plain) == outcomes(zero)
    assert plain.header["protocol"]["hash"] == zero.header["protocol"]["hash"]
    assert outcomes(plain) != outcomes(one)
    with pytest.raises(ProtocolMismatch, match="stress"):
        compare(plain, one)
    assert main(["stress", f"a={tmp_path / 'one'}", f"b={tmp_path / 'two'}"]) == 0
    said = capsys.readouterr().out
    assert "action noise 0.3" in said
    assert {"stress.md", "stress.html", "stress.svg"} <= {path.name for path in (tmp_path / "one").iterdir()}


def test_a_folder_without_stress_is_told_so(tmp_path, capsys):
    assert main(["stress", str(tmp_path)]) == 1
    assert "holds no result sets" in capsys.readouterr().err

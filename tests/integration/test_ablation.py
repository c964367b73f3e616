"""Ablations: rows on the same episodes, resumed, compared."""

import pytest

from vla_bench.bench.ablation import REPORT, TABLE, compare_rows, configurations, load_ablation, run, write
from vla_bench.bench.cli.run import main
from vla_bench.bench.errors import ConfigError
from vla_bench.bench.runner import evaluate
from vla_bench.bench.setup.presets import presets
from vla_bench.bench.training.ablation_plan import read_preset

ROWS = """# Holding still against wandering, on the toy.
rows:
  still: [policy=stub]
  wander: [policy=random]
"""
COMMON = ["benchmark=fake", "benchmark.sequences=6", "run.backend=local", "run.workers=1"]


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "toy.yaml"
    path.write_text(ROWS)
    return path


@pytest.mark.parametrize("name", [each.name for each in presets("ablation") if read_preset(each.name) is None])
def test_presets_have_rows_and_say_what_they_are_about(name):
    assert len(load_ablation(name).rows) >= 2
    assert next(preset.text for preset in presets("ablation") if preset.name == name).endswith(".")


def test_rows_are_run_once_and_compared(file, tmp_path, capsys):
    words = [f"ablation={file}", *COMMON, f"run.results={tmp_path}"]
    assert main(words) == 0
    said = capsys.readouterr().out
    assert "wander" in said and "still" in said
    folder = tmp_path / "ablation-toy"
    assert "wander − still" in (folder / TABLE).read_text()
    assert (folder / REPORT).read_text().startswith("<!doctype html>")
    journals = sorted(folder.glob("*/journal.jsonl"))
    assert len(journals) == 2
    before = [journal.read_bytes() for journal in journals]
    assert main(words) == 0, "the same command again"
    assert [journal.read_bytes() for journal in journals] == before


def test_interrupted_rows_are_finished_by_the_same_command(file, tmp_path):
    chosen = load_ablation(str(file))
    configs = configurations(chosen, [*COMMON, f"run.results={tmp_path}"])
    begun = []

    class Partial:
        def has(self, only):
            return False

    assert list(run(chosen, configs, lambda config: Partial(), begun.append)) == ["still"]
    sets = run(chosen, configs, evaluate)
    assert list(sets) == ["still", "wander"] and begun == ["still"]
    (found,) = compare_rows(sets)
    assert found.pairs == 6
    assert all(path.is_file() for path in write(tmp_path, sets, [found]))


def test_a_word_may_be_for_one_row(file):
    chosen = load_ablation(str(file))
    configs = configurations(chosen, [*COMMON, "wander:policy.scale=0.5"])
    assert "scale" not in configs["still"].policy.arguments
    assert configs["wander"].policy.arguments["scale"] == 0.5
    assert configs["wander"].run.results == "results/ablation-toy"


@pytest.mark.parametrize(
    ("typed", "told"),
    [
        (["wandr:policy.scale=1"], "Did you mean 'wander'"),
        (["policy=expert"], "row still: policy is given twice"),
        (["run.name=mine"], "run.results="),
        (["benchmark.sequnces=3"], "row still: .*sequences"),
    ],
)
def test_mistakes_name_the_row(file, typed, told):
    with pytest.raises(ConfigError, match=told):
        configurations(load_ablation(str(file)), typed)


def test_unknown_and_unsound_files(tmp_path):
    with pytest.raises(ConfigError, match="Did you mean 'smoke'"):
        load_ablation("smok")
    for text in ("rows: {one: [policy=stub]}", "rows: {a: 1, b: 2}", "- a", "rows: [", ""):
        (tmp_path / "bad.yaml").write_text(text)
        with pytest.raises(ConfigError, match=r"bad\.yaml"):
            load_ablation(str(tmp_path / "bad.yaml"))


def test_rows_that_are_the_same_run_are_refused(tmp_path):
    (tmp_path / "twins.yaml").write_text("rows: {a: [policy=stub], b: [policy=stub]}")
    with pytest.raises(ConfigError, match="rows a and b are the same run"):
        configurations(load_ablation(str(tmp_path / "twins.yaml")), COMMON)

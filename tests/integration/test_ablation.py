"""Ablations: rows on the same episodes, resumed, compared."""

import json
import re

import pytest

from vla_bench.bench import load
from vla_bench.bench.ablation import REPORT, TABLE, compare_rows, configurations, load_ablation, run, write
from vla_bench.bench.cli.main import main as command
from vla_bench.bench.cli.run import main
from vla_bench.bench.errors import ConfigError
from vla_bench.bench.records.rows import read_rows
from vla_bench.bench.runner import evaluate
from vla_bench.bench.setup import preparation
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


def test_some_rows_are_run_and_the_others_stay_listed(tmp_path, capsys):
    file = tmp_path / "toy.yaml"
    file.write_text(f"{ROWS}  late: [policy=random, policy.scale=0.5]\n")
    words = [f"ablation={file}", *COMMON, f"run.results={tmp_path}"]
    assert main([*words, "rows=still|wander"]) == 0
    folder = tmp_path / "ablation-toy"
    assert [row.name for row in read_rows(folder)] == ["still", "wander"]
    assert len(list(folder.glob("*/journal.jsonl"))) == 2
    assert main([*words, "rows=late | still"]) == 0
    assert "still − late" in (folder / TABLE).read_text()
    assert [row.name for row in read_rows(folder)] == ["late", "still", "wander"]
    assert main(words) == 0, "all of them, of which none is run again"
    assert [row.name for row in read_rows(folder)] == ["still", "wander", "late"]
    capsys.readouterr()


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        (["rows=still|wandr"], "there is no such row. Did you mean 'wander'"),
        (["rows=still"], "two rows or more"),
        (["rows=still|wander", "rows=wander|still"], "given twice"),
    ],
)
def test_wrong_rows_are_told(file, tmp_path, capsys, typed, said):
    assert main([f"ablation={file}", *COMMON, f"run.results={tmp_path}", *typed]) != 0
    assert said in " ".join(capsys.readouterr().err.split())


def test_interrupted_rows_are_finished_by_the_same_command(file, tmp_path, monkeypatch):
    chosen = load_ablation(str(file))
    configs = configurations(chosen, [*COMMON, f"run.results={tmp_path}"])
    begun = []

    class Partial:
        def has(self, only):
            return False

    assert list(run(chosen, configs, lambda ready: Partial(), begun.append)) == ["still"]
    planned = []
    plan = preparation.plan
    monkeypatch.setattr(preparation, "plan", lambda *words: planned.append(words) or plan(*words))
    sets = run(chosen, configs, lambda ready: evaluate(ready.config, ready=ready))
    assert len(planned) == 2, "each row is planned once"
    assert list(sets) == ["still", "wander"] and begun == ["still"]
    (found,) = compare_rows(sets)
    assert found.pairs == 6
    assert all(path.is_file() for path in write(tmp_path, sets, [found]))


def test_rows_are_extended_together(file, tmp_path, capsys):
    words = [f"ablation={file}", *COMMON, f"run.results={tmp_path}"]
    assert main(words) == 0
    folder = tmp_path / "ablation-toy"
    before = {path.parent.name: path.read_bytes().splitlines()[1:] for path in folder.glob("*/journal.jsonl")}
    longer = ["benchmark.sequences=9" if word.startswith("benchmark.seq") else word for word in words]
    assert main([*longer, "run.extend=true"]) == 0
    after = {path.parent.name: path.read_bytes().splitlines()[1:] for path in folder.glob("*/journal.jsonl")}
    assert after.keys() == before.keys() and all(len(after[row]) == 9 for row in after)
    alone = evaluate(
        configurations(load_ablation(str(file)), [*longer[1:-1], f"run.results={tmp_path / 'x'}"])["wander"]
    )
    rows = {row.name: load(folder / row.folder) for row in read_rows(folder)}
    assert [each.subtasks for each in alone.records] == [each.subtasks for each in rows["wander"].records]
    capsys.readouterr()
    assert main(longer) == 0 and capsys.readouterr().err.count("nothing to run") == 2, "without run.extend it is known"
    for more, told in {
        "run.extend=maybe": "run.extend=true",
        "still:run.extend=true": "for all of them",
        "run.extend=true run.overwrite=true": "drop one of them",
        "run.extend=true run.seed=7": "holds another run",
    }.items():
        assert main([*longer, *more.split()]) == 1 and told in capsys.readouterr().err


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
        (["benchmark.sequnces=3"], "row still, like all others: .*sequences"),
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


def test_folders_carry_the_rows_names_and_old_ones_are_gone_on_with(file, tmp_path, capsys):
    words = [f"ablation={file}", *COMMON, f"run.results={tmp_path}"]
    assert main(words) == 0
    folder = tmp_path / "ablation-toy"
    still, wander = read_rows(folder)
    assert (still.name, wander.name) == ("still", "wander")
    assert re.fullmatch("still-[0-9a-f]{8}", still.folder) and re.fullmatch("wander-[0-9a-f]{8}", wander.folder)
    assert still.words == ("policy=stub",)
    assert {path.parent.name for path in folder.glob("*/journal.jsonl")} == {still.folder, wander.folder}
    # As an earlier version named them, and as a row that was renamed since.
    digest = still.folder.rpartition("-")[2]
    (folder / still.folder).rename(folder / f"fake-stub-{digest}")
    (folder / "rows.json").unlink()
    journal = folder / f"fake-stub-{digest}" / "journal.jsonl"
    lines = journal.read_bytes().splitlines(keepends=True)
    journal.write_bytes(b"".join(lines[:-2]))
    assert [row.folder for row in read_rows(folder)] == [f"fake-stub-{digest}", wander.folder], "as they were begun"
    file.write_text(ROWS.replace("wander:", "roams about:"))
    assert main(words) == 0
    assert [row.folder for row in read_rows(folder)] == [f"fake-stub-{digest}", wander.folder]
    assert len(journal.read_bytes().splitlines()) == len(lines) and len(list(folder.glob("*/journal.jsonl"))) == 2
    assert "roams about − still" in (folder / TABLE).read_text()


def test_the_folder_of_an_ablation_stands_for_its_rows(file, tmp_path, capsys):
    words = [f"ablation={file}", *COMMON, f"run.results={tmp_path}"]
    assert main(words) == 0
    folder = tmp_path / "ablation-toy"
    (folder / REPORT).unlink()
    capsys.readouterr()
    assert command(["report", str(folder)]) == 0
    assert capsys.readouterr().out.startswith(str(folder / REPORT))
    assert "still</span>" in (folder / REPORT).read_text() and "wander</span>" in (folder / REPORT).read_text()
    assert command(["describe", str(folder), "--format", "json"]) == 0
    described = json.loads(capsys.readouterr().out)
    assert [row["name"] for row in described["rows"]] == ["still", "wander"]
    assert [row["results"]["policy"] for row in described["rows"]] == ["stub", "random"]
    assert command(["describe", str(folder)]) == 0
    said = capsys.readouterr().out
    assert "policy=random" in said and said.count("6/6") == 2
    assert command(["compare", str(folder)]) == 0
    assert "wander − still" in capsys.readouterr().out
    assert command(["watch", str(folder)]) == 0, "nothing goes on: what there is"
    assert "wander" in capsys.readouterr().out
    assert [each.folder.name for each in load(folder)] == [row.folder for row in read_rows(folder)]
    # A row that has not begun is named, and the others are shown.
    plain = json.loads((folder / "rows.json").read_text())
    plain["rows"].append({"name": "later", "folder": "later-00000000", "words": ["policy=expert"], "evaluation": ""})
    (folder / "rows.json").write_text(json.dumps(plain))
    assert command(["report", str(folder)]) == 0
    assert "row later has no finished episode" in capsys.readouterr().err
    assert command(["describe", str(folder)]) == 0
    assert "not begun" in capsys.readouterr().out
    assert command(["watch", str(folder)]) == 130
    (folder / "rows.json").write_text('{"rows": [{"name": "a", "folder": "../a", "words": [], "evaluation": ""}]}')
    assert command(["report", str(folder)]) == 1
    assert "rows.json is damaged" in capsys.readouterr().err


def test_rows_are_shown_before_they_are_run(file, tmp_path, capsys):
    assert main([f"ablation={file}", *COMMON, "wander:policy.scale=0.5", "--show-config"]) == 0
    said = capsys.readouterr().out
    assert re.search(r"#   row +policy\._target_ +policy\.scale\n#   still +stub +–\n#   wander +random +0\.5\n", said)
    assert said.count("step_limit:") == 1, "what is alike is said once"
    assert re.search("# row wander: 6 episodes, protocol [0-9a-f]{12}", said)
    assert "results/ablation-toy/wander-" in said and not (tmp_path / "ablation-toy").exists()


def test_the_list_has_the_rows_and_what_tells_them_apart(capsys):
    assert main(["--list"]) == 0
    said = capsys.readouterr().out.partition("ablation=")[2]
    assert re.search(r"  smoke .*\n(?: .*\n)*?    stub +policy=stub\n    random +policy=random\n", said)
    assert re.search(r"    policy head, short [^,]*policy\.model\.window=4", said)


@pytest.mark.parametrize(
    ("typed", "told"),
    [
        (["wander:policy.nonsense=3"], "row wander: .*wander:<group>.<field>=<value>"),
        (["wander:policy._target_=policies.nowhere:None"], "row wander: "),
        (["run.video=all", "still:run.max_attempts=0"], "row still: still:run.max_attempts=0: must"),
    ],
)
def test_errors_name_the_row_and_the_word_to_type(file, tmp_path, typed, told, capsys):
    assert main([f"ablation={file}", *COMMON, f"run.results={tmp_path}", *typed]) == 1
    assert re.search(told, capsys.readouterr().err)


def test_another_state_of_a_rows_policy_is_answered_for_that_row(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    policy = "class Mine:\n    def reset(self, instruction): pass\n    def act(self, observation): return [0.0] * 4\n"
    (tmp_path / "edited_in_a_row.py").write_text(policy)
    rows = ROWS.replace("policy=random", "policy=edited_in_a_row.py:Mine").replace("wander", "mine of 2")
    (tmp_path / "toy.yaml").write_text(rows)
    words = ["ablation=toy.yaml", *COMMON, f"run.results={tmp_path}"]
    assert main([*words, "run.only=[0..2]"]) in (0, 130)
    (tmp_path / "edited_in_a_row.py").write_text(policy.replace("0.0", "0.1"))
    capsys.readouterr()
    assert main(words) == 1
    said = capsys.readouterr().err
    assert "row mine of 2: " in said
    assert "'mine of 2:run.overwrite=true'" in said and "'mine of 2:run.same_policy=true'" in said
    assert "run.results=<folder>" in said and "run.name" not in said, "an ablation names its runs itself"

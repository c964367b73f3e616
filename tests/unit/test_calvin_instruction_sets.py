"""Which words a run uses: in the episodes, so in the hash and the records, and named below the tables."""

from __future__ import annotations

import json
import random

import pytest
import yaml
from test_calvin_sequence_sets import planned

from vla_bench.bench.errors import ConfigError
from vla_bench.bench.families.calvin_instructions import instruction_set, read_instructions
from vla_bench.envs.calvin.bundle import ALL_ANNOTATIONS, AssetBundle, find_bundle
from vla_bench.envs.calvin.sequences import official_sequences
from vla_bench.envs.calvin.tasks import TASKS

OFFICIAL = official_sequences()
SEVERAL = {task: [f"{task} in words", f"{task}, otherwise\n\nand a second line", f"do {task}"] for task in TASKS}
ROWS = [[f"{number}: {task}\nmore" for task in each.subtasks] for number, each in enumerate(OFFICIAL)]


@pytest.fixture
def file(tmp_path):
    def write(content, name="words.json"):
        path = tmp_path / name
        path.write_text(content if isinstance(content, str) else json.dumps(content))
        return f"benchmark.instructions={path}"

    return write


def told(made):
    return [each.instructions for each in made.protocol.episodes]


def test_a_table_by_task_takes_the_first_text_of_each(file):
    made, usual = planned(file(SEVERAL), "benchmark.sequences=3"), planned("benchmark.sequences=3")
    assert told(made) == [tuple(f"{task} in words" for task in each.subtasks) for each in OFFICIAL[:3]]
    assert made.protocol.hash != usual.protocol.hash
    assert made.protocol.facts["instructions"].startswith("file ")
    assert any(note.startswith("instructions: words.json (") for note in made.notes)
    assert "instructions" not in usual.protocol.facts


def test_yaml_and_single_texts_are_read_alike(file):
    single = file(yaml.safe_dump({task: texts[0] for task, texts in SEVERAL.items()}), "words.yaml")
    assert told(planned(single)) == told(planned(file(SEVERAL)))


def test_drawn_texts_are_those_of_the_published_cache(file):
    """RoboFlamingo drew its cache with random.seed(123), sequence by sequence."""
    random.seed(123)
    cache = [[random.choice(SEVERAL[task]) for task in each.subtasks] for each in OFFICIAL]
    drawn = planned(file(SEVERAL), "benchmark.instruction_seed=123", "benchmark.sequences=20")
    read = planned(file(cache, "lang_annotation_cache.json"), "benchmark.sequences=20")
    assert told(drawn) == told(read) == [tuple(text.split("\n")[0] for text in row) for row in cache[:20]]
    assert len({text for row in told(drawn) for text in row}) > 20
    other = planned(file(SEVERAL), "benchmark.instruction_seed=4", "benchmark.sequences=20")
    assert told(other) != told(drawn)
    assert len({drawn.protocol.hash, read.protocol.hash, other.protocol.hash}) == 3
    assert other.protocol.facts["instructions"].endswith(", seed 4")


def test_a_table_by_sequence_belongs_to_a_list_of_its_length(file):
    assert told(planned(file(ROWS)))[7] == tuple(f"7: {task}" for task in OFFICIAL[7].subtasks)
    assert told(planned(file(ROWS[:3]), "benchmark.sequences=3"))[2][0] == f"2: {OFFICIAL[2].subtasks[0]}"
    with pytest.raises(ConfigError, match="texts for 4 sequences, but 3 of 1000 are run"):
        planned(file(ROWS[:4]), "benchmark.sequences=3")
    with pytest.raises(ConfigError, match="texts for 1000 sequences, but 3 are run: it belongs to another list"):
        planned(file(ROWS), "benchmark.sequence_set=generated", "benchmark.sequences=3")


def test_single_tasks_are_drawn_each_for_itself(file):
    few = ["benchmark=calvin_tasks", "benchmark.rollouts=4", "benchmark.instruction_seed=2", file(SEVERAL)]
    both = planned(*few, "benchmark.tasks=open_drawer,stack_block", "benchmark.scenes=D")
    alone = planned(*few, "benchmark.tasks=stack_block", "benchmark.scenes=D")
    assert told(alone) == told(both)[4:]
    assert len(set(told(both)[:4])) > 1


def test_the_bundles_own_texts_are_the_usual_protocol(file):
    mine = {task: [text] for task, text in find_bundle("builtin").instructions.items()}
    assert planned(file(mine)).protocol == planned().protocol


def test_the_alternatives_of_the_official_annotation(tmp_path):
    (tmp_path / "annotations").mkdir()
    (tmp_path / ALL_ANNOTATIONS).write_text(yaml.safe_dump(SEVERAL))
    bundle = AssetBundle("official", tmp_path)
    bundle.__dict__["instructions"] = {task: f"usual {task}" for task in TASKS}
    made = instruction_set("", 5, bundle, [("seq-0000", OFFICIAL[0].subtasks)], 1000)
    assert made.name == "alternatives, seed 5"
    draw = random.Random(5)
    first = read_instructions(tmp_path / ALL_ANNOTATIONS, "")
    assert made.instructions == (tuple(draw.choice(first[task]) for task in OFFICIAL[0].subtasks),)
    assert "the annotation's alternatives, drawn with seed 5" in made.note


@pytest.mark.parametrize(
    ("content", "words", "message"),
    [
        ("<html>", [], "wanted is either"),
        ("a: [", [], "neither JSON nor YAML"),
        ("", [], "wanted is either"),
        ([], [], "wanted is either"),
        ({"opn_drawer": ["x"]}, [], "no task 'opn_drawer'. Did you mean 'open_drawer'"),
        ({"open_drawer": "x"}, [], "has no text for rotate_blue_block_right, which is run"),
        ({**SEVERAL, "open_drawer": []}, [], "open_drawer: a text or a list of texts is wanted"),
        ({**SEVERAL, "open_drawer": [" "]}, [], "open_drawer: ' ' is no text"),
        ({**SEVERAL, "open_drawer": 3}, [], "open_drawer: a text or a list of texts"),
        ([["a"] * 5, ["b"] * 4], ["benchmark.sequences=2"], "4 texts for seq-0001, which has 5 subtasks"),
        ([["a", "b", "c", "d", 5]], ["benchmark.sequences=1"], "subtask 4 of sequence 0: 5 is no text"),
        (ROWS, ["benchmark.instruction_seed=1"], "one text for each subtask; drop benchmark.instruction_seed"),
        (ROWS, ["benchmark=calvin_tasks"], "no benchmark of sequences"),
    ],
)
def test_what_is_no_table_of_texts_is_refused_in_a_sentence(file, content, words, message):
    with pytest.raises(ConfigError, match=message):
        planned(file(content), *words)


def test_what_is_not_there_is_said():
    with pytest.raises(ConfigError, match=r"benchmark.instructions=nix.json: there is no such file"):
        planned("benchmark.instructions=nix.json")
    with pytest.raises(ConfigError, match="the builtin assets have one text for each task"):
        planned("benchmark.instruction_seed=1")
    with pytest.raises(ConfigError, match=r"instruction_seed=-1: must be at least 0"):
        planned("benchmark.instruction_seed=-1")

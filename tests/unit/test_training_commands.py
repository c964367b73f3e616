"""What is typed for a training run, and what it leaves, without training anything."""

from __future__ import annotations

import json

import pytest

from vla_bench.bench.errors import ConfigError, ResultSetError, UserError
from vla_bench.bench.setup.config import field_help
from vla_bench.bench.setup.presets import presets
from vla_bench.bench.training.curves import chart, sparkline, thinned
from vla_bench.bench.training.journal import STEPS, TrainingJournal, read_training
from vla_bench.bench.training.page import render
from vla_bench.bench.training.rates import expand
from vla_bench.bench.training.setup import content_of, evaluation_config, folder_of, identity_of, load_training
from vla_bench.policies.vla.training.config import TrainingConfig


def test_every_field_and_preset_has_a_line_of_help(tmp_path):
    for each in field_help(TrainingConfig):
        assert each.text.endswith(".") and "\n" not in each.text, each
    for preset in presets("train"):
        assert preset.text.endswith("."), preset
        words = ["policy=vla_tiny", f"train={preset.name}", f"train.data={tmp_path}"]
        setup = load_training([*words, f"train.vision_from={tmp_path}"])
        assert setup.train.data == str(tmp_path)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["train.data=."], "training needs a structure"),
        (["policy=expert", "train.data=."], "policy=expert has nothing to train"),
        (["policy=vla_tiny"], "training needs a data set"),
        (["policy=vla_tiny", "train.data=nowhere"], "there is no such folder"),
        (["policy=vla_tiny", "train.data=.", "train.learning_rat=1"], "Did you mean 'learning_rate'"),
        (["policy=vla_tiny", "train.data=.", "train.learning_rate=0"], "nothing would be learnt"),
        (["policy=vla_tiny", "train.data=.", "train.learning_rate=fast"], "a number is wanted"),
        (["policy=vla_tiny", "train.data=.", "train.evaluate_every=5"], "needs to know on what"),
        (["policy=vla_tiny", "train.data=.", "policy.execute=2"], "type train.stride=2"),
        (["policy=vla_tiny", "train.data=.", "train=fast"], "there is no train=fast"),
        (["policy=vla_tiny", "train.data=.", "train.vision_from=nowhere"], "nowhere: there is no such checkpoint"),
        (["policy=vla_tiny", "train.data=.", "train.train_vision=false"], "random numbers see nothing; type"),
    ],
)
def test_bad_words_are_refused_in_a_sentence(words, said):
    with pytest.raises(UserError, match=said):
        load_training(words)


def test_placement_does_not_name_the_folder(tmp_path):
    base = ["policy=vla_tiny", f"train.data={tmp_path}"]

    def name(*more):
        setup = load_training([*base, *more])
        return folder_of(setup, identity_of(setup, "digest", "other")).name

    assert name() == name("train.threads=2", "train.workers=1", "train.save_seconds=5")
    assert len({name(), name("train.learning_rate=1e-5"), name("policy.model.chunk=4"), name("train.seed=1")}) == 4


@pytest.mark.parametrize("word", ["train.vision_from", "policy.checkpoint"])
def test_what_it_begins_with_counts_by_its_content_wherever_it_is(word, tmp_path):
    one, other, third = (tmp_path / name for name in ("one", "other", "third"))
    for folder, text in ((one, "same"), (other, "same"), (third, "another")):
        (folder / "part").mkdir(parents=True)
        (folder / "part" / "weights.bin").write_text(text)

    def name(*more):
        setup = load_training(["policy=vla_tiny", "policy.backbone_path=tiny", f"train.data={tmp_path}", *more])
        return folder_of(setup, identity_of(setup, "digest", "other")).name

    assert name(f"{word}={one}") == name(f"{word}={other}")
    assert len({name(), name(f"{word}={one}"), name(f"{word}={third}"), name(f"{word}={one}/part/weights.bin")}) == 4


def test_all_files_of_a_sharded_checkpoint_count(tmp_path):
    index = tmp_path / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": {"a": "one.safetensors", "b": "two.safetensors"}}))
    (tmp_path / "one.safetensors").write_text("one")
    (tmp_path / "two.safetensors").write_text("two")
    before = content_of(index)
    (tmp_path / "beside.safetensors").write_text("no part of it")
    assert content_of(index) == before
    (tmp_path / "two.safetensors").write_text("owt")
    assert content_of(index) != before
    with pytest.raises(ConfigError, match=r"absent\.pt cannot be read: there is no such file"):
        content_of(tmp_path / "absent.pt")


def test_a_checkpoint_is_evaluated_by_its_own_structure(tmp_path):
    words = ["policy=vla_tiny", f"train.data={tmp_path}", "policy.device=auto", "benchmark=calvin_tasks"]
    config = evaluation_config(load_training(words), tmp_path / "last", tmp_path, 7)
    assert config.policy.arguments == {"device": "auto", "checkpoint": str(tmp_path / "last")}
    assert config.run.name == "step-0000007" and config.benchmark.kind == "tasks"


def test_a_grid_of_rates():
    rows = expand(["policy=vla_tiny", "train.learning_rate=1e-4,2e-5", "train.weight_decay=0,0.1", "train.freeze=a,b"])
    assert [row.choice for row in rows] == [
        f"train.learning_rate={rate} train.weight_decay={decay}" for rate in ("1e-4", "2e-5") for decay in ("0", "0.1")
    ]
    assert all("train.freeze=a,b" in row.words for row in rows)
    assert expand(["policy=vla_tiny"])[0].choice == ""
    with pytest.raises(ConfigError, match=r"run\.name is one folder"):
        expand(["run.name=a", "train.learning_rate=1,2"])


def header(**more):
    train = {"batch": 4, "accumulate": 1}
    identity = {"train": train, "start": {"vision_from": "0123abcd"}, "structure": {"head": "fc"}}
    return {"name": "a", "policy": "p", "identity": identity, "data": {"digest": "d"}, "structure": {}, **more}


def test_a_journal_forgets_what_was_torn_and_keeps_the_later_of_two(tmp_path):
    with TrainingJournal(tmp_path, header()) as journal:
        journal.append("step", 1, {"losses": {"total": 2.0}})
        journal.append("step", 2, {"losses": {"total": float("nan")}})
    with (tmp_path / STEPS).open("ab") as file:
        file.write(b'{"checksum": "00000000", "entry": {"kind": "step", "st')
    with TrainingJournal(tmp_path, header()) as journal:
        journal.append("step", 2, {"losses": {"total": 1.0}})
    found = read_training(tmp_path / STEPS)
    assert [(line["step"], line["losses"]["total"]) for line in found.of("step")] == [(1, 2.0), (2, 1.0)]
    assert found.damaged == 1


def test_two_do_not_write_to_one_folder(tmp_path):
    with TrainingJournal(tmp_path, header()), pytest.raises(ResultSetError, match="a run is writing here already"):
        TrainingJournal(tmp_path, header())


def test_the_page_shows_curves_parts_and_cost(tmp_path):
    with TrainingJournal(tmp_path, header()) as journal:
        begun = {"steps": 3, "parameters": 10, "trained": 5, "processes": 1, "device": "cpu"}
        journal.append("begun", 0, begun)
        for step in range(1, 4):
            losses = {"total": 1.0 / step, "arm": 1.0 / step}
            more = {"rate": 1e-4, "gradient": 0.5, "seconds": 2.0, "waited": 1.0}
            journal.append("step", step, {"losses": losses, **more})
        journal.append("validation", 3, {"losses": {"total": 0.25, "arm": 0.2}, "best": True, "seconds": 1.0})
        numbers = {"success": 0.4, "low": 0.2, "high": 0.6, "episodes": 10.0}
        journal.append("evaluation", 3, {"numbers": numbers, "best": True, "seconds": 1.0})
        journal.append("ended", 3, {"cpu": 5.0, "wall": 6.0, "peak_mb": 100.0, "gpu_peak_mb": None})
    (tmp_path / "parameters.json").write_text(json.dumps({"act_head.a": [[2, 3], True], "backbone.b": [[4], False]}))
    page = render(tmp_path)
    shown = ("3/3", "0.2500", "[0.2, 0.6], n = 10, step 3", "of it waiting for data", "50 %", "act_head.a", "0123abcd")
    for text in (*shown, "<svg"):
        assert text in page
    assert "http" not in page.replace("http://www.w3.org", "")


def test_curves_are_thinned_and_drawn():
    points = [(float(x), float(x)) for x in range(1000)]
    assert len(thinned(points, 100)) == 100 and thinned(points, 100)[0] == (4.5, 4.5)
    assert sparkline([0.0, 1.0]) == "▁█" and sparkline([]) == ""
    assert chart({"a": []}) == "" and "polyline" in chart({"a": [(1.0, 2.0)]})


def test_export_says_what_robovlms_cannot(tmp_path):
    pytest.importorskip("torch")
    from vla_bench.policies.vla.config import VlaConfig
    from vla_bench.policies.vla.robovlms_config import from_robovlms
    from vla_bench.policies.vla.training.export import robovlms_fields

    for structure in (
        VlaConfig(),
        VlaConfig(structure="interleaved", head="fc", gripper_camera=True, norm=None, mu_law=255.0),
        VlaConfig(structure="one_step", window=1, head="none", action_space="discrete", released_window=False),
        VlaConfig(structure="one_step", window=1, head="fc", readout="pooling", latent=2, token_source="text"),
        VlaConfig(head="gpt", hidden=64, backbone="paligemma"),
    ):
        assert from_robovlms(robovlms_fields(structure)) == structure
    with pytest.raises(UserError, match="one pair of bounds"):
        robovlms_fields(VlaConfig(norm=((-1.0,) * 6, (1.0,) * 6)))
    with pytest.raises(UserError, match="no backbone smolvlm"):
        robovlms_fields(VlaConfig(backbone="smolvlm"))

"""`policy=blind`, one word for the control of any learned policy, in trainings, evaluations and ablations."""

import pytest

from vla_bench.bench.setup.presets import load_config
from vla_bench.bench.training.setup import load_training


def test_alone_it_is_the_small_policy_without_cameras():
    blind, seeing = (load_config([f"policy={name}"]).policy.arguments for name in ("blind", "vla_small"))
    assert blind["model"] == {**seeing["model"], "blind": True}


@pytest.mark.parametrize("name", ["vla_one_step", "vla_policy_head_gpt", "vla_interleaved"])
def test_beside_a_policy_it_blinds_that_one(name):
    alone = load_config([f"policy={name}"]).policy.arguments["model"]
    for typed in (["policy=blind", f"policy={name}"], [f"policy={name}", "policy=blind"]):
        assert load_config(typed).policy.arguments["model"] == {**alone, "blind": True}


def test_beside_a_checkpoint_it_changes_nothing_else(tmp_path):
    policy = load_config(["policy=blind", f"policy.checkpoint={tmp_path}"]).policy
    assert policy.target == "vla" and policy.arguments["model"] == {"blind": True}


def test_it_trains(tmp_path):
    setup = load_training(["policy=vla_tiny", "policy=blind", f"train.data={tmp_path}"])
    assert setup.options.model.blind and setup.options.spec().name.endswith("-blind")
    assert not load_training(["policy=vla_tiny", f"train.data={tmp_path}"]).options.model.blind

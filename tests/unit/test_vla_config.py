"""What can be said about a policy, and what is answered to a mistake."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from bench.dispatch.job import PolicyChoice
from envs.calvin.robot import ACTIONS
from envs.simulation import EnvironmentSpec
from policies.errors import PolicyError
from policies.registry import describe_policy
from policies.vla.config import VlaConfig
from policies.vla.options import VlaOptions
from policies.vla.robovlms_config import from_robovlms, read_config

RELEASED = {
    "model": "kosmos",
    "window_size": 8,
    "fwd_pred_next_n": 10,
    "use_hand_rgb": True,
    "norm_action": True,
    "norm_min": -0.65,
    "norm_max": 0.65,
    "image_size": 224,
    "act_head": {
        "type": "LSTMDecoder",
        "hidden_size": 1024,
        "action_space": "continuous",
        "history_type": "post",
        "window_size": 1,
        "fwd_pred_next_n": 1,
    },
}


def test_released_configuration() -> None:
    config = from_robovlms(RELEASED)
    assert config == VlaConfig(
        backbone="kosmos2", structure="policy_head", head="lstm", window=8, chunk=10, gripper_camera=True
    )


@pytest.mark.parametrize(
    "head, window, expected",
    [
        ({"type": "FCDecoder"}, 1, {"structure": "one_step", "head": "fc"}),
        ({"type": "FCDecoder", "history_type": "pre"}, 4, {"structure": "interleaved", "head": "fc"}),
        ({"type": "FCDecoder", "history_type": "video"}, 4, {"structure": "video", "head": "fc"}),
        (
            {"type": "DiscreteDecoder", "action_space": "discrete"},
            1,
            {"structure": "one_step", "head": "none"},
        ),
        (
            {"type": "DiscreteDecoder", "action_space": "discrete"},
            4,
            {"structure": "interleaved", "head": "none"},
        ),
        (
            {
                "type": "GPTDecoder",
                "action_space": "down_sample",
                "down_sample": "pooling",
                "token_source": "text",
            },
            4,
            {"structure": "policy_head", "readout": "pooling", "token_source": "text"},
        ),
    ],
)
def test_ablations_of_the_original(head: dict[str, Any], window: int, expected: dict[str, Any]) -> None:
    config = from_robovlms({**RELEASED, "window_size": window, "act_head": {**head}})
    assert {name: getattr(config, name) for name in expected} == expected


def test_mapping_and_back() -> None:
    config = VlaConfig(norm=(-0.5, 0.5), structure="interleaved", head="fc")
    assert VlaConfig.from_mapping(json.loads(json.dumps(config.to_mapping()))) == config


@pytest.mark.parametrize(
    "fields, said",
    [
        ({"strcture": "one_step"}, "Did you mean 'structure'"),
        ({"structure": "onestep"}, "Did you mean 'one_step'"),
        ({"structure": "one_step", "head": "fc"}, "window=1"),
        ({"structure": "interleaved"}, "head=fc"),
        ({"head": "none"}, "needs a head"),
        ({"structure": "one_step", "window": 1, "action_space": "discrete"}, "head=none"),
        ({"window": 0}, "window=0"),
        ({"norm": [0.65, -0.65]}, "smaller first"),
        ({"norm": "wide"}, r"\[-0.65, 0.65\]"),
        ({"bins": True}, "bins=True"),
        ({"backbone": "kosmos"}, "Did you mean 'kosmos2'"),
        ({"gripper_camera": "yes"}, "gripper_camera='yes' must be true or false"),
    ],
)
def test_impossible_structures(fields: dict[str, Any], said: str) -> None:
    with pytest.raises(PolicyError, match=said):
        VlaConfig.from_mapping(fields)


@pytest.mark.parametrize(
    "change, said",
    [
        ({"model": "kosmoss2-but-not"}, None),
        ({"model": "gpt4"}, "no backbone we know"),
        ({"act_head": None}, "needs an action head"),
        ({"act_head": {"type": "DiffusionDecoder"}}, "DiffusionDecoder"),
        ({"act_head": {"type": "FCDecoder", "history_type": "both"}}, "history_type='both'"),
    ],
)
def test_unknown_in_a_released_configuration(change: dict[str, Any], said: str | None) -> None:
    if said is None:
        assert from_robovlms({**RELEASED, **change}).backbone == "kosmos2"
        return
    with pytest.raises(PolicyError, match=said):
        from_robovlms({**RELEASED, **change})


@pytest.mark.parametrize("missing", ["model", "act_head", "window_size", "fwd_pred_next_n"])
def test_missing_in_a_released_configuration(missing: str, tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    path.write_text(json.dumps({name: value for name, value in RELEASED.items() if name != missing}))
    with pytest.raises(PolicyError, match=f"{path}.*'{missing}'"):
        read_config(path)


def test_configuration_that_is_none(tmp_path: Path) -> None:
    with pytest.raises(PolicyError, match="there is no configuration file"):
        read_config(tmp_path / "config.json")
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(PolicyError, match="is not JSON"):
        read_config(tmp_path / "config.json")


@pytest.mark.parametrize(
    "arguments, said",
    [
        ({"compatt": "released"}, "Did you mean 'compat'"),
        ({"compat": "original"}, "intended, released"),
        ({"execute": 11}, "predicts 10 actions"),
        ({"compat": "released", "execute": 2}, "drop execute"),
        ({"checkpoint": "/nowhere/model.pt", "seed": None}, "no such file"),
        ({"seed": None}, "policy.checkpoint="),
        ({"checkpoint": __file__}, "needs policy.backbone_path="),
        ({"model": None}, "is told no structure"),
        ({"model": "lstm"}, "policy.model.structure"),
        ({"batching": "exakt"}, "Did you mean 'exact'"),
        ({"dtype": "fp16"}, "float32, bfloat16, float16"),
        ({"ensemble": "act"}, "ensemble='act' must be a number"),
    ],
)
def test_impossible_options(arguments: dict[str, Any], said: str) -> None:
    with pytest.raises(PolicyError, match=said):
        VlaOptions.from_arguments({"model": {"window": 8}, "seed": 0, **arguments})


def describe(**arguments: Any) -> Any:
    environment = EnvironmentSpec("calvin", ACTIONS, {"static": (200, 200), "gripper": (84, 84)}, 30.0)
    return describe_policy(PolicyChoice("vla", {"seed": 0, **arguments}), environment)


def test_described_without_being_built() -> None:
    spec = describe(model={"gripper_camera": True}, execute=3, ensemble=0.01)
    assert [camera.name for camera in spec.sensors.cameras] == ["static", "gripper"]
    assert (spec.chunk, spec.execute, spec.action.name) == (10, 3, "relative")
    assert spec.switches == {"compat": "intended", "temporal_ensemble": "0.01"}


def test_what_changes_numbers_is_a_switch() -> None:
    released = describe(model={"window": 8}, compat="released", dtype="bfloat16", batching="fast")
    assert released.switches == {"compat": "released", "dtype": "bfloat16", "batching": "fast"}

"""What can be said about a policy, and what is answered to a mistake."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest

from vla_bench.bench.setup.preparation import prepare
from vla_bench.bench.setup.presets import load_config
from vla_bench.envs.calvin.robot import ACTIONS
from vla_bench.envs.observation import Observation
from vla_bench.envs.simulation import EnvironmentSpec
from vla_bench.policies.choice import PolicyChoice
from vla_bench.policies.errors import PolicyError
from vla_bench.policies.registry import describe_policy
from vla_bench.policies.vla.config import VlaConfig
from vla_bench.policies.vla.embodiment import names_in, seen_as
from vla_bench.policies.vla.options import VlaOptions
from vla_bench.policies.vla.robovlms_config import from_robovlms, read_config, released_dtype

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
            {"structure": "interleaved", "head": "none", "released_window": False},
        ),
        (
            {"type": "DiscreteDecoder", "action_space": "discrete", "history_type": "pre"},
            4,
            {"structure": "interleaved", "head": "none", "released_window": True},
        ),
        (
            {"type": "DiscreteDecoder", "action_space": "discrete", "history_type": "video"},
            1,
            {"structure": "one_step", "head": "none"},
        ),
        (
            {"type": "LSTMDecoder", "history_type": "pre", "num_layers": 2, "policy_rnn_dropout_p": 0.1},
            4,
            {"structure": "interleaved", "head": "lstm", "lstm_layers": 2, "lstm_dropout": 0.1},
        ),
        ({"type": "LSTMDecoder"}, 1, {"structure": "policy_head", "head": "lstm", "window": 1}),
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
        ({"structure": "video"}, "head=fc"),
        ({"gripper_loss_ratio": "small"}, "gripper_loss_ratio='small' must be a number"),
        ({"question_style": "chatty"}, "phi, qwen, vicuna"),
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


def head(**fields: Any) -> dict[str, Any]:
    return {"act_head": {**RELEASED["act_head"], **fields}}


@pytest.mark.parametrize(
    "change, said",
    [
        ({"model": "gpt4"}, "model='gpt4' in the configuration; known: kosmos, paligemma"),
        ({"model": "llava_orig"}, "Did you mean 'llava'"),
        ({"act_head": None}, "needs an action head"),
        (head(type="DiffusionDecoder"), "DiffusionDecoder"),
        (head(history_type="both"), "act_head.history_type='both'"),
        (head(action_space="binned"), "act_head.action_space='binned'.*known: continuous, down_sample"),
        (head(action_space="discrete"), "DiscreteDecoder goes with discrete"),
        (head(action_space="down_sample"), "needs act_head.down_sample=pooling or resampler"),
        (head(down_sample="resampler"), "needs act_head.action_space=down_sample"),
        (head(token_source="images"), "act_head.token_source='images'"),
        (head(action_dim=8), "actions have 7 numbers"),
        (head(hidden_size="wide"), "act_head.hidden_size='wide' in the configuration must be a whole number"),
        (head(latents=2), "unknown field act_head.'latents'. Did you mean 'latent'"),
        ({"use_hand_rbg": True}, "unknown field 'use_hand_rbg'. Did you mean 'use_hand_rgb'"),
        ({"use_hand_rgb": "no"}, "use_hand_rgb='no' in the configuration must be true or false"),
        ({"norm_min": None}, "has no field 'norm_min'"),
        ({"window_size": 2.5}, "window_size=2.5"),
        (
            {
                **head(type="DiscreteDecoder", action_space="discrete"),
                "tokenizer": {"additional_special_tokens": ["<act>"]},
            },
            "moves the action tokens",
        ),
    ],
)
def test_impossible_in_a_released_configuration(change: dict[str, Any], said: str) -> None:
    with pytest.raises(PolicyError, match=said):
        from_robovlms({**RELEASED, **change})


def test_fields_that_change_nothing_are_passed_over() -> None:
    more = {"batch_size": 41, "vision_resampler": {"depth": 8}, "somebody_elses": 1}
    assert from_robovlms({**RELEASED, **more}) == from_robovlms(RELEASED)


def test_parent_fills_what_a_file_leaves_out(tmp_path: Path) -> None:
    (tmp_path / "base.json").write_text(json.dumps({**RELEASED, "trainer": {"precision": "bf16"}}))
    child = tmp_path / "child.json"
    child.write_text(json.dumps({"parent": "configs/base.json", "window_size": 16, **{"act_head": {"latent": 2}}}))
    assert read_config(child) == from_robovlms({**RELEASED, "window_size": 16, **head(latent=2)})
    assert released_dtype(child) == "bfloat16"
    (tmp_path / "base.json").write_text(json.dumps({"parent": "child.json"}))
    with pytest.raises(PolicyError, match="is its own parent"):
        read_config(child)
    (tmp_path / "base.json").unlink()
    with pytest.raises(PolicyError, match=r"no configuration file .*base\.json; .*child\.json names it"):
        read_config(child)


def test_released_evaluation_runs_in_the_precision_of_its_configuration(tmp_path: Path) -> None:
    def dtype(precision: Any, **more: Any) -> str:
        path = tmp_path / "config.json"
        path.write_text(json.dumps({**RELEASED, "trainer": {"precision": precision}}))
        return VlaOptions.from_arguments({"config": str(path), "seed": 0, **more}).dtype

    for precision, released in (
        ("bf16", "bfloat16"),
        ("fp16", "float16"),
        ("16", "float32"),
        (16, "float32"),
    ):
        assert dtype(precision, compat="released") == released
    assert dtype("bf16") == dtype("bf16", compat="released", dtype="float32") == "float32"


def test_question_is_asked_in_the_style_of_the_model() -> None:
    def style(**fields: Any) -> str:
        return from_robovlms({**RELEASED, **fields}).question_style

    assert style() == style(model="qwen") == "backbone"
    assert style(model="llava", llava="llava-mpt-7b") == "phi"
    assert style(model="qwen", qwen=".vlms/Qwen-VL") == "qwen"
    assert style(model="llava", llava="LLaVA-v1.6-Vicuna-7b") == "vicuna"


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
        ({"seed": "abc"}, "policy.seed='abc' must be a whole number"),
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


def simpler(action: str = "bridge", camera: str = "3rd_view_camera") -> EnvironmentSpec:
    convention = dataclasses.replace(ACTIONS[0], name=action, frame="base", rotation="axis_angle")
    return EnvironmentSpec("simpler", (convention,), {camera: (480, 640)}, 5.0, roles={"static": camera})


def test_on_a_robot_of_simplerenv(tmp_path: Path) -> None:
    choice = PolicyChoice("vla", {"seed": 0, "model": {"gripper_camera": True}})
    spec = describe_policy(choice, simpler())
    assert [camera.name for camera in spec.sensors.cameras] == ["3rd_view_camera"]
    assert spec.action.name == "bridge"
    path = tmp_path / "statistics.json"
    path.write_text(json.dumps({"action": {"q01": [0] * 7, "q99": [1] * 7}}))
    other = PolicyChoice("vla", {"seed": 0, "model": {"window": 8}, "statistics": str(path)})
    assert "statistics" in describe_policy(other, simpler()).switches


@pytest.mark.parametrize(
    "arguments, environment, said",
    [
        (
            {"model": {"state_token": True}},
            simpler(),
            "state_token=True needs the robot's state, which simpler",
        ),
        (
            {"model": {"action_frame": "tcp"}},
            simpler(),
            "action_frame=tcp needs the robot's state, which simpler",
        ),
        ({"statistics": __file__}, simpler(), "seven numbers each"),
        ({"statistics": "/nowhere"}, simpler(), "policy.statistics=/nowhere: there is no such file"),
        (
            {"statistics": __file__},
            EnvironmentSpec("calvin", ACTIONS, {"static": (200, 200)}, 30.0),
            "is for robots of the conventions bridge, fractal",
        ),
    ],
)
def test_impossible_in_an_environment(arguments: Any, environment: EnvironmentSpec, said: str) -> None:
    choice = PolicyChoice("vla", {"seed": 0, "model": {"window": 8}, **arguments})
    with pytest.raises(PolicyError, match=said):
        describe_policy(choice, environment)


def test_other_weights_at_the_same_path_are_another_run(tmp_path: Path) -> None:
    paths = {name: tmp_path / name for name in ("model.pt", "config.json")}
    (tmp_path / "config.json").write_text(json.dumps(RELEASED))
    words = [
        *("benchmark=calvin_smoke", "policy=vla", "policy.backbone_path=tiny", f"run.results={tmp_path}"),
        *(f"policy.checkpoint={paths['model.pt']}", f"policy.config={paths['config.json']}"),
    ]

    def run(content: bytes) -> tuple[str, str, dict[str, str]]:
        paths["model.pt"].write_bytes(content)
        ready = prepare(load_config(words))
        return ready.folder.name, ready.plan.protocol.hash, ready.identity["content"]

    large = b"PK" + bytes(5_000_000)
    first, again, longer, other = run(large), run(large), run(large + b"1"), run(large[:-1] + b"1")
    assert first == again
    assert len({content["policy.checkpoint=model.pt"] for _, _, content in (first, longer, other)}) == 3
    assert len({(name, protocol) for name, protocol, _ in (first, longer, other)}) == 1
    (tmp_path / "config.json").write_text(json.dumps({**RELEASED, "note": 1}))
    assert run(large) != first


def test_cameras_and_state_are_found_by_their_roles() -> None:
    roles = {"static": "overhead", "gripper": "wrist", "state": "proprio"}
    environment = EnvironmentSpec("mine", ACTIONS, {"overhead": (9, 9), "wrist": (8, 8)}, 30.0, roles=roles)
    choice = PolicyChoice("vla", {"seed": 0, "model": {"gripper_camera": True, "state_token": True}})
    spec = describe_policy(choice, environment)
    assert [camera.name for camera in spec.sensors.cameras] == ["overhead", "wrist"]
    seen = seen_as(names_in(environment), Observation({"rgb_overhead": 1, "rgb_wrist": 2, "proprio": 3}))
    assert (seen["rgb_static"], seen["rgb_gripper"], seen["robot_obs"]) == (1, 2, 3)
    with pytest.raises(PolicyError, match="needs the robot's state, which mine does not show"):
        describe_policy(choice, dataclasses.replace(environment, roles={"static": "overhead", "gripper": "wrist"}))

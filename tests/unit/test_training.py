"""Training on a small made-up data set, with the tiny backbone."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from calvin_sets import write_set

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")
pytest.importorskip("accelerate")

from vla_bench.envs.calvin.dataset.choosing import subset  # noqa: E402
from vla_bench.policies.errors import PolicyError  # noqa: E402
from vla_bench.policies.vla.config import VlaConfig  # noqa: E402
from vla_bench.policies.vla.options import VlaOptions  # noqa: E402
from vla_bench.policies.vla.training.assembly import assemble  # noqa: E402
from vla_bench.policies.vla.training.config import TrainingConfig  # noqa: E402
from vla_bench.policies.vla.training.events import StepDone  # noqa: E402
from vla_bench.policies.vla.training.failure import TrainingFailed  # noqa: E402
from vla_bench.policies.vla.training.items import free_frames  # noqa: E402
from vla_bench.policies.vla.training.loop import TrainingRun  # noqa: E402
from vla_bench.policies.vla.training.optimiser import SHARE, make_optimiser  # noqa: E402

SMALL = {"backbone": "tiny", "hidden": 16, "lstm_layers": 1, "window": 2, "chunk": 3, "gripper_camera": True}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_set(tmp_path_factory.mktemp("set"), count=6)


@pytest.fixture(autouse=True)
def _one_thread() -> Any:
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)


def make_run(data: Path, structure: dict[str, Any] | None = None, **more: Any) -> TrainingRun:
    chosen = {"steps": 4, "batch": 4, "threads": 1, "device": "cpu", "learning_rate": 1e-3, **more}
    return assemble(VlaConfig.from_mapping({**SMALL, **(structure or {})}), TrainingConfig(data=str(data), **chosen))


def weights(folder: Path) -> dict[str, Any]:
    from safetensors.torch import load_file

    return load_file(folder / "last" / "model.safetensors")


def same(one: dict[str, Any], other: dict[str, Any]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def test_a_trained_checkpoint_runs_as_a_policy(data: Path, tmp_path: Path) -> None:
    from vla_bench.envs.calvin.family import environment_spec
    from vla_bench.policies.base import SubtaskContext
    from vla_bench.policies.vla.policy import VlaPolicy

    make_run(data, {"state_token": True, "state_encoding": "sincos"}).train(tmp_path)
    about = json.loads((tmp_path / "last" / "training.json").read_text())
    assert about["step"] == 4 and len(about["data"]["digest"]) == 16
    policy = VlaPolicy(environment_spec({}), checkpoint=str(tmp_path / "last"))
    policy.reset(0, "open the drawer", SubtaskContext("seq-0000", 0, 0))
    seen = {
        "rgb_static": np.zeros((200, 200, 3), np.uint8),
        "rgb_gripper": np.zeros((84, 84, 3), np.uint8),
        "robot_obs": np.zeros(15),
    }
    (chunk,) = policy.act([0], [seen])
    assert chunk.shape == (1, 7) and abs(chunk[0, 6]) == 1


def test_a_scene_loss_teaches_the_images_and_is_left_behind(data: Path, tmp_path: Path) -> None:
    run = make_run(data, scene_loss=0.5)
    head = run.model.scene_head
    losses: list[dict[str, Any]] = []
    before = [parameter.clone() for parameter in head.parameters()]
    run.train(tmp_path, watch=losses.append)
    first = losses[0]
    others = first["arm"] + run.model.config.gripper_loss_ratio * first["gripper"]
    torch.testing.assert_close(first["total"], others + 0.5 * first["scene"])
    assert any(not torch.equal(one, other) for one, other in zip(before, head.parameters(), strict=True))
    assert not [name for name in weights(tmp_path) if "scene_head" in name]
    assert len(make_run(data).model.state_dict()) < len(run.model.state_dict())


def test_further_frames_are_drawn_by_the_batch_and_shared_among_processes(data: Path, tmp_path: Path) -> None:
    run = make_run(data, {"gripper_camera": True}, scene_loss=0.5, scene_frames=6)
    items = run.items
    whole, halves = items.looks(3, (0, 1)), [items.looks(3, (rank, 2)) for rank in (0, 1)]
    assert whole.static.shape[0] == whole.gripper.shape[0] == 6 and whole.scene.shape == (6, 24)
    for name in ("static", "gripper", "scene", "tool"):
        parts = [getattr(half, name) for half in halves]
        torch.testing.assert_close(torch.stack(parts, 1).flatten(0, 1), getattr(whole, name))
    assert not torch.equal(items.looks(4, (0, 1)).scene, whole.scene)
    assert make_run(data).items.looks(0, (0, 1)) is None
    losses: list[dict[str, Any]] = []
    run.train(tmp_path, watch=losses.append)
    assert losses[0]["scene"] > 0
    with pytest.raises(PolicyError, match=r"looked at for train\.scene_loss and train\.subject_loss, which"):
        TrainingConfig(scene_frames=2)


@pytest.mark.parametrize("words", [{"batch": 3}, {"scene_loss": 0.5, "scene_frames": 3}])
def test_what_processes_cannot_share_is_said_before_the_first_step(
    data: Path, monkeypatch, words: dict[str, Any]
) -> None:
    from vla_bench.policies.vla.training.processes import Processes

    monkeypatch.setattr(Processes, "count", property(lambda self: 2))
    with pytest.raises(PolicyError, match=r"=3 cannot be shared among 2 processes; type a multiple"):
        make_run(data, **words).train(None)


def test_frames_of_no_annotation_are_free_unless_they_are_mere_leftovers() -> None:
    spans = np.array([(0, 9), (20, 39)])
    assert free_frames(spans, [(2, 8), (20, 30)]).tolist() == [0, 1, 9, *range(31, 40)]
    assert free_frames(spans, [(0, 9), (20, 37)]).tolist() == [38, 39]
    assert free_frames(np.array([(0, 99)]), [(0, 95)]) is None
    assert len(free_frames(spans, [])) == 30


def test_what_is_looked_at_is_packed_and_not_held_out(data: Path, tmp_path: Path) -> None:
    """Also where only the frames that annotations reach were packed, and some of these are for validation."""
    from vla_bench.envs.calvin.dataset import open_dataset
    from vla_bench.envs.calvin.dataset.packing import pack, plan_packing

    source = open_dataset(data)
    few = subset(source, source.annotations[:2])
    packed = pack(few, tmp_path / "packed", plan_packing(few))
    assert len(packed.spans) and int((packed.spans[:, 1] - packed.spans[:, 0] + 1).sum()) < len(frames_of(source))
    run = assemble(
        VlaConfig.from_mapping(SMALL),
        TrainingConfig(steps=2, batch=4, threads=1, device="cpu", scene_loss=0.5, scene_frames=40),
        dataset=packed,
        annotations=[0],
    )
    run.train(None)
    own = packed.annotations[0]
    assert set(run.items._free) <= set(range(own.start, own.end))


def frames_of(dataset: Any) -> np.ndarray:
    return np.concatenate([np.arange(first, last + 1) for first, last in dataset.recordings])


@pytest.mark.parametrize(
    "structure",
    [{}, {"structure": "one_step", "head": "none", "window": 1, "action_space": "discrete", "norm": (-1.0, 1.0)}],
)
def test_a_waypoint_loss_teaches_what_the_head_reads_and_is_left_behind(
    data: Path, tmp_path: Path, structure: dict[str, Any]
) -> None:
    run = make_run(data, structure, waypoint_loss=0.5)
    losses: list[dict[str, Any]] = []
    before = {name: each.clone() for name, each in run.model.named_parameters() if "waypoint_head" in name}
    run.train(tmp_path, watch=losses.append)
    assert before and all(each["waypoint"] > 0 for each in losses)
    after = dict(run.model.named_parameters())
    assert any(not torch.equal(each, after[name]) for name, each in before.items())
    assert not [name for name in weights(tmp_path) if "waypoint_head" in name]


def test_waypoints_are_where_the_gripper_changes_next() -> None:
    from vla_bench.policies.vla.training.waypoint import waypoints

    states = np.zeros((6, 15), np.float32)
    states[:, 0] = 0.15 * np.arange(6)
    states[:, 5] = np.pi * np.arange(6) / 4
    gripper = np.array([1, 1, 1, -1, -1, -1], np.float32)
    found = waypoints(states, gripper, 4)
    np.testing.assert_allclose(found[:, 0], [3, 2, 1, 2], atol=1e-6)  # where it closes; then where it ends
    np.testing.assert_allclose(found[2, 3:], [0, 1], atol=1e-6)  # an eighth turn, doubled


def test_a_backbone_may_have_a_rate_of_its_own(data: Path) -> None:
    run = make_run(data, backbone_rate=3.0)
    optimiser = make_optimiser(run.model.named_parameters(), run.config)
    share = {id(each): group[SHARE] for group in optimiser.param_groups for each in group["params"]}
    for name, parameter in run.model.named_parameters():
        assert share[id(parameter)] == (3.0 if name.startswith("backbone.") else 1.0), name


def test_a_set_recorded_in_small_is_asked_for_in_small(tmp_path: Path) -> None:
    own = write_set(tmp_path / "own", count=6, sizes={"rgb_static": 200, "rgb_gripper": 84})
    assert make_run(own).model.config.camera_sides is None
    structure = make_run(
        write_set(tmp_path / "small", count=6, sizes={"rgb_static": 60, "rgb_gripper": 84})
    ).model.config
    assert structure.camera_sides == (60, 84)
    spec = VlaOptions.from_arguments({"model": structure.to_mapping(), "seed": 0}).spec()
    assert [(camera.name, camera.width, camera.height) for camera in spec.sensors.cameras] == [
        ("static", 60, 60),
        ("gripper", 84, 84),
    ]


def test_eyes_of_another_structure_are_taken_and_kept(data: Path, tmp_path: Path) -> None:
    taught = make_run(data, learning_rate=1e-2)
    taught.train(tmp_path / "taught")
    own = [id(each) for each in taught.model.adapter.vision_tower().parameters()]
    eyes = {name for name, each in taught.model.named_parameters() if id(each) in own}
    given = weights(tmp_path / "taught")
    other = {"structure": "one_step", "head": "fc", "window": 1}
    for kept in (True, False):
        run = make_run(data, other, vision_from=str(tmp_path / "taught" / "last"), train_vision=not kept)
        before = {name: each.detach().clone() for name, each in run.model.named_parameters()}
        assert eyes and all(torch.equal(before[name], given[name]) for name in eyes)
        fresh = {name: each for name, each in make_run(data, other).model.named_parameters() if name not in eyes}
        assert all(torch.equal(before[name], each) for name, each in fresh.items()), "more than the eyes was taken"
        run.train(tmp_path / str(kept))
        after = weights(tmp_path / str(kept))
        assert all(torch.equal(after[name], given[name]) for name in eyes) == kept
        assert not torch.equal(after["action_token"], before["action_token"])


def test_eyes_that_do_not_fit_are_refused(data: Path, tmp_path: Path) -> None:
    def last(name: str, **structure: Any) -> str:
        make_run(data, structure, steps=1).train(tmp_path / name)
        return str(tmp_path / name / "last")

    def saw(checkpoint: str, **changed: Any) -> str:
        """The same weights with another description."""
        folder = Path(shutil.copytree(checkpoint, tmp_path / "-".join(changed)))
        described = json.loads((folder / "vla.json").read_text())
        (folder / "vla.json").write_text(json.dumps({**described, **changed}))
        return str(folder)

    blind, tiny, small = last("blind", blind=True), last("tiny"), last("small", backbone="small")
    side = make_run(data).model.config.image_size
    for checkpoint, said in [
        (blind, "is a blind policy, whose eyes saw nothing"),
        (f"{blind}/model.safetensors", "is a blind policy, whose eyes saw nothing"),
        (last("static", gripper_camera=False), "has not seen the gripper camera; type policy.model.gripper_camera"),
        (saw(tiny, image_size=7), f"saw static images of 7 pixels, and these are of {side}; type policy.model.image_"),
        (saw(tiny, gripper_image_size=9), r"saw gripper .*; type policy\.model\.gripper_image_size=9"),
        (small, "has backbone=small, and this is tiny; give a checkpoint of the same"),
    ]:
        with pytest.raises(PolicyError, match=said):
            make_run(data, vision_from=checkpoint)
    other, narrow = tmp_path / "other.pt", tmp_path / "narrow.pt"  # nothing beside them says what they saw
    torch.save(weights(tmp_path / "small"), other)
    torch.save({name: each[..., :1] for name, each in weights(tmp_path / "tiny").items()}, narrow)
    with pytest.raises(PolicyError, match="has not the vision tower of backbone=tiny: it lacks backbone"):
        make_run(data, vision_from=str(other))
    with pytest.raises(PolicyError, match="a vision tower of another shape: backbone"):
        make_run(data, vision_from=str(narrow))


def test_going_on_gives_the_same_weights(data: Path, tmp_path: Path) -> None:
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    whole.mkdir(), parts.mkdir()
    make_run(data, colour=0.2, save_every=1).train(whole)
    for _ in range(4):
        asked = iter([False, True])
        make_run(data, colour=0.2, save_every=1).train(parts, stop=lambda asked=asked: next(asked))
    assert same(weights(whole), weights(parts))


def test_the_first_step_is_not_wasted_unless_it_was(data: Path) -> None:
    for compat, rate in (("intended", 1e-3), ("released", 0.0)):
        steps: list[Any] = []
        make_run(data, compat=compat, schedule="constant", steps=1).train(None, report=steps.append)
        assert [each.rate for each in steps if isinstance(each, StepDone)] == [rate]


def test_accumulated_batches_weigh_labels_alike(data: Path) -> None:
    """Two batches of 4 make the step of one of 8, though their ends differ in length."""
    structure = {"window": 2, "chunk": 8}
    one, two = (make_run(data, structure, dropout=0.0, steps=1, rgb_pad=0, gripper_pad=0) for _ in range(2))
    chosen = [0, 10, 3, 8, 20, 9, 5, 1]
    from vla_bench.policies.vla.training.sampling import FixedOrder

    norms = []
    for run, batches in ((one, (chosen,)), (two, (chosen[:4], chosen[4:]))):
        run.order = FixedOrder(tuple(tuple(batch) for batch in batches))
        run.config = make_run(data, structure, batch=len(batches[0]), accumulate=len(batches), steps=1).config
        steps: list[Any] = []
        run.train(None, report=steps.append)
        norms += [(each.gradient, each.losses["total"]) for each in steps if isinstance(each, StepDone)]
    assert norms[0] == pytest.approx(norms[1], rel=1e-5)


def test_a_loss_that_is_no_number_ends_the_run_and_keeps_its_batch(data: Path, tmp_path: Path) -> None:
    run = make_run(data)
    with torch.no_grad():
        run.model.action_token.fill_(float("nan"))
    with pytest.raises(TrainingFailed, match=r"step 1: .*nan.*kept in"):
        run.train(tmp_path)
    kept = torch.load(tmp_path / "nan_batch.pt", weights_only=True)
    assert kept["step"] == 1 and len(kept["items"][0]) == 4 and "arm_target" in kept["batches"][0]


@pytest.mark.parametrize(
    "structure, chosen, said",
    [
        ({}, {"learning_rate": 0.0}, "train.learning_rate=0: nothing would be learnt"),
        ({}, {"batch": 1000}, "train.batch=1000 is larger than the data"),
        ({}, {"freeze": ("act_head.rn",)}, "no such part. Did you mean 'act_head.rnn'"),
        ({}, {"device": "cuda"}, "no GPU is found here"),
        ({}, {"precision": "fp16"}, "train.precision=fp16"),
        ({"window": 13}, {}, "holds no window of 13 frames"),
        ({}, {"lora_r": 2, "lora_targets": ("q_prj",)}, "Did you mean 'q_proj'"),
        ({}, {"train_decoder_layers": 0}, "trains all layers in the original"),
    ],
)
def test_bad_input_is_said_before_the_first_step(
    data: Path, structure: dict[str, Any], chosen: dict[str, Any], said: str
) -> None:
    if chosen.get("device") == "cuda" and torch.cuda.is_available():
        pytest.skip("there is a GPU")
    with pytest.raises(PolicyError, match=said):
        make_run(data, structure, **chosen).train(None)


def test_a_blind_policy_sees_nothing_and_says_so(data: Path, tmp_path: Path) -> None:
    from vla_bench.policies.vla.options import VlaOptions

    run = make_run(data, {"blind": True, "state_token": True}, steps=1)
    batch = run.items.batch([0, 5], [None, None])
    assert torch.equal(batch.static[0], batch.static[1]) and batch.static[0].std(dim=(-1, -2)).max() == 0
    run.train(tmp_path)
    spec = VlaOptions.from_arguments({"checkpoint": str(tmp_path / "last")}).spec()
    assert spec.switches["blind"] == "true" and spec.name.endswith("-blind") and not spec.sensors.cameras


def test_a_window_has_the_stride_of_what_is_executed(data: Path, tmp_path: Path) -> None:
    from vla_bench.policies.vla.options import VlaOptions

    run = make_run(data, steps=1, stride=3)
    first = run.items.windows[0].first
    item = run.items.item(0)
    seen = run.items.dataset.frames([first, first + 3], ("rel_actions",))["rel_actions"]
    one_by_one = make_run(data, steps=1).items
    np.testing.assert_array_equal(item.actions[1], one_by_one.item(3).actions[0])
    assert seen.shape == (2, 7) and item.actions.shape == (2, 3, 7)
    run.train(tmp_path)
    assert VlaOptions.from_arguments({"checkpoint": str(tmp_path / "last")}).execute == 3
    with pytest.raises(PolicyError, match=r"type policy\.execute=3"):
        VlaOptions.from_arguments({"checkpoint": str(tmp_path / "last"), "execute": 1})


def test_bounds_come_from_the_data_and_stay_with_the_checkpoint(data: Path, tmp_path: Path) -> None:
    from vla_bench.policies.vla.actions.normalisation import normalise, unnormalise

    run = make_run(data, steps=1)
    low, high = run.model.config.norm or ((), ())
    arm = run.items.dataset.frames(range(12), ("rel_actions",))["rel_actions"]
    assert isinstance(low, tuple) and len(low) == len(high) == 6
    inside = np.all((arm[:, :6] >= low) & (arm[:, :6] <= high), axis=1)
    np.testing.assert_allclose(unnormalise(normalise(arm[inside], low, high), low, high), arm[inside], atol=1e-5)
    run.train(tmp_path)
    told = VlaConfig.from_mapping(json.loads((tmp_path / "last" / "vla.json").read_text()))
    assert told == run.model.config and told.norm == (low, high) and told.stride == 1
    assert make_run(data, {"norm": [-0.5, 0.5]}, normalise="given").model.config.norm == (-0.5, 0.5)


def test_lora_trains_little_and_is_merged_into_the_checkpoint(data: Path, tmp_path: Path) -> None:
    from vla_bench.policies.vla.build import build
    from vla_bench.policies.vla.training.trainable import trained

    run = make_run(data, lora_r=2, train_text_embedding=False, learning_rate=1e-2, dropout=0.0)
    frozen = {name: each.clone() for name, each in run.model.named_parameters() if not each.requires_grad}
    run.train(tmp_path)
    kept = dict(run.model.named_parameters())
    assert all(torch.equal(each, kept[name]) for name, each in frozen.items())
    assert any(".lora_" in name for name, _ in trained(run.model))
    plain = build(run.model.config, backbone_path=tmp_path / "last", checkpoint=tmp_path / "last").model
    run.model.eval()
    pixels = torch.randn(2, 3, 28, 28)
    torch.testing.assert_close(plain.encode_images(pixels), run.model.encode_images(pixels), atol=1e-5, rtol=1e-5)


def test_every_structure_takes_a_step(data: Path) -> None:
    for structure in (
        {"structure": "one_step", "head": "fc", "window": 1},
        {"structure": "interleaved", "head": "fc"},
        {"head": "gpt", "hidden": 32},
        {"head": "lstm", "action_space": "discrete", "bins": 8},
        {"structure": "one_step", "head": "none", "action_space": "discrete", "window": 1, "chunk": 1},
        {"structure": "interleaved", "head": "none", "action_space": "discrete", "chunk": 1},
    ):
        chosen = make_run(data, structure, steps=1, gradient_checkpointing=structure.get("head") == "gpt")
        steps: list[Any] = []
        chosen.train(None, report=steps.append)
        (step,) = [each for each in steps if isinstance(each, StepDone)]
        assert step.gradient > 0, structure


def test_bfloat16_keeps_float32_weights_near_those_of_float32(data: Path) -> None:
    losses = []
    for precision in ("fp32", "bf16"):
        run = make_run(data, precision=precision, dropout=0.0, rgb_pad=0, gripper_pad=0)
        steps: list[Any] = []
        run.train(None, report=steps.append)
        losses.append([each.losses["total"] for each in steps if isinstance(each, StepDone)])
        assert all(each.dtype == torch.float32 for each in run.model.parameters())
    assert losses[0] != losses[1] and losses[0] == pytest.approx(losses[1], rel=0.02)


def test_auto_takes_bfloat16_only_where_the_processor_has_it(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for able, same_as in (({"avx512_bf16": True}, "bf16"), ({"amx_bf16": True}, "bf16"), ({"avx2": True}, "fp32")):
        monkeypatch.setattr(torch.cpu, "get_capabilities", lambda able=able: able)
        losses = []
        for precision in ("auto", same_as):
            steps: list[Any] = []
            make_run(data, precision=precision, steps=1).train(None, report=steps.append)
            losses.append(next(each.losses["total"] for each in steps if isinstance(each, StepDone)))
        assert losses[0] == losses[1], able


def test_all_tokens_are_learned_from_where_there_is_room(data: Path) -> None:
    whole = {"structure": "one_step", "head": "fc", "window": 1, "readout": "all", "latent": 200}
    run = make_run(data, whole, steps=2, waypoint_loss=0.3)
    before = run.model.act_head.mlp[0].weight.clone()
    run.train(None)
    assert not torch.equal(before, run.model.act_head.mlp[0].weight)
    with pytest.raises(PolicyError, match=r"room for latent=9 tokens .* train it with policy\.model\.latent=\d+"):
        make_run(data, {**whole, "latent": 9})


GREETING = [{"from": "human", "value": "Hello."}, {"from": "gpt", "value": "Hi."}]


def write_conversations(folder: Path) -> Path:
    from PIL import Image

    Image.new("RGB", (40, 30), (200, 10, 10)).save(folder / "red.png")
    turns = [{"from": "human", "value": "<image>\nWhat colour?"}, {"from": "gpt", "value": "red"}]
    (folder / "talk.json").write_text(
        json.dumps([{"image": "red.png", "conversations": turns + turns}, {"conversations": GREETING}])
    )
    return folder


def test_conversations_are_learnt_in_the_same_steps(data: Path, tmp_path: Path) -> None:
    from vla_bench.policies.vla.losses import IGNORE

    folder = write_conversations(tmp_path)
    more = {"conversations": str(folder), "conversation_batch": 2, "dropout": 0.0}
    run = make_run(data, {"cotrain_loss_ratio": 5.0}, **more, steps=6, learning_rate=1e-2)
    assert run.conversations is not None
    ids, labels = run.conversations.tokens((("What colour?", "red"), ("And now?", "blue")))
    said = run.items.tokenizer.decode(ids[labels != IGNORE])
    assert said == "red</s>blue</s>" and (labels == ids)[labels != IGNORE].all()
    steps: list[Any] = []
    run.train(None, report=steps.append)
    losses = [each.losses for each in steps if isinstance(each, StepDone)]
    assert losses[-1]["vl_cotrain"] < losses[0]["vl_cotrain"] - 0.5 and losses[0]["arm"] > 0


def test_conversations_of_another_form_are_refused(data: Path, tmp_path: Path) -> None:
    for content, said in (
        ("[]", "must hold a list"),
        ("{", "is not JSON"),
        ('[{"conversations": [{"from": "gpt", "value": "a"}]}]', "must go human, gpt"),
        (
            '[{"image": "no.png", "conversations": [{"from": "human", "value": "a"}, {"from": "gpt", "value": "b"}]}]',
            "n",
        ),
        ('[{"text": 1}]', 'must have "conversations"'),
    ):
        (tmp_path / "talk.json").write_text(content)
        with pytest.raises(PolicyError, match=said):
            make_run(data, conversations=str(tmp_path / "talk.json"))


def test_sets_of_another_robot_are_refused(data: Path) -> None:
    run = make_run(data)
    for shapes, said in (
        ({"rel_actions": (14,), "rgb_static": (8, 8, 3), "rgb_gripper": (8, 8, 3)}, "not of CALVIN's robot"),
        ({"rel_actions": (7,), "rgb_static": (8, 8, 4), "rgb_gripper": (8, 8, 3)}, "is wanted"),
        ({"rel_actions": (7,), "rgb_static": (8, 8, 3)}, "holds no images of the gripper camera"),
    ):
        with pytest.raises(PolicyError, match=said):
            run.items.__class__(
                Reshaped(run.items.dataset, shapes),
                run.items.structure,
                run.config,
                run.items.adapter,
                run.items.tokenizer,
            )


class Reshaped:
    """A data set that says it has other shapes."""

    def __init__(self, dataset: Any, shapes: dict[str, tuple[int, ...]]):
        self._dataset, self.shapes = dataset, shapes

    def __getattr__(self, name: str) -> Any:
        return getattr(self._dataset, name)


def test_shifts_of_a_window_move_all_its_frames_alike() -> None:
    from vla_bench.policies.vla.training.augmentation import draw_shifts, jitter, shift

    drawn = draw_shifts(3, 2, "window", torch.Generator().manual_seed(0))
    assert len({tuple(each) for each in drawn.tolist()}) == 1
    image = torch.arange(25.0).view(1, 1, 5, 5).expand(1, 3, 5, 5)
    moved = shift(image, 2, np.array([[4, 2]]))
    assert torch.equal(moved[0, 0, :, :3], image[0, 0, :, 2:]) and torch.equal(moved[0, 0, :, 4], image[0, 0, :, 4])
    assert torch.equal(shift(image, 2, np.array([[2, 2]])), image)
    coloured = jitter(torch.rand(2, 3, 4, 4), 0.3, torch.Generator().manual_seed(0))
    assert coloured.min() >= 0 and coloured.max() <= 1


def test_the_rate_goes_as_its_formula_says() -> None:
    from vla_bench.policies.vla.training.optimiser import rate_factor

    def factors(**more: Any) -> list[float]:
        config = TrainingConfig(**more)
        return [rate_factor(step, config, steps=8, steps_per_epoch=4.0) for step in range(9)]

    assert factors(schedule="constant", warmup_epochs=1.0)[:5] == [0.25, 0.5, 0.75, 1.0, 1.0]
    assert factors(schedule="constant", warmup_epochs=1.0, compat="released")[:5] == [0.0, 0.25, 0.5, 0.75, 1.0]
    assert factors(schedule="cosine")[4] == pytest.approx(0.5) and factors(schedule="cosine")[8] == 0.0
    assert factors(schedule="half_cosine", min_rate=0.1)[8] == pytest.approx(0.1)


def test_biases_and_norms_do_not_decay_unless_released(data: Path) -> None:
    from vla_bench.policies.vla.training.optimiser import make_optimiser

    model = make_run(data).model
    groups = make_optimiser(model.named_parameters(), TrainingConfig(weight_decay=0.1)).param_groups
    assert [group["weight_decay"] for group in groups] == [0.1, 0.0]
    assert all(each.dim() >= 2 for each in groups[0]["params"]) and all(each.dim() < 2 for each in groups[1]["params"])
    eyes = list(model.adapter.vision_tower().parameters())
    groups = make_optimiser(
        model.named_parameters(), TrainingConfig(backbone_rate=2.0, vision_rate=5.0), eyes
    ).param_groups
    rates = {id(each): group["share"] for group in groups for each in group["params"]}
    assert {rates[id(each)] for each in eyes if each.requires_grad} == {5.0}
    assert {rates[id(each)] for each in model.act_head.parameters()} == {1.0}
    assert {rates[id(each)] for each in model.adapter.language_model().parameters() if id(each) in rates} == {2.0}
    (single,) = make_optimiser(model.named_parameters(), TrainingConfig(compat="released")).param_groups
    assert len(single["params"]) == sum(len(group["params"]) for group in groups)
    with pytest.raises(PolicyError, match=r"vision_rate=0: a number above 0"):
        TrainingConfig(vision_rate=0.0)

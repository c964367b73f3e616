"""The loss that asks where the block is that an instruction names."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from calvin_sets import write_set

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")
pytest.importorskip("accelerate")

from safetensors import safe_open  # noqa: E402

from vla_bench.envs.calvin.dataset import open_dataset  # noqa: E402
from vla_bench.envs.calvin.dataset.choosing import subset  # noqa: E402
from vla_bench.policies.errors import PolicyError  # noqa: E402
from vla_bench.policies.vla.config import VlaConfig  # noqa: E402
from vla_bench.policies.vla.training.assembly import assemble  # noqa: E402
from vla_bench.policies.vla.training.config import TrainingConfig  # noqa: E402
from vla_bench.policies.vla.training.items import Item  # noqa: E402
from vla_bench.policies.vla.training.loop import TrainingRun  # noqa: E402

SMALL = {"backbone": "tiny", "hidden": 16, "lstm_layers": 1, "window": 2, "chunk": 3, "gripper_camera": True}
TASKS_SHOWN = ("lift_red_block_table", "push_blue_block_left", "rotate_pink_block_right", "open_drawer")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Any:
    source = open_dataset(write_set(tmp_path_factory.mktemp("set"), count=len(TASKS_SHOWN)))
    shown = zip(source.annotations, TASKS_SHOWN, strict=False)
    return subset(source, [dataclasses.replace(each, task=task) for each, task in shown])


def make_run(
    data: Any, structure: dict[str, Any] | None = None, annotations: Sequence[int] | None = None, **more: Any
) -> TrainingRun:
    config = TrainingConfig(**{"steps": 3, "batch": 2, "threads": 1, "device": "cpu", "learning_rate": 1e-3, **more})
    whole = VlaConfig.from_mapping({**SMALL, "state_token": True, **(structure or {})})
    return assemble(whole, config, dataset=data, annotations=annotations)


NOTHING = np.zeros((1, 3, 7), np.float32), np.ones((1, 3), bool)
STRUCTURES = (
    {},
    {"structure": "one_step", "head": "fc", "window": 1, "gripper_camera": True},
    {"structure": "interleaved", "head": "fc", "latent": 2},
    {"structure": "one_step", "head": "none", "window": 1, "action_space": "discrete", "norm": (-1.0, 1.0)},
)


@pytest.mark.parametrize("structure", STRUCTURES)
def test_a_subject_loss_asks_of_further_frames_where_the_named_block_is(
    data: Any, tmp_path: Path, structure: dict[str, Any]
) -> None:
    run = make_run(data, structure, subject_loss=0.5, scene_frames=6)
    items = run.items
    whole, halves = items.looks(3, (0, 1)), [items.looks(3, (rank, 2)) for rank in (0, 1)]
    for name in ("scene", "state", "subject"):
        parts = [getattr(half, name) for half in halves]
        if getattr(whole, name) is not None:
            torch.testing.assert_close(torch.stack(parts, 1).flatten(0, 1), getattr(whole, name))
    assert whole.subject.shape == (6, 3) and len(whole.text) == len(whole.text_mask) == 6
    places = whole.scene[:, 6:].reshape(-1, 3, 6)[..., :3]
    found = (whole.subject * 0.15 + whole.tool[:, :3])[:, None]
    nearest = (places - found).norm(dim=-1).min(-1)
    assert bool((nearest.values < 1e-5).all())
    texts = items._text([Item({}, *NOTHING, None, each.instruction) for each in data.annotations[:3]])[0].tolist()
    assert nearest.indices.tolist() == [texts.index(row) for row in whole.text.tolist()], "another block than is named"
    assert len(set(nearest.indices.tolist())) > 1
    before = {name: each.clone() for name, each in run.model.named_parameters() if "subject_head" in name}
    losses: list[dict[str, Any]] = []
    run.train(tmp_path, watch=losses.append)
    assert before and all(each["subject"] > 0 for each in losses)
    after = dict(run.model.named_parameters())
    assert all(not torch.equal(after[name], each) for name, each in before.items())
    with safe_open(tmp_path / "last" / "model.safetensors", "pt") as left:
        names = left.keys()
    assert names and not [name for name in names if "subject_head" in name]


def test_the_subject_is_read_from_the_row_that_acts(data: Any) -> None:
    """What the head is asked of a further frame is what it would read of a window with that frame and instruction."""
    from vla_bench.policies.vla.training.step import forward

    run = make_run(data, STRUCTURES[1], subject_loss=0.5, scene_frames=2)
    model, items = run.model.eval(), run.items
    seen: list[torch.Tensor] = []
    model.subject_head.register_forward_pre_hook(lambda module, given: seen.append(given[0]))
    read: list[torch.Tensor] = []
    model.act_head.register_forward_pre_hook(lambda module, given: read.append(given[0]))
    batch = items.batch([0, 1], [None, None])
    looks = items.looks(0, (0, 1))
    with torch.no_grad():
        forward(model, dataclasses.replace(batch, looks=looks))
        other = dataclasses.replace(
            batch,
            static=looks.static[:, None],
            gripper=None if looks.gripper is None else looks.gripper[:, None],
            text=looks.text,
            text_mask=looks.text_mask,
            state=looks.state,
        )
        forward(model, other)
    torch.testing.assert_close(seen[0], read[1].flatten(1))


def test_named_blocks_and_where_they_are_from_the_tool() -> None:
    from vla_bench.envs.calvin.tasks import TASKS
    from vla_bench.policies.vla.training.subject import named_block, subjects

    named = {task: named_block(task, ("red", "blue", "pink")) for task in TASKS}
    assert named["lift_red_block_table"] == 0 and named["push_blue_block_left"] == 1
    assert named["rotate_pink_block_right"] == 2 and named["lift_pink_block_drawer"] == 2
    assert named["stack_block"] is None and named["open_drawer"] is None
    assert sum(each is not None for each in named.values()) == 21
    scene = np.arange(48.0).reshape(2, 24)
    found = subjects(np.array([0, 2]), scene, np.array([[6.0, 7.0, 8.15], [0.0, 0.0, 0.0]]))
    np.testing.assert_allclose(found[0], [0.0, 0.0, -1.0], atol=1e-6)
    np.testing.assert_allclose(found[1] * 0.15, [42.0, 43.0, 44.0], rtol=1e-6)


def test_a_subject_loss_that_can_ask_nothing_says_so(data: Any) -> None:
    with pytest.raises(PolicyError, match=r"train\.subject_loss asks of further frames; type how many"):
        TrainingConfig(subject_loss=0.3)
    with pytest.raises(PolicyError, match=r"names, and of those trained on in .* none does; drop train\.subject_loss"):
        make_run(data, subject_loss=0.3, scene_frames=2, annotations=[3])


def test_blocks_are_counted_in_the_order_of_their_scene(data: Any) -> None:
    from vla_bench.policies.vla.training.subject import block_order, named_block

    def shown(*scenes: str | None) -> list[Any]:
        return [dataclasses.replace(data.annotations[0], scene=scene) for scene in scenes]

    assert block_order(shown("B", "D"), "set") == ("red", "blue", "pink")
    assert block_order(shown("A"), "set") == ("pink", "blue", "red")
    assert named_block("lift_red_block_table", block_order(shown("C"), "set")) == 1
    with pytest.raises(PolicyError, match="another order in each of the scenes A, D of set; train on one"):
        block_order(shown("D", "A"), "set")
    with pytest.raises(PolicyError, match="of which scene the frames of set are, and its annotations do not say"):
        block_order(shown(None), "set")
    with pytest.raises(PolicyError, match="another order"):
        make_run(subset(data, [*data.annotations[:2], *shown("A")]), subject_loss=0.3, scene_frames=2)

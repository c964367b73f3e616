"""What training shows the network is what the policy will see and undo."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from calvin_sets import write_set

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")
pytest.importorskip("accelerate")

from vla_bench.policies.vla.actions.commands import Prediction, commands  # noqa: E402
from vla_bench.policies.vla.backbones.small import Small  # noqa: E402
from vla_bench.policies.vla.config import VlaConfig  # noqa: E402
from vla_bench.policies.vla.training.assembly import assemble  # noqa: E402
from vla_bench.policies.vla.training.config import TrainingConfig  # noqa: E402

SMALL = {"backbone": "tiny", "hidden": 16, "window": 2, "chunk": 3, "gripper_camera": True}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_set(tmp_path_factory.mktemp("set"), count=1)


def items_of(data: Path, **structure):
    config = TrainingConfig(data=str(data), batch=2, device="cpu", threads=1)
    return replace(assemble(VlaConfig.from_mapping({**SMALL, **structure}), config).items, augment=False)


def test_each_camera_has_its_own_pixels(data: Path) -> None:
    items = items_of(data)
    batch, recipe = items.batch([0, 3], [None, None]), items.adapter.pixels
    for row, number in enumerate((0, 3)):
        frames = items.windows[number].first + np.arange(2)
        read = items.dataset.frames(frames, ["rgb_static", "rgb_gripper"])
        for pixels, camera in ((batch.static, "static"), (batch.gripper, "gripper")):
            wanted = [recipe(picture, items.structure.image_side(camera)) for picture in read[f"rgb_{camera}"]]
            torch.testing.assert_close(pixels[row], torch.stack(wanted))
    assert (batch.static - batch.gripper).abs().max() > 0.1, "they can be told apart"


@pytest.mark.parametrize("frame", ["world", "tcp"])
def test_the_policy_undoes_what_training_did_to_actions(data: Path, frame: str) -> None:
    """Scaling and then companding, at last the tool's frame; bounds that clip nothing."""
    items = items_of(data, norm=(-1.5, 2.5), mu_law=255.0, action_frame=frame)
    first = items.windows[0].first
    read = items.dataset.frames(first + np.arange(3), ["rel_actions", "robot_obs"])
    assert np.abs(read["rel_actions"][:, :6]).max() > 0.05
    label = items.item(0).actions[0].astype(np.float64)
    said = Prediction(label[:, :6], (label[:, 6] + 1) / 2, 0.5)
    undone = commands(said, items.structure, execute=3, robot_state=read["robot_obs"][0])
    np.testing.assert_allclose(undone, read["rel_actions"], atol=2e-3 if frame == "tcp" else 1e-5)


@pytest.mark.parametrize("shifts", ["window", "frame", "released"])
@pytest.mark.parametrize("compat", ["none", "released"])
@pytest.mark.parametrize("both", [True, False])
def test_a_batch_is_its_windows_one_by_one(data: Path, shifts: str, compat: str, both: bool) -> None:
    """Whatever is drawn, by seeds and by torch's own generator, and last windows that reach beyond their end."""
    made = items_of(data, gripper_camera=both)
    drawn = replace(made.training, shifts=shifts, compat=compat, colour=0.3, rgb_pad=3, gripper_pad=2)
    items = replace(made, training=drawn, augment=True)
    numbers, seeds = [3, 0, len(items) - 1], [5, 6, 7]
    together = items.batch(numbers, seeds).tensors()
    apart = items.collate([items.item(number, seed) for number, seed in zip(numbers, seeds, strict=True)]).tensors()
    assert together.keys() == apart.keys()
    for name, value in together.items():
        torch.testing.assert_close(value, apart[name], atol=0, rtol=0)
    plain = replace(items, augment=False).batch(numbers, seeds)
    assert not torch.equal(plain.static, together["static"])
    torch.manual_seed(1)
    together = items.batch(numbers, [None] * 3)
    torch.manual_seed(1)
    apart = items.collate([items.item(number) for number in numbers])
    torch.testing.assert_close(together.static, apart.static, atol=0, rtol=0)
    assert not torch.equal(together.static, plain.static)


@pytest.mark.parametrize("shape", [(20, 20), (20, 30), (17, 17)])
def test_many_pictures_are_each_as_one_alone(shape: tuple[int, int]) -> None:
    recipe = Small.pixels
    pictures = np.random.default_rng(0).integers(0, 256, (3, *shape, 3), dtype=np.uint8)
    wanted = torch.stack([recipe(picture, 20) for picture in pictures])
    torch.testing.assert_close(recipe.many(pictures, 20), wanted, atol=0, rtol=0)

"""Which camera goes where on its way into a network: the gripper's first, each through its own way in."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

from vla_models import engine  # noqa: E402


@pytest.mark.parametrize("gripper_size", [None, 14])
def test_the_gripper_camera_comes_first_and_neither_is_taken_for_the_other(gripper_size) -> None:
    """Images of one size go through the encoder together, others one after another."""
    made = engine("one_step", model={"gripper_image_size": gripper_size})
    model, recipe, asked = made.model, made.model.adapter.pixels, []
    shades = {"static": 40, "gripper": 200}
    seen = {f"rgb_{name}": np.full((30, 30, 3), shade, np.uint8) for name, shade in shades.items()}
    model.encode_images = lambda pixels, camera="static": asked.append(pixels) or pixels.mean((1, 2, 3))[:, None, None]
    made.reset(0, "push")
    made._frames([made._slots[0]], [seen])
    tokens = model.encode_frames(
        *(recipe(seen[f"rgb_{name}"], made.config.image_side(name))[None] for name in ("static", "gripper"))
    )
    static, gripper = (recipe(seen[f"rgb_{name}"], 8).mean().item() for name in ("static", "gripper"))
    assert tokens.flatten().tolist() == pytest.approx([gripper, static], abs=1e-4)
    first = torch.cat([pixels.mean((1, 2, 3)) for pixels in asked[: len(asked) // 2]])
    assert first.tolist() == pytest.approx([gripper, static], abs=1e-4), "as the engine hands them on"

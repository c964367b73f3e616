"""The small backbone: its words, its two cameras, and that it survives being saved."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

from vla_models import engine, observation, options  # noqa: E402

from vla_bench.envs.calvin.builtin.instructions import instructions  # noqa: E402
from vla_bench.policies.vla.actions.tokenizer import ActionTokens  # noqa: E402
from vla_bench.policies.vla.backbones.small import Small  # noqa: E402
from vla_bench.policies.vla.backbones.tokenizers import load_tokenizer  # noqa: E402
from vla_bench.policies.vla.checkpoints import save  # noqa: E402
from vla_bench.policies.vla.engine import Engine  # noqa: E402

SIZES = {"backbone": "small", "image_size": 100, "gripper_image_size": 42, "window": 1}


def test_every_word_of_an_instruction_is_one_token() -> None:
    tokenizer = Small.tiny_tokenizer()
    for text in instructions().values():
        assert len(tokenizer(text).input_ids) == len(text.split()) + 2


def test_other_words_are_spelled(tmp_path: Path) -> None:
    tokenizer = Small.tiny_tokenizer()
    tokenizer.save_pretrained(tmp_path)
    text = "open the Quaint drawers, é"
    for made in (tokenizer, load_tokenizer(tmp_path)):
        ids = made(text).input_ids
        assert made.decode(ids, skip_special_tokens=True).strip() == text
        assert made.unk_token_id not in ids
        # Action tokens stand where no text does.
        assert max(ids) < ActionTokens.for_tokenizer(made).begin


def test_cameras_have_eyes_of_their_own() -> None:
    made = engine("one_step", model=SIZES)
    model = made.model
    static, gripper = torch.rand(2, 3, 100, 100), torch.rand(2, 3, 42, 42)
    tokens = model.encode_frames(static, gripper)
    assert tokens.shape == (2, 2, 8, 128)
    other = model.encode_frames(static, torch.rand(2, 3, 42, 42))
    assert torch.equal(other[:, 1], tokens[:, 1])
    assert not torch.allclose(other[:, 0], tokens[:, 0])
    assert not torch.allclose(model.encode_images(gripper), model.encode_images(gripper, "gripper"))


def test_black_images_are_encoded_once() -> None:
    sees = engine("one_step", model=SIZES).model
    blind = engine("one_step", model={**SIZES, "blind": True}).model
    static, gripper = torch.full((3, 3, 100, 100), -2.0), torch.full((3, 3, 42, 42), -2.0)
    torch.testing.assert_close(blind.encode_frames(static, gripper), sees.encode_frames(static, gripper))


def test_tokens_follow_what_moves() -> None:
    model = engine("one_step", model=SIZES).model
    dark = torch.zeros(1, 3, 100, 100)
    left, right = dark.clone(), dark.clone()
    left[..., 40:48, 8:16] = 1.0
    right[..., 40:48, 72:80] = 1.0
    assert (model.encode_images(left) - model.encode_images(right)).abs().max() > 0.01


def test_saved_and_loaded(tmp_path: Path) -> None:
    made = engine("one_step", model=SIZES)
    save(tmp_path, made.model, made.config, made.tokenizer)
    again = Engine.from_options(options("one_step", model=SIZES, checkpoint=str(tmp_path)))
    for policy in (made, again):
        policy.reset(0, "lift the red block")
    one, other = (policy.act([0], [observation(1)])[0] for policy in (made, again))
    # Mapped weights lie otherwise in memory, which may change the last bit.
    np.testing.assert_allclose(one, other, atol=1e-5, rtol=0)

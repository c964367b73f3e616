"""Losses: masks, weights, sums, and the optional heads."""

from __future__ import annotations

import math

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from vla_bench.policies.vla.actions.tokenizer import ActionTokens, BinClassifier  # noqa: E402
from vla_bench.policies.vla.clip_text import ClipTextHead  # noqa: E402
from vla_bench.policies.vla.config import VlaConfig  # noqa: E402
from vla_bench.policies.vla.heads.base import HeadOutput  # noqa: E402
from vla_bench.policies.vla.losses import (  # noqa: E402
    IGNORE,
    action_losses,
    bin_losses,
    sum_by_source,
    token_losses,
    total_loss,
)
from vla_bench.policies.vla.token_targets import token_targets  # noqa: E402


def test_masked_steps_do_not_count() -> None:
    arm = torch.zeros(1, 1, 2, 6)
    arm[0, 0, 1] = 100.0
    output = HeadOutput(arm=arm, gripper=torch.zeros(1, 1, 2, 1))
    target, opens = torch.full((1, 1, 2, 6), 0.5), torch.tensor([[[1.0, 0.0]]])
    mask = torch.tensor([[[1, 0]]])
    losses = action_losses(output, target, opens, mask)
    assert losses["arm"].item() == pytest.approx(0.5 * 0.5**2)
    assert losses["gripper"].item() == pytest.approx(math.log(2))
    assert losses["gripper_accuracy"].item() == 0.0
    assert action_losses(output, target, opens, mask, arm_loss="mse")["arm"].item() == pytest.approx(0.25)
    # Beyond a distance of 1 the loss grows linearly.
    assert action_losses(output, target, opens)["arm"].item() == pytest.approx((0.125 + 99.0) / 2)
    with pytest.raises(ValueError, match="unknown arm_loss"):
        action_losses(output, target, opens, arm_loss="l1")


def test_bins_find_their_labels() -> None:
    bins = BinClassifier(4)
    arm, opens = torch.tensor([[[[-0.9, -0.4, 0.1, 0.6, 0.9, -0.9]]]]), torch.tensor([[[1.0]]])
    logits = torch.zeros(1, 1, 1, 7, 4)
    for number, label in enumerate([0, 1, 2, 3, 3, 0, 3]):
        logits[0, 0, 0, number, label] = 50.0
    losses = bin_losses(HeadOutput(bins=logits), arm, opens, bins)
    assert losses["arm"].item() == pytest.approx(0.0, abs=1e-6)
    assert losses["gripper"].item() == pytest.approx(0.0, abs=1e-6)
    assert losses["arm_accuracy"].item() == losses["gripper_accuracy"].item() == 1.0
    even = bin_losses(HeadOutput(bins=torch.zeros_like(logits)), arm, opens, bins)
    assert even["arm"].item() == pytest.approx(math.log(4))


def test_token_losses_count_kept_labels() -> None:
    tokens = ActionTokens(end=30, bins=16)
    labels = torch.full((1, 10), IGNORE)
    labels[0, 2:9] = torch.arange(20, 27)
    labels[0, 9] = 2
    logits = torch.zeros(1, 10, 32)
    logits[0, torch.arange(1, 8), torch.arange(20, 27)] = 50.0
    losses = token_losses(logits, labels, tokens)
    # Seven action tokens are certain, the stop token is a guess among 32.
    assert losses["arm"].item() == pytest.approx(math.log(32) / 8, rel=1e-5)
    assert losses["arm_accuracy"].item() == losses["gripper_accuracy"].item() == 1.0
    assert losses["action_l1"].item() == 0.0


def test_sums() -> None:
    one = torch.tensor(1.0)
    assert total_loss({"arm": one, "gripper": one, "gripper_accuracy": one}).item() == pytest.approx(1.01)
    assert total_loss({"arm": one, "clip_text": one}).item() == pytest.approx(1.05)
    assert total_loss({"vl_cotrain": one}, VlaConfig(action_space="discrete")).item() == pytest.approx(0.5)
    heavier = VlaConfig(gripper_loss_ratio=0.1)
    assert total_loss({"arm": one, "gripper": one}, heavier).item() == pytest.approx(1.1)
    by_source = sum_by_source({"calvin_action": {"arm": one}, "vl_pretrain": {"vl_cotrain": one}})
    assert by_source["calvin_action"].item() == 1.0
    assert by_source["total"].item() == pytest.approx(1.05)
    with pytest.raises(ValueError, match="no loss among accuracy"):
        total_loss({"accuracy": one})


def test_clip_text_head_pulls_features_towards_the_text() -> None:
    torch.manual_seed(0)
    head = ClipTextHead(8, clip_width=4)
    tokens = [torch.randn(3, 8), torch.randn(5, 8)]
    text = torch.nn.functional.normalize(torch.randn(2, 4), dim=-1)
    with torch.no_grad():
        said = head.lang_fc(torch.stack([frame.max(dim=0).values for frame in tokens]))
    assert head(tokens, said).item() == 0.0
    assert head(tokens, text).item() > 0.0


def test_token_rows_without_a_stop_token() -> None:
    tokens = ActionTokens(end=300)
    chunks, inside = np.zeros((1, 2, 7)), np.array([[1, 0]])
    with_stop = token_targets([5, 6, 2], chunks, inside, tokens, predict_stop="never")
    without = token_targets([5, 6], chunks, inside, tokens, ends_in_stop=False)
    assert with_stop[0][0].tolist() == [5, 6, *[172] * 14, 2]
    assert without[0][0].tolist() == [5, 6, *[172] * 14]
    assert with_stop[1][0].tolist() == [IGNORE, IGNORE, *[172] * 7, *[IGNORE] * 8]
    assert without[1][0].tolist() == [IGNORE, IGNORE, *[172] * 7, *[IGNORE] * 7]

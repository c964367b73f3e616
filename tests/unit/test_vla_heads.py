"""Heads on a processor that lacks what the one before had."""

from __future__ import annotations

import pytest
import torch

from vla_bench.policies.errors import PolicyError
from vla_bench.policies.vla.config import VlaConfig
from vla_bench.policies.vla.heads import ActionHead, build_head, recurrent


def head_and_features() -> tuple[recurrent.LstmHead, torch.Tensor]:
    torch.manual_seed(0)
    config = VlaConfig(structure="policy_head", head="lstm", window=4, hidden=16, lstm_layers=2)
    return recurrent.LstmHead(config, 8).eval(), torch.randn(2, 4, 8 * config.latent)


@pytest.fixture(params=[True, False], ids=["able", "unable"])
def without_bfloat16(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the processor is able it takes its own way, unless told that it is not."""
    if not request.param:
        monkeypatch.setattr(recurrent, "bfloat16_on_cpu", lambda: False)


@pytest.mark.usefixtures("without_bfloat16")
def test_an_lstm_under_autocast_is_trained_near_float32() -> None:
    head, features = head_and_features()
    exact = head.trunk(features)
    exact.sum().backward()
    expected = {name: weight.grad.clone() for name, weight in head.rnn.named_parameters()}
    head.zero_grad()
    with torch.autocast("cpu", torch.bfloat16):
        found = head.trunk(features)
    found.float().sum().backward()
    assert found.dtype == torch.bfloat16
    torch.testing.assert_close(found.float(), exact, atol=0.02, rtol=0)
    for name, weight in head.rnn.named_parameters():
        assert weight.dtype == weight.grad.dtype == torch.float32
        scale = expected[name].abs().max()
        torch.testing.assert_close(weight.grad / scale, expected[name] / scale, atol=0.05, rtol=0)


@pytest.mark.usefixtures("without_bfloat16")
def test_an_lstm_of_bfloat16_weights_answers_in_bfloat16() -> None:
    head, features = head_and_features()
    with torch.no_grad():
        exact = head.trunk(features)
        found = head.bfloat16().trunk(features.bfloat16())
    assert found.dtype == torch.bfloat16
    torch.testing.assert_close(found.float(), exact, atol=0.03, rtol=0)


def test_an_lstm_of_float32_is_the_library_s() -> None:
    head, features = head_and_features()
    assert torch.equal(head.trunk(features), head.rnn(features)[0])


def reading_all(latent: int) -> ActionHead:
    config = VlaConfig(structure="one_step", head="fc", window=1, hidden=16, readout="all", latent=latent)
    head = build_head(config, 8)
    assert head is not None
    return head


def test_all_tokens_are_read_side_by_side() -> None:
    head, tokens = reading_all(5), torch.randn(3, 4, 8)
    read = head.read(tokens)
    assert read.shape == (3, head.feature_size) == (3, 40)
    assert torch.equal(read[:, 8:].unflatten(1, (4, 8)), tokens) and not read[:, :8].any()
    assert torch.equal(head.read(tokens[:, 2:])[:, 24:], read[:, 24:])  # the last one has its place, however many come
    assert head(read.unsqueeze(1)).arm.shape == (3, 1, 10, 6)


def test_more_tokens_than_there_is_room_for_are_told() -> None:
    with pytest.raises(PolicyError, match=r"room for latent=3 .* has 4; train it with policy\.model\.latent=4"):
        reading_all(3).read(torch.randn(1, 4, 8))
    with pytest.raises(PolicyError, match="set head=fc or head=lstm"):
        VlaConfig(head="gpt", readout="all")

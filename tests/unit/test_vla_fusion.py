"""Rows of a batch are what each is alone, in the order in which they were given."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")

from vla_bench.policies.vla.fusion import PADDING, Frame, Layout, join  # noqa: E402

WIDTH, LATENT = 4, 2


def frame(generator: torch.Generator, length: int, state: bool) -> Frame:
    def drawn(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, WIDTH, generator=generator, requires_grad=True)

    mask = torch.ones(length, dtype=torch.int64)
    mask[length // 2] = 0
    return Frame(drawn(length), mask, drawn(2, 3), drawn() if state else None)


@pytest.mark.parametrize("layout", ["frames", "video"])
@pytest.mark.parametrize("cross", [False, True])
@pytest.mark.parametrize("latent", [0, LATENT])
def test_rows_do_not_know_their_neighbours(layout: str, cross: bool, latent: int) -> None:
    generator = torch.Generator().manual_seed(0)
    action = torch.randn(latent, WIDTH, generator=generator) if latent else None
    lengths = [(5, 7), (4, 4), (5, 7), (9,), (4, 4), (7, 5), (9,)]  # alike ones apart from one another
    rows = [[frame(generator, length, number != 1) for length in each] for number, each in enumerate(lengths)]
    of = Layout(1, 1, layout, cross_attention=cross, mask_inserted=cross, state_added=not cross)
    batch = join(rows, of, action)
    assert len(batch.embeds) == len(rows)
    for number, row in enumerate(rows):
        alone = join([row], of, action)
        length = alone.embeds.shape[1]
        for name in ("embeds", "mask", "kinds", "frame"):
            whole, own = getattr(batch, name)[number], getattr(alone, name)[0]
            assert whole.dtype == own.dtype
            assert torch.equal(whole[:length], own), name
        assert (batch.kinds[number, length:] == PADDING).all()
        assert not batch.embeds[number, length:].any()
        assert not batch.mask[number, length:].any()
        assert batch.frames[number] == alone.frames[0]
    (batch.embeds * torch.arange(1.0, len(rows) + 1)[:, None, None]).sum().backward()
    for number, row in enumerate(rows):
        text = row[-1].text.grad  # of a video, the newest frame's prompt alone is read
        torch.testing.assert_close(text, torch.full_like(text, number + 1.0))

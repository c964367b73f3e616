"""Every backbone, built tiny, through every structure: a training step, and a rollout of several slots."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

from vla_models import INSTRUCTIONS, STRUCTURES, engine, observation  # noqa: E402

from vla_bench.policies.vla.actions.tokenizer import ActionTokens  # noqa: E402
from vla_bench.policies.vla.backbones import BACKBONES  # noqa: E402
from vla_bench.policies.vla.build import Built  # noqa: E402
from vla_bench.policies.vla.engine import Engine  # noqa: E402
from vla_bench.policies.vla.fusion import pad_text  # noqa: E402
from vla_bench.policies.vla.losses import IGNORE  # noqa: E402
from vla_bench.policies.vla.training.step import TrainingBatch, training_losses  # noqa: E402

SCHEDULE = ([0], [0, 1], [2, 0, 1], [1, 2], [2, 1, 0])
"""Which slots decide together: batches of one to three with histories of different length."""


def training_batch(made: Engine) -> TrainingBatch:
    """Two windows of random frames with prompts of different length."""
    config, random = made.config, torch.Generator().manual_seed(5)
    shape = (2, config.window)
    pixels = torch.rand(2, *shape, 3, 28, 28, generator=random)
    target = torch.rand(*shape, config.chunk, 6, generator=random) * 2 - 1
    opens = (torch.rand(*shape, config.chunk, generator=random) > 0.5).float()
    prompts = [made.prompt(text)[0] for text in INSTRUCTIONS[:2]]
    ids, mask = pad_text(prompts, made.tokenizer.pad_token_id)
    labels = None
    if config.generates_tokens:
        tokens = ActionTokens.for_tokenizer(made.tokenizer)
        actions = torch.cat([target, 2 * opens.unsqueeze(-1) - 1], dim=-1).flatten(2)
        wanted = torch.from_numpy(tokens.encode(actions.numpy()))
        ids = torch.cat([ids[:, None].expand(-1, config.window, -1), wanted], dim=-1)
        mask = torch.cat([mask[:, None].expand(-1, config.window, -1), torch.ones_like(wanted)], dim=-1)
        labels = torch.full_like(ids, IGNORE)
        labels[..., -wanted.shape[-1] :] = wanted
    return TrainingBatch(
        static=pixels[0],
        gripper=pixels[1],
        text=ids,
        text_mask=mask,
        state=torch.rand(*shape, 7, generator=random),
        arm_target=target,
        gripper_target=opens,
        chunk_mask=torch.ones(*shape, config.chunk),
        labels=labels,
    )


@pytest.mark.parametrize("structure", STRUCTURES)
@pytest.mark.parametrize("backbone", [name for name in BACKBONES if name != "tiny"])
def test_structure(backbone: str, structure: str) -> None:
    exact = engine(structure, model={"backbone": backbone})
    fast = Engine(Built(exact.model, exact.tokenizer), dataclasses.replace(exact.options, batching="fast"))
    commands = [rollout(made) for made in (exact, fast)]
    for alone, together in zip(*commands, strict=True):
        assert alone.shape == (1, 7)
        assert np.abs(alone).max() <= 1.0
        np.testing.assert_allclose(together, alone, atol=1e-5, rtol=0)

    model = exact.model.requires_grad_(True)
    batch = training_batch(exact)
    tokens = ActionTokens.for_tokenizer(exact.tokenizer)
    # Small steps: the weights are made large, so that every input shows.
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-4)
    before = training_losses(model, batch, tokens=tokens)["total"]
    before.backward()
    if hasattr(model, "action_token"):
        assert model.action_token.grad.abs().sum() > 0
    moved = [p.grad.abs().sum() for p in model.backbone.parameters() if p.grad is not None]
    assert sum(moved) > 0
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()
    after = training_losses(model, batch, tokens=tokens)["total"]
    assert after.item() < before.item()


def rollout(made: Engine) -> list[np.ndarray]:
    for slot, instruction in enumerate(INSTRUCTIONS):
        made.reset(slot, instruction)
    seen = [0, 0, 0]
    commands = []
    for slots in SCHEDULE:
        shown = [observation(100 * slot + seen[slot]) for slot in slots]
        for slot in slots:
            seen[slot] += 1
        chunks = dict(zip(slots, made.act(slots, shown), strict=True))
        commands += [chunks[slot] for slot in sorted(slots)]
    return commands

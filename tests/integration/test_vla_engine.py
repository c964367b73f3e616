"""Slots: their histories, and that a slot's numbers do not depend on the others."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

from torch._dynamo.utils import counters  # noqa: E402
from vla_models import INSTRUCTIONS, STRUCTURES, engine, observation, options  # noqa: E402

from vla_bench.envs.simulation import EnvironmentSpec  # noqa: E402
from vla_bench.policies.errors import PolicyError  # noqa: E402
from vla_bench.policies.vla.build import Built, build, compile_layers, device_named, dtype_named  # noqa: E402
from vla_bench.policies.vla.engine import Engine  # noqa: E402
from vla_bench.policies.vla.policy import VlaPolicy  # noqa: E402

TOGETHER = (16, 1, 7, 2, 16, 7)
"""How many of sixteen slots decide at once, round after round: their histories differ in length."""


def rounds() -> list[list[int]]:
    random = np.random.default_rng(1)
    return [random.permutation(16)[:size].tolist() for size in TOGETHER]


def decisions(made: Engine, together: Sequence[Sequence[int]]) -> dict[int, list[np.ndarray]]:
    """What every slot commands, decision after decision, in that company."""
    commands: dict[int, list[np.ndarray]] = {slot: [] for slots in together for slot in slots}
    for slot in commands:
        made.reset(slot, INSTRUCTIONS[slot % 3])
    for slots in together:
        shown = [observation(100 * slot + len(commands[slot])) for slot in slots]
        for slot, chunk in zip(slots, made.act(slots, shown), strict=True):
            commands[slot].append(chunk)
    return commands


@pytest.mark.parametrize("structure", STRUCTURES)
def test_batched_like_one_by_one(structure: str) -> None:
    exact = engine(structure)
    fast = Engine(Built(exact.model, exact.tokenizer), dataclasses.replace(exact.options, batching="fast"))
    alone = decisions(exact, [[slot] for slots in rounds() for slot in slots])
    said = {chunk[0, :6].round(6).tobytes() for chunks in alone.values() for chunk in chunks}
    assert len(said) > (1 if exact.config.action_space == "discrete" else 16)
    batched = decisions(exact, rounds())
    padded = decisions(fast, rounds())
    for slot, chunks in alone.items():
        assert np.array_equal(batched[slot], chunks)
        np.testing.assert_allclose(padded[slot], chunks, atol=1e-5, rtol=0)


def test_reset_forgets() -> None:
    made = engine("policy_head_lstm")
    first = decisions(made, [[0]] * 6)[0]
    assert np.array_equal(decisions(made, [[0]] * 6)[0], first)
    made.reset(0, INSTRUCTIONS[0])
    made.act([0], [observation(7)])
    (after,) = made.act([0], [observation(0)])
    made.reset(0, INSTRUCTIONS[0])
    (fresh,) = made.act([0], [observation(0)])
    assert (fresh == first[0]).all()
    assert (after != fresh).any()


def test_the_instruction_the_window_and_both_cameras_count() -> None:
    made = engine("interleaved")

    def last(instruction: str, shown: Sequence[dict[str, np.ndarray]]) -> np.ndarray:
        made.reset(0, instruction)
        for each in shown:
            (chunk,) = made.act([0], [each])
        return chunk

    frames = [observation(seed) for seed in range(5)]
    said = last("push", frames)
    assert (last("pull", frames) != said).any()
    # The window is three frames long: the first two of five are forgotten.
    assert (last("push", frames[2:]) == said).all()
    assert (last("push", frames[3:]) != said).any()
    for camera in ("rgb_static", "rgb_gripper"):
        changed = {**frames[4], camera: frames[4][camera] // 2}
        assert (last("push", [*frames[:4], changed]) != said).any()


def test_what_the_released_evaluation_shows() -> None:
    def lengths(structure: str, **more: Any) -> list[int]:
        made = engine(structure, **more)
        made.reset(0, "push")
        for seed in range(3):
            made.act([0], [observation(seed)])
        return [len(made._slots[0].frames), made._slots[0].frames.maxlen]

    for structure in ("video", "interleaved", "interleaved_tokens"):
        assert lengths(structure) == [3, 3]
    assert lengths("video", compat="released") == [1, 1]
    assert lengths("interleaved", compat="released") == [3, 3]
    assert lengths("interleaved_tokens", compat="released") == [3, 3]
    assert lengths("interleaved_tokens", compat="released", model={"released_window": False}) == [1, 1]


def test_state_token_counts() -> None:
    made = engine("state_token")
    chunks = []
    for gripper in (-1.0, 1.0):
        shown = observation(0)
        shown["robot_obs"][14] = gripper
        made.reset(0, "push")
        chunks.append(made.act([0], [shown])[0])
    assert (chunks[0] != chunks[1]).any()


def test_executed_chunk_and_ensemble() -> None:
    single = engine("policy_head_lstm")
    double = engine("policy_head_lstm", execute=2)
    averaged = engine("policy_head_lstm", ensemble=0.01)
    for made in (single, double, averaged):
        made.reset(0, "push")
    first = [made.act([0], [observation(0)])[0] for made in (single, double, averaged)]
    assert first[1].shape == (2, 7)
    assert (first[1][:1] == first[0]).all() and (first[2] == first[0]).all()
    second = [made.act([0], [observation(1)])[0] for made in (single, averaged)]
    weights = np.exp(-0.01 * np.arange(2))
    expected = np.average([first[1][1, :6], second[0][0, :6]], axis=0, weights=weights)
    np.testing.assert_allclose(second[1][0, :6], expected, rtol=1e-5)


def test_generated_tokens_are_action_tokens_unless_released() -> None:
    intended, released = (engine("interleaved_tokens", compat=compat) for compat in ("intended", "released"))
    for made in (intended, released):
        made.reset(0, "push")
        for seed in range(3):
            made.act([0], [observation(seed)])
    ids = intended.last(0)["generated_ids"]
    assert len(ids) == 14
    assert ((ids > intended._tokens.begin) & (ids < intended._tokens.end)).all()
    assert len(released.last(0)["generated_ids"]) == 7


def test_question_prompt_is_an_option() -> None:
    plain, asking = engine(), engine(model={"prompt": "question", "question_steps": 10})
    released = engine(model={"prompt": "question"}, compat="released")
    text = asking.tokenizer.decode(asking.prompt("push")[0])
    assert "What 10 step actions should the robot take to push?" in text
    assert plain.tokenizer.decode(released.prompt("push")[0]) == plain.tokenizer.decode(plain.prompt("push")[0])


def test_lower_precision_runs() -> None:
    made = Engine.from_options(options("policy_head_gpt", dtype="bfloat16"))
    assert {p.dtype for p in made.model.parameters()} == {torch.bfloat16}
    made.reset(0, "push")
    assert made.act([0], [observation(0)])[0].dtype == np.float32


def test_compiled_layers_decide_alike() -> None:
    plain, compiled = (engine(batching="fast") for _ in range(2))
    compile_layers(compiled.model, backend="eager")  # traced in full, without the minute a compiler takes
    assert list(plain.model.state_dict()) == list(compiled.model.state_dict())
    traced = counters["stats"]["unique_graphs"]
    for seed in range(2):
        answers = []
        for made in (plain, compiled):
            for slot in range(3 - seed):
                made.reset(slot, INSTRUCTIONS[slot])
            slots = list(range(3 - seed))
            answers.append(made.act(slots, [observation(seed + slot) for slot in slots]))
        np.testing.assert_allclose(answers[0], answers[1], atol=1e-5)
    assert counters["stats"]["unique_graphs"] > traced


def test_compiling_goes_with_fast_batching() -> None:
    with pytest.raises(PolicyError, match=r"policy\.compile=true .* add policy\.batching=fast"):
        options(compile=True)
    assert options(compile=True, batching="fast").spec().switches["compile"] == "true"


@pytest.mark.skipif(torch.cuda.is_available(), reason="a GPU is here")
def test_graphs_need_a_gpu() -> None:
    with pytest.raises(PolicyError, match=r"policy\.device=cpu; type policy\.device=cuda"):
        options(compile="graphs", batching="fast")
    with pytest.raises(PolicyError, match="compile=graphs needs a GPU, and none is found"):
        Engine.from_options(options(compile="graphs", batching="fast", device="auto"))
    with pytest.raises(PolicyError, match="must be true, false or graphs"):
        options(compile="fully", batching="fast")


def test_random_weights_repeat() -> None:
    one, two, other = (build(options(model={"structure": "policy_head"}).model, seed=seed).model for seed in (4, 4, 5))
    same = [torch.equal(a, b) for a, b in zip(one.state_dict().values(), two.state_dict().values(), strict=True)]
    assert all(same)
    assert not torch.equal(one.act_head.rnn.weight_hh_l0, other.act_head.rnn.weight_hh_l0)


@pytest.mark.skipif(torch.cuda.is_available(), reason="a GPU is here")
def test_absent_gpu() -> None:
    with pytest.raises(PolicyError, match=r"no GPU is found here; type policy\.device=cpu"):
        device_named("cuda")
    assert device_named("auto").type == "cpu"


def test_unknown_device_and_dtype() -> None:
    with pytest.raises(PolicyError, match="unknown device 'gpu'"):
        device_named("gpu")
    if not torch.backends.mps.is_available():
        with pytest.raises(PolicyError, match="no GPU of Apple's here"):
            device_named("mps")
    with pytest.raises(PolicyError, match="float32, bfloat16, float16"):
        dtype_named("fp16")


def test_unknown_backbone() -> None:
    with pytest.raises(PolicyError, match="Did you mean 'kosmos2'"):
        build(dataclasses.replace(options().model, backbone="kosmos"), seed=0)


def test_backbone_folder_of_another_model(tmp_path) -> None:  # type: ignore[no-untyped-def]
    from transformers import LlavaConfig

    config = options().model
    with pytest.raises(PolicyError, match="backbone_path="):
        build(config, seed=0, backbone_path=tmp_path)
    LlavaConfig().save_pretrained(tmp_path)
    with pytest.raises(PolicyError, match="type 'llava'"):
        build(config, seed=0, backbone_path=tmp_path)


def test_gpt_head_with_more_latents_than_it_can_read() -> None:
    with pytest.raises(PolicyError, match="needs hidden=32"):
        engine("policy_head_gpt", model={"latent": 2})
    with pytest.raises(PolicyError, match="8 attention heads"):
        engine("policy_head_gpt", model={"hidden": 12})


def test_policy_face() -> None:
    plain = options("one_step")
    policy = VlaPolicy(EnvironmentSpec("calvin", (), {}, 30.0), seed=1, model=plain.model.to_mapping(), execute=2)
    policy.reset(0, "push", None)
    (chunk,) = policy.act([0], [observation(0)])
    assert chunk.shape == (2, 7)
    engine_made = Engine(Built(policy._engine.model, policy._engine.tokenizer), plain)
    engine_made.reset(0, "push")
    assert (engine_made.act([0], [observation(0)])[0] == chunk[:1]).all()
    policy.close()
    with pytest.raises(RuntimeError, match="closed"):
        policy.act([0], [observation(0)])

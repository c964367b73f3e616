"""Prompts, action arithmetic, image preprocessing and the resampler against the original's."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

from safetensors.torch import load_file  # noqa: E402
from vla_recordings import FOLDER, needs_recordings, read_json  # noqa: E402

from vla_bench.policies.vla.actions.chunks import sliding_chunks  # noqa: E402
from vla_bench.policies.vla.actions.frames import rotation_vectors  # noqa: E402
from vla_bench.policies.vla.actions.normalisation import inverse_mu_law, mu_law, normalise, unnormalise  # noqa: E402
from vla_bench.policies.vla.actions.tokenizer import ActionTokens  # noqa: E402
from vla_bench.policies.vla.backbones.tokenizers import load_tokenizer  # noqa: E402
from vla_bench.policies.vla.images import PixelRecipe  # noqa: E402
from vla_bench.policies.vla.prompts import CAPTION_PROMPTS, QUESTION_PROMPTS, question_prompt  # noqa: E402
from vla_bench.policies.vla.resampler import PerceiverResampler  # noqa: E402
from vla_bench.policies.vla.token_targets import token_targets  # noqa: E402

pytestmark = needs_recordings


def test_caption_prompts() -> None:
    recorded = read_json("prompts.json")["continuous_text_fn"]
    for style, prompt in CAPTION_PROMPTS.items():
        assert prompt.text(" open the drawer ", bos="<BOS>", eos="<EOS>") == recorded[style]["text"][0]
        assert prompt.add_special_tokens == recorded[style]["kw"].get("add_special_tokens", True)


def test_question_prompts() -> None:
    recorded = read_json("prompts.json")["discrete_prompt_builder"]
    builders = {"kosmos": "phi", **{style: style for style in QUESTION_PROMPTS if style != "phi"}}
    for model, style in builders.items():
        assert question_prompt(style, "open the drawer", 11, eos="<EOS>") == recorded[model]["prompt"]


def test_action_tokens() -> None:
    recorded = read_json("action_tokenizer.json")
    tokens = ActionTokens(recorded["kosmos2"]["tokenizer_orig_size"])
    assert tokens.begin == recorded["kosmos2"]["action_token_begin_idx"]
    assert tokens.encode(np.array(recorded["x"])).tolist() == recorded["ids"]
    np.testing.assert_allclose(tokens.decode(np.array(recorded["ids"])), recorded["decoded"], rtol=0, atol=1e-15)
    for token, value in recorded["decode_out_of_range"].items():
        assert tokens.decode(np.array([int(token)]))[0] == pytest.approx(value)


def test_action_scaling() -> None:
    recorded = read_json("action_ops.json")
    actions = np.array(recorded["a"])
    np.testing.assert_allclose(normalise(actions), recorded["normalize_065"], atol=1e-7)
    np.testing.assert_allclose(unnormalise(actions, gripper_too=True), recorded["unnormalize_065_default"], atol=1e-7)
    np.testing.assert_allclose(mu_law(actions[0]), recorded["mu_law_1d"], atol=1e-7)
    np.testing.assert_allclose(inverse_mu_law(actions[0]), recorded["inv_mu_law_1d"], atol=1e-7)
    # On two axes the original keeps the last row instead of the gripper's column; ours keeps the column.
    np.testing.assert_allclose(mu_law(actions)[:2, :6], np.array(recorded["mu_law_2d"])[:2, :6], atol=1e-7)
    assert (mu_law(actions)[:, 6] == actions[:, 6]).all()


def test_chunks() -> None:
    recorded = np.array(read_json("chunking.json")["chunk"])
    windows, window, chunk, size = recorded.shape
    actions = np.concatenate([recorded[:, :, 0], recorded[:, -1, 1:]], axis=1)
    assert actions.shape == (windows, window + chunk - 1, size)
    np.testing.assert_array_equal(sliding_chunks(actions, window, chunk), recorded)


def test_rotation_vectors() -> None:
    recorded = load_file(FOLDER / "simpler_rollout_ph_lstm.safetensors")
    np.testing.assert_allclose(
        rotation_vectors(np.array([0.1, -0.2, 0.3])),
        recorded["google_robot.rot_axangle_of_(0.1,-0.2,0.3)"],
        atol=1e-12,
    )


@pytest.mark.parametrize("camera", ["calvin_static", "calvin_gripper", "google", "bridge"])
def test_pixels(camera: str) -> None:
    recorded = np.load(FOLDER / "image_preprocess.npz")
    pixels = PixelRecipe()(recorded[f"{camera}.raw"], 224).numpy()
    np.testing.assert_allclose(pixels[:, ::7, ::7], recorded[f"{camera}.sample"], atol=1e-6)
    moments = [pixels.mean(), pixels.std(), pixels.min(), pixels.max(), np.abs(pixels).sum()]
    np.testing.assert_allclose(moments, recorded[f"{camera}.moments"], rtol=1e-4, atol=1e-5)


def test_resampler() -> None:
    tensors = load_file(FOLDER / "perceiver_resampler.safetensors")
    resampler = PerceiverResampler(32, depth=2, latents=4)
    resampler.load_state_dict({name[2:]: value for name, value in tensors.items() if name.startswith("w.")})
    with torch.inference_mode():
        resampled = resampler(tensors["x"].flatten(2, 3))
        padded = torch.cat([tensors["x"].flatten(2, 3), torch.randn(2, 3, 5, 32)], dim=2)
        mask = torch.ones(2, 3, 14, dtype=torch.bool)
        mask[..., 9:] = False
        masked = resampler(padded, mask)
    torch.testing.assert_close(resampled, tensors["y"], atol=2e-5, rtol=0)
    torch.testing.assert_close(masked, tensors["y"], atol=2e-5, rtol=0)


def test_labels_of_the_oxe_models() -> None:
    recorded = read_json("oxe_convert_action.json")
    # The loader hands over one action more than the windows need.
    actions = normalise(np.array(recorded["inp"])[:-1])
    np.testing.assert_allclose(actions, recorded["out"], atol=1e-6)
    np.testing.assert_allclose(sliding_chunks(actions, window=2, chunk=3), recorded["chunk"], atol=1e-6)


def test_token_rows_of_the_oxe_models() -> None:
    recorded = read_json("oxe_discrete_wrap.json")
    tokenizer = load_tokenizer(FOLDER / "tiny_kosmos")
    text = question_prompt("phi", recorded["language"], 3, eos=tokenizer.eos_token)
    actions = np.array(recorded["action"])
    actions[:, 6] = np.where(actions[:, 6] > 0, 1.0, -1.0)
    ids, labels, mask = token_targets(
        tokenizer(text).input_ids,
        sliding_chunks(actions, window=2, chunk=3),
        sliding_chunks(np.array(recorded["action_mask"])[:, None], window=2, chunk=3)[..., 0],
        ActionTokens.for_tokenizer(tokenizer),
        attend_actions=False,
    )
    assert ids.tolist() == recorded["input_ids"]
    assert labels.tolist() == recorded["labels"]
    assert mask.tolist() == recorded["attention_mask"]


def test_token_rows_of_the_calvin_models() -> None:
    tensors = load_file(FOLDER / "onestep_disc" / "train.safetensors")
    tokenizer = load_tokenizer(FOLDER / "tiny_kosmos")
    tokens = ActionTokens.for_tokenizer(tokenizer)
    for sample, language in enumerate(read_json("onestep_disc/train.json")["languages"]):
        text = question_prompt("phi", language, 3, eos=tokenizer.eos_token)
        actions = tensors["in.action"][sample].numpy()
        actions[:, 6] = 2 * actions[:, 6] - 1
        ids, labels, mask = token_targets(
            tokenizer(text).input_ids,
            actions[None],
            tensors["in.chunck_mask"][sample].numpy(),
            tokens,
            predict_stop="always",
        )
        length = ids.shape[1]
        assert torch.equal(ids[0], tensors["in.instr_and_action_ids"][sample, 0, :length])
        assert torch.equal(labels[0], tensors["in.instr_and_action_labels"][sample, 0, :length])
        assert torch.equal(mask[0].bool(), tensors["in.instr_and_action_mask"][sample, 0, :length])

"""What a policy asks of a vision-language model.

A backbone is an adapter around an unchanged transformers model: the adapter holds no parameters, so
that a checkpoint's names are the model's own. One whose image features come from ``get_image_features`` and
whose language model decodes embeddings, as in most of transformers, states

    class Mine(Backbone):
        model_class = MineForConditionalGeneration   # of transformers
        prompt = CAPTION_PROMPTS["llava"]            # how an instruction becomes text
        pixels = PixelRecipe()                       # how an image becomes pixels
        leading, trailing = 1, 0                     # tokens before the images, and after the action token

        @classmethod
        def tiny_config(cls): ...                    # for tests and smoke runs

and overrides what is its own among ``hidden_size``, ``embed``, ``encode_images``, ``language_model``,
``inputs`` and ``logits``. ``smolvlm.py`` is an example in full.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from vla_bench.policies.vla.backbones.tokenizers import byte_tokenizer
from vla_bench.policies.vla.images import PixelRecipe
from vla_bench.policies.vla.prompts import TextPrompt


@dataclass(frozen=True, slots=True)
class SceneImages:
    """Images for a model that looks at them through cross-attention, not as tokens."""

    tokens: Tensor
    """(B, M, V, d_image): M frames per row, V tokens each (all cameras together)."""
    visible: Tensor
    """(B, S, M) bool: which frames a text position may look at."""


@dataclass(frozen=True, slots=True)
class Decoded:
    """What the language model returned."""

    hidden: Tensor
    """(B, S, d), after the final norm."""
    cache: Any = None
    """transformers' Cache when one was asked for."""


class Backbone:
    """Adapter around one transformers model."""

    model_class: ClassVar[Any]
    """The transformers class."""
    prompt: ClassVar[TextPrompt]
    question_style: ClassVar[str] = "phi"
    """Key of :data:`vla_bench.policies.vla.prompts.QUESTION_PROMPTS`."""
    pixels: ClassVar[PixelRecipe] = PixelRecipe()
    leading: ClassVar[int] = 1
    """Text tokens that stay before the images: 1 when the tokenizer has a BOS, else 0."""
    trailing: ClassVar[int] = 1
    """Text tokens that stay after the action token: 1 when the tokenizer has an EOS, else 0. Whether the
    text really ends in one is not asked, as in the original."""
    cross_attention: ClassVar[bool] = False
    """True when images reach the language model through :class:`SceneImages`."""

    action_token_std: ClassVar[float] = 0.0
    """Spread of the action token's first value. 0, as in the original, suits pretrained models; one that learns from
    nothing and normalises by the root mean square would see gradients a thousand times too large there."""

    def __init__(self, model: nn.Module):
        self.model = model

    @classmethod
    def tiny_config(cls) -> Any:
        """A transformers configuration of a model with some 10^5 parameters, for tests and smoke runs."""
        raise TypeError(f"{cls.__name__} states no tiny configuration")

    @classmethod
    def tiny_image_size(cls) -> int:
        """Side in pixels of the images the tiny model takes."""
        return 28

    @classmethod
    def tiny_tokenizer(cls) -> Any:
        """The tokenizer of the tiny model, made on the spot."""
        return byte_tokenizer()

    @classmethod
    def build(cls, config: Any) -> nn.Module:
        """The transformers model of that configuration, with random weights."""
        return cls.model_class(config)

    def hidden_size(self) -> int:
        """d, width of the language model."""
        return self.model.config.text_config.hidden_size

    def embed(self, ids: Tensor) -> Tensor:
        """(..., ) token ids to (..., d) embeddings before any scaling; :meth:`inputs` scales."""
        return self.model.get_input_embeddings()(ids)

    def encode_images(self, pixels: Tensor) -> Tensor:
        """(N, 3, S, S) to (N, V, d): tokens on the scale of :meth:`embed`."""
        features = self.model.model.get_image_features(pixels).pooler_output
        return features if isinstance(features, Tensor) else torch.stack(list(features))

    def encode_gripper_images(self, pixels: Tensor) -> Tensor:
        """The same for the gripper camera, where a backbone has other eyes for it; V must be the same."""
        return self.encode_images(pixels)

    def pointing(self) -> dict[str, tuple[nn.Module, float, int]]:
        """What turns pixels into places by a soft maximum, by camera: the layer that gives the maps (N, maps, h, w),
        the maximum's sharpness, and how many maps make one token. Empty where a backbone has no such maps."""
        return {}

    def image_bounds(self) -> tuple[int, int] | None:
        """Ids of the tokens that stand before and after every image, if the model wants them."""
        return None

    def language_model(self) -> nn.Module:
        """What decodes embeddings into hidden states after the final norm."""
        return self.model.model.language_model

    def vision_tower(self) -> nn.Module:
        """What makes features of pixels; the connector to the language model is not part of it."""
        inner = self.model.model
        return inner.vision_tower if hasattr(inner, "vision_tower") else inner.vision_model

    def decoder_layers(self) -> nn.ModuleList:
        """The layers of the language model, first to last."""
        return self.language_model().layers

    def word_embedding(self) -> nn.Module:
        """The table that :meth:`embed` looks up."""
        return self.model.get_input_embeddings()

    def inputs(self, embeds: Tensor, positions: Tensor | None, images: SceneImages | None) -> dict[str, Any]:
        """Arguments of :meth:`language_model`, mask and cache aside."""
        return {"inputs_embeds": embeds, "position_ids": positions}

    def decode(
        self,
        embeds: Tensor,
        mask: Tensor | None,
        *,
        positions: Tensor | None = None,
        cache: Any = None,
        use_cache: bool = False,
        images: SceneImages | None = None,
    ) -> Decoded:
        """Runs the language model on (B, S, d) embeddings.

        ``mask`` is (B, past + S), nonzero where a position may be attended to; None when all may.
        ``positions`` is (B, S), counted from 0; None counts on from the cache.
        """
        output = self.language_model()(
            **self.inputs(embeds, positions, images),
            attention_mask=mask,
            past_key_values=cache,
            use_cache=use_cache,
        )
        return Decoded(output.last_hidden_state, output.past_key_values if use_cache else None)

    def logits(self, hidden: Tensor) -> Tensor:
        """(..., d) to (..., vocabulary)."""
        return self.model.get_output_embeddings()(hidden)

    def image_dtype(self) -> torch.dtype:
        """The dtype pixels are handed over in."""
        return next(self.model.parameters()).dtype

"""A small vision-language model of our own that learns from nothing in minutes on a processor.

Two convolutional encoders, one per camera, each say what is where in a few tokens; a small Llama reads them with
the instruction. It is built, trained, saved and run exactly as the large ones are.
"""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from transformers import AutoConfig, LlamaConfig, LlamaModel, PretrainedConfig, PreTrainedModel

from vla_bench.policies.vla.backbones.contract import Backbone
from vla_bench.policies.vla.backbones.tokenizers import word_tokenizer
from vla_bench.policies.vla.images import PixelRecipe
from vla_bench.policies.vla.prompts import TextPrompt

_TEXT = """
a across all an and another any are away back before behind beside between block blue bottom bring bulb button by
cabinet clockwise close closed come comes compartment counterclockwise cube degrees desk door down drawer drop drops
edge falls from front gently get go goes grab grasp grasped green grip gripper hand handle held hold holding in
inside into is it its lamp leave led left let lever lift light lightbulb lower make middle move next object of off
on one onto open opened or other out over pick pink place placed press pull push put raise red release remove right
robot rotate set shelf shut side slide slider slightly so stack stacked standing surface switch table take tall tcp
that the them then this through to tool top toward towards tower turn turned under unstack up upper upright way what
where which with yellow you your action actions input output should step steps
"""
WORDS = tuple(_TEXT.split())
"""Words of table-top instructions that the tokenizer knows whole; any other is spelled."""
SCALE = 0.3
"""Size of the numbers of a token at the start, the same for words, images and the action token."""
TEXT = {
    "vocab_size": 2048,
    "hidden_size": 128,
    "intermediate_size": 320,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "max_position_embeddings": 2048,
    "bos_token_id": 0,
    "pad_token_id": 1,
    "eos_token_id": 2,
}


class SmallVlmConfig(PretrainedConfig):
    """Sizes of :class:`SmallVlm`; ``text_config`` is a Llama's."""

    model_type = "small_vlm"
    sub_configs: ClassVar = {"text_config": LlamaConfig}

    def __init__(
        self,
        text_config: dict[str, Any] | LlamaConfig | None = None,
        channels: tuple[int, int] = (32, 32),
        layers: int = 3,
        maps: int = 32,
        pooled: int = 16,
        sharpness: float = 12.0,
        tokens: int = 8,
        apart: bool = False,
        place_scale: float = 1.0,
        **kwargs: Any,
    ):
        """Of an encoder, ``channels``: of its stem and of the ``layers`` convolutions after it; multiples of 16 are
        fast. ``maps``: places it points at, with a soft maximum of that ``sharpness``. ``pooled``: numbers it reads
        at each. ``tokens``: V, among which the maps are divided. ``apart``: each token is made by a matrix of its own.
        ``place_scale``: size of the places among what is read, image edge to middle. (The last two are what they are
        not by default in checkpoints from before there was a choice.)"""
        if not isinstance(text_config, LlamaConfig):
            text_config = LlamaConfig(**(text_config or TEXT))
        self.text_config = text_config
        self.channels, self.layers = tuple(channels), layers
        self.maps, self.pooled, self.sharpness, self.tokens = maps, pooled, sharpness, tokens
        self.apart, self.place_scale = apart, place_scale
        super().__init__(**kwargs)


# The tokenizer of a checkpoint is looked for by way of its configuration.
AutoConfig.register(SmallVlmConfig.model_type, SmallVlmConfig, exist_ok=True)


class PointingEncoder(nn.Module):
    """(N, 3, S, S) to (N, V, d): convolutions, then maps that are turned into places by a soft maximum over
    all cells (Finn et al. 2016, "Deep spatial autoencoders"), with what the features there say."""

    def __init__(self, config: SmallVlmConfig, stride: int):
        """``stride`` of the stem: pixels of a side of a cell."""
        super().__init__()
        first, other = config.channels
        self.stem = nn.Conv2d(3, first, stride + 3, stride=stride, padding=(stride + 2) // 2)
        self.convs = nn.ModuleList(
            [nn.Conv2d(inputs, other, 3, padding=1) for inputs in (first, *[other] * (config.layers - 1))]
        )
        self.maps = nn.Conv2d(other, config.maps, 1)
        self.values = nn.Conv2d(other, config.pooled, 1)
        self.sharpness = config.sharpness
        self.tokens = config.tokens
        width, read = config.text_config.hidden_size, config.maps // config.tokens * (config.pooled + 2)
        self.place_scale, self.apart = config.place_scale, config.apart
        if config.apart:
            self.project = nn.Parameter(torch.empty(config.tokens, read, width).uniform_(-(read**-0.5), read**-0.5))
        else:
            self.project = nn.Linear(read, width)
        self.norm = nn.LayerNorm(width)
        self.place = nn.Parameter(torch.zeros(config.tokens, width))

    def forward(self, pixels: Tensor) -> Tensor:
        # In place: no convolution keeps what it returned.
        x = self.stem(pixels.contiguous(memory_format=torch.channels_last)).relu_()
        x = self.convs[0](x).relu_()
        for conv in self.convs[1:]:
            x = conv(x).add_(x).relu_()
        weights = (self.maps(x).flatten(2).float() * self.sharpness).softmax(-1)
        values = self.values(x).flatten(2).float()
        side_y, side_x = x.shape[-2:]
        y = torch.linspace(-1, 1, side_y, device=x.device).repeat_interleave(side_x)
        across = torch.linspace(-1, 1, side_x, device=x.device).repeat(side_y)
        places = self.place_scale * torch.stack([across, y]).expand(len(values), -1, -1)
        read = weights @ torch.cat([values, places], dim=1).transpose(1, 2)
        read = read.unflatten(1, (self.tokens, -1)).flatten(2)
        tokens = torch.einsum("ntf,tfd->ntd", read, self.project) if self.apart else self.project(read)
        return self.norm(tokens) * SCALE + self.place

    def start(self) -> None:
        """He et al.'s initial weights; the residual convolutions half as large. With torch's own, four times smaller
        after four layers, the maps stay flat for long."""
        for conv in (self.stem, *self.convs):
            nn.init.kaiming_normal_(conv.weight, nonlinearity="relu")
            nn.init.zeros_(conv.bias)
        for conv in self.convs[1:]:
            conv.weight.data.mul_(0.5)


class SmallVlm(PreTrainedModel):
    """Encoders of both cameras, a Llama, and its output layer."""

    config_class = SmallVlmConfig
    base_model_prefix = "model"

    def __init__(self, config: SmallVlmConfig):
        super().__init__(config)
        self.encoders = nn.ModuleDict(
            {"static": PointingEncoder(config, stride=4), "gripper": PointingEncoder(config, stride=2)}
        )
        # Rows of some 30 tokens: plain products are faster on a processor, twice in the backward pass.
        config.text_config._attn_implementation = "eager"
        self.language_model = LlamaModel(config.text_config)
        self.lm_head = nn.Linear(config.text_config.hidden_size, config.text_config.vocab_size, bias=False)
        self.post_init()
        for encoder in self.encoders.values():
            encoder.start()

    def _init_weights(self, module: nn.Module) -> None:
        # Linear layers keep torch's own; the encoders have theirs.
        if isinstance(module, nn.Embedding):
            nn.init.normal_(module.weight, std=SCALE)

    def get_input_embeddings(self) -> nn.Module:
        return self.language_model.embed_tokens

    def get_output_embeddings(self) -> nn.Module:
        return self.lm_head


class Small(Backbone):
    """Order of a row: ``<s>``, images, text, action token, ``</s>``."""

    model_class = SmallVlm
    prompt = TextPrompt("{instruction}")
    action_token_std = SCALE
    pixels = PixelRecipe(mean=(0.5, 0.5, 0.5), std=(0.25, 0.25, 0.25))

    @classmethod
    def tiny_config(cls) -> SmallVlmConfig:
        return SmallVlmConfig(apart=True, place_scale=3.0)

    @classmethod
    def tiny_image_size(cls) -> int:
        return 100

    @classmethod
    def tiny_tokenizer(cls) -> Any:
        return word_tokenizer(WORDS, TEXT["vocab_size"])

    def encode_images(self, pixels: Tensor) -> Tensor:
        return self.model.encoders["static"](pixels)

    def encode_gripper_images(self, pixels: Tensor) -> Tensor:
        return self.model.encoders["gripper"](pixels)

    def vision_tower(self) -> nn.Module:
        return self.model.encoders

    def pointing(self) -> dict[str, tuple[nn.Module, float, int]]:
        return {
            camera: (encoder.maps, encoder.sharpness, self.model.config.maps // encoder.tokens)
            for camera, encoder in self.model.encoders.items()
        }

    def language_model(self) -> nn.Module:
        return self.model.language_model

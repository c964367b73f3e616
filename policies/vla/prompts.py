"""The text a policy is shown for an instruction, by backbone and by structure.

Templates are those of the released models (``get_text_function`` and the prompt builders of
Robot-VLAs/RoboVLMs at 8adc1d2): a checkpoint has learnt them to the letter.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vla_bench.policies.vla.backbones.contract import Backbone
    from vla_bench.policies.vla.config import VlaConfig

_SYSTEM = (
    "You are a helpful language and vision assistant. You are able to understand the visual content that "
    "the user "
    "provides, and assist the user with a variety of tasks using natural language."
)
_CHAT = (
    "A chat between a curious user and an artificial intelligence assistant. "
    "The assistant gives helpful, detailed, and polite answers to the user's questions."
)


@dataclass(frozen=True, slots=True)
class TextPrompt:
    """How an instruction becomes tokens: a template and whether the tokenizer adds its own specials."""

    template: str
    """With ``{instruction}``, ``{bos}`` and ``{eos}``."""
    add_special_tokens: bool = True

    def text(self, instruction: str, bos: str = "", eos: str = "") -> str:
        """The text that is tokenised."""
        return self.template.format(instruction=instruction.strip(), bos=bos, eos=eos)


CAPTION_PROMPTS = {
    "kosmos": TextPrompt("<grounding>An image of a robot {instruction}"),
    "flamingo": TextPrompt("<image>{instruction}<|endofchunk|>{eos}"),
    "llava": TextPrompt("{instruction}"),
    "qwen": TextPrompt("{instruction}"),
    "moondream": TextPrompt("<|endoftext|>{instruction}"),
    "uform": TextPrompt("<image> {instruction}"),
    "paligemma": TextPrompt("{eos}{instruction}\n", add_special_tokens=False),
}
"""Prompt of the continuous structures, by the style a backbone names."""

QUESTION_PROMPTS = {
    "phi": "Input: {question}\nOutput: \n{eos}",
    "qwen": "Input: {question}\nOutput:",
    "vicuna": _CHAT + " USER: {question} ASSISTANT:  {eos}",
    "mistral": "[INST] {question} [/INST]  {eos}",
    "llama": "[INST] <<SYS>\n" + _SYSTEM + "\n<</SYS>>\n\n{question} [/INST]  {eos}",
}
"""Prompt of the discrete structures, by chat style; ``<<SYS>`` lacks its bracket in the released models
too."""


def question(instruction: str, steps: int) -> str:
    """The question a discrete policy answers; ``steps`` is C + 1 for the CALVIN models, C for the OXE
    ones."""
    if steps == 1:
        return f"What action should the robot take to {instruction}?"
    return f"What {steps} step actions should the robot take to {instruction}?"


def question_prompt(style: str, instruction: str, steps: int, eos: str = "") -> str:
    """The whole discrete prompt in a chat style of :data:`QUESTION_PROMPTS`."""
    return QUESTION_PROMPTS[style].format(question=question(instruction, steps), eos=eos)


def prompt_ids(
    adapter: Backbone | type[Backbone],
    tokenizer: Any,
    config: VlaConfig,
    instruction: str,
    *,
    released: bool = False,
    stop: bool = False,
) -> list[int]:
    """Token ids that a policy of this structure is shown for an instruction.

    Args:
        released: the backbone's own prompt whatever the structure says, for a structure that does not generate
            tokens.
        stop: keep the stop token of a generating policy's prompt, which in a row stands after the actions.
    """
    bos, eos = tokenizer.bos_token or "", tokenizer.eos_token or ""
    if not (config.generates_tokens or (config.prompt == "question" and not released)):
        text = adapter.prompt.text(instruction, bos=bos, eos=eos)
        return list(tokenizer(text, add_special_tokens=adapter.prompt.add_special_tokens).input_ids)
    steps = config.question_steps or config.chunk + 1
    style = adapter.question_style if config.question_style == "backbone" else config.question_style
    text = question_prompt(style, instruction, steps, eos=eos if adapter.trailing else "")
    ids = list(tokenizer(text, add_special_tokens=True).input_ids)
    return ids[:-1] if config.generates_tokens and adapter.trailing and not stop else ids

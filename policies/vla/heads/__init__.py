"""What turns features of the language model into actions."""

from __future__ import annotations

from vla_bench.policies.errors import PolicyError
from vla_bench.policies.vla.config import VlaConfig
from vla_bench.policies.vla.heads.base import ActionHead, HeadOutput
from vla_bench.policies.vla.heads.recurrent import LstmHead
from vla_bench.policies.vla.heads.single import FcHead
from vla_bench.policies.vla.heads.transformer import GptHead

__all__ = ["ActionHead", "HeadOutput", "build_head"]


def build_head(config: VlaConfig, width: int) -> ActionHead | None:
    """The head of that configuration on features of ``width`` d; None when actions are generated tokens."""
    if config.head == "none":
        return None
    heads = {"fc": FcHead, "lstm": LstmHead, "gpt": GptHead}
    if config.head not in heads:
        raise PolicyError(f"vla: unknown head {config.head!r}; known: {', '.join(heads)}, none")
    return heads[config.head](config, width)

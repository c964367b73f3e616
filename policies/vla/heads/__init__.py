"""What turns features of the language model into actions."""

from __future__ import annotations

from vla_bench.policies.vla.heads.base import ActionHead, HeadOutput, build_head

__all__ = ["ActionHead", "HeadOutput", "build_head"]

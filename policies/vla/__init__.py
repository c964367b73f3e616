"""A vision-language model turned into a vision-language-action policy, in the RoboVLMs way.

arXiv 2412.14058 describes the structures; :class:`vla_bench.policies.vla.config.VlaConfig` names them. Nothing
here is imported before a policy of this kind is asked for, since torch and transformers are heavy.
"""

from __future__ import annotations

from typing import Any


def __getattr__(name: str) -> Any:
    if name == "VlaPolicy":
        from vla_bench.policies.vla.policy import VlaPolicy

        return VlaPolicy
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

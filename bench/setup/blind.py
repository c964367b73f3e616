"""``policy=blind``: any learned policy with its cameras black, in one word."""

from __future__ import annotations

from collections.abc import Sequence

WORD = "policy=blind"
"""Beside another ``policy=`` it blinds that one, wherever it stands; beside ``policy.checkpoint=`` or
``policy.config=`` it is the blind policy of that file; alone it is a preset, the small one."""
FIELD = "policy.model.blind=true"
_FILES = ("policy.checkpoint=", "policy.config=")


def blinded(typed: Sequence[str]) -> list[str]:
    """The words with :data:`WORD` in the policy's own terms, where it is more than the choice of a preset.

    A policy that looks in the training is not made blind by what is typed at its evaluation alone: that is another
    policy, and its result set says so (``policy_switches.blind``).
    """
    if WORD not in typed:
        return list(typed)
    others = [word for word in typed if word != WORD]
    named = any(word.startswith(("policy=", "policy._target_=")) for word in others)
    if not named and not any(word.startswith(_FILES) for word in others):
        return list(typed)
    return [*([] if named else ["policy=vla"]), *others, FIELD]

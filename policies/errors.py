"""The errors of a policy that cannot be found, built or believed, and of one that fails."""

from __future__ import annotations

import traceback
from pathlib import Path

from vla_bench.envs.errors import UserError
from vla_bench.interruption import is_interruption


class TransientFault(RuntimeError):
    """Something that another try may mend: a server that is being restarted, a network that is away.

    Its message says what a user needs; ``detail`` is what the other side said in full, where it said more.
    """

    def __init__(self, message: str, detail: str = "") -> None:
        super().__init__(message)
        self.detail = detail


class PolicyQuit(RuntimeError):
    """The policy raised what ends a program (``sys.exit()``, a KeyboardInterrupt or BaseException of its own), or
    what ends an iteration (StopIteration), which a generator on the way would take for its own."""


def in_words(error: BaseException) -> str:
    """``ValueError: what it says``, in one line; the kind alone where it says nothing."""
    said = " ".join(str(error).split())
    return f"{type(error).__name__}{f': {said}' if said else ''}"


def raised_at(error: BaseException) -> str:
    """``my_policy.py, line 9``: where it was raised; of a :class:`PolicyQuit`, what that stands for. Empty: nowhere."""
    whole = error.__cause__ if isinstance(error, PolicyQuit) and error.__cause__ is not None else error
    frames = traceback.extract_tb(whole.__traceback__)
    return f"{Path(frames[-1].filename).name}, line {frames[-1].lineno}" if frames else ""


def contained(raised: BaseException) -> Exception:
    """What a policy's code raised, as an error that ends nothing but what it was asked for.

    Raises:
        BaseException: it is the user's own Ctrl-C, which passes.
    """
    if isinstance(raised, Exception) and not isinstance(raised, StopIteration):
        return raised
    if is_interruption(raised):
        raise raised
    error = PolicyQuit(in_words(raised))
    error.__cause__ = raised
    return error


class PolicyError(UserError):
    """A policy that cannot be found or built, or whose actions are not what it said they were."""

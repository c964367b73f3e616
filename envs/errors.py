"""The root of all errors a user can mend, at the lowest floor so that every floor can raise one.

The command line prints such an error as one message and no traceback. The message says what was
wrong, where, and what to type instead; anything that is not a :class:`UserError` is a bug of ours.
"""

from __future__ import annotations

from collections.abc import Iterable


class UserError(Exception):
    """Something the user can mend by doing what the message says."""

    exit_code = 1
    """Exit code of the command line: 1 is a mistake in what was asked for."""


class AssetError(UserError):
    """An asset bundle is missing, incomplete or not the one it should be."""


def suggestion(name: str, known: Iterable[str]) -> str:
    """`` Did you mean 'expert'?`` when a known name is near, else an empty string."""
    from difflib import get_close_matches

    known = [str(item) for item in known]
    near = get_close_matches(name.lower(), [item.lower() for item in known], n=1, cutoff=0.5)
    if not near:
        return ""
    return f" Did you mean {next(item for item in known if item.lower() == near[0])!r}?"

"""The root of all errors a user can mend, and what can be wrong with an environment.

The command line prints a :class:`UserError` as one message and no traceback: it says what is wrong,
where, and what to type instead. Anything that is not a UserError is a bug of ours.
"""

from __future__ import annotations

from collections.abc import Iterable


class UserError(Exception):
    """Something the user can mend by doing what the message says."""

    exit_code = 1
    """Exit code of the command line: 1 is a mistake in what was asked for."""


class EnvironmentFault(UserError):
    """Something wrong with an environment before anything runs."""


class AssetError(EnvironmentFault):
    """Asset files are missing, altered or unreadable."""


class RendererError(EnvironmentFault):
    """The renderer asked for does not work on this machine."""


class DatasetError(UserError):
    """Recorded data is missing, damaged, of another form, or cannot be written."""


def suggestion(name: str, known: Iterable[str]) -> str:
    """`` Did you mean 'expert'?`` when a known name is near, else an empty string."""
    from difflib import get_close_matches

    known = [str(item) for item in known]
    near = get_close_matches(name.lower(), [item.lower() for item in known], n=1, cutoff=0.5)
    if not near:
        return ""
    return f" Did you mean {next(item for item in known if item.lower() == near[0])!r}?"

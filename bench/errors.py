"""The errors of an evaluation. All are :class:`vla_bench.envs.errors.UserError`: the command line prints the
message, which says what was wrong, where, and what to type, and exits with the class's code."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vla_bench.envs.errors import AssetError, UserError, suggestion
from vla_bench.policies.errors import PolicyError

if TYPE_CHECKING:
    from vla_bench.bench.records.result_set import ResultSet

__all__ = [
    "AssetError",
    "BenchError",
    "ConfigError",
    "PolicyError",
    "ProtocolMismatch",
    "ResultSetError",
    "RunFailed",
    "UserError",
    "at_least",
    "suggestion",
]


class BenchError(UserError):
    """An evaluation could not be set up, run or read back."""


class ConfigError(BenchError):
    """The configuration names something unknown or has a value that cannot be."""


class ResultSetError(BenchError):
    """A result set cannot be read, written, or belongs to another run."""


class ProtocolMismatch(BenchError):
    """Two things that must share a protocol or an action convention do not."""


class RunFailed(BenchError):
    """The run stopped before it could be judged: no worker could start, or too many errors."""

    exit_code = 2
    result_set: ResultSet | None = None
    """What had been finished, tables made; None when the run had not begun."""


def at_least(where: str, value: int, least: int) -> None:
    """ConfigError: the number typed for ``where`` is too small."""
    if value < least:
        raise ConfigError(f"{where}={value}: must be at least {least}")

"""The error of a policy that cannot be found, built or believed."""

from __future__ import annotations

from vla_bench.envs.errors import UserError


class PolicyError(UserError):
    """A policy that cannot be found or built, or whose actions are not what it said they were."""

"""The error of a policy that cannot be found, built or believed."""

from __future__ import annotations

from vla_bench.envs.errors import UserError


class TransientFault(RuntimeError):
    """Something that another try may mend: a server that is being restarted, a network that is away."""


class PolicyError(UserError):
    """A policy that cannot be found or built, or whose actions are not what it said they were."""

"""What can go wrong between here and a server.

Only :class:`vla_bench.policies.errors.PolicyError` is lasting: an episode that meets a :class:`RemoteFault` is tried
again, since a server restarts, a network comes back, and one bad answer need not be followed by another.
"""

from __future__ import annotations

from vla_bench.policies.errors import TransientFault


class RemoteFault(TransientFault):
    """The server cannot be reached, or did not answer as it should; another try may go well."""


class MessageFault(RemoteFault):
    """Bytes that are no message of the protocol, or that ask for more than a message may hold."""


class ServerFault(RemoteFault):
    """The server answered that it failed; its own words are in the message."""

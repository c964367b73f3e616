"""Policies that are served elsewhere, and how they are spoken to.

policy.py       the policy: slots, connections, deadlines
settled.py      the mapping with what was typed over it, and what it asks of the environment
mapping.py      what is sent and what comes back, as data; presets/ holds those of published checkpoints
fitting.py      which mappings an environment can fill
request.py      observations into requests (features.py, images.py, rotations.py)
answer.py       replies into chunks
statement.py    what a server says of itself, compared with the mapping
servers.py      which server is asked (addresses.py)
connections/    one connection, by protocol
codecs/         the bytes
"""

from vla_bench.policies.remote.policy import RemotePolicy

__all__ = ["RemotePolicy"]

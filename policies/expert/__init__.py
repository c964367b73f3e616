"""A scripted solver for CALVIN's tasks that is shown the simulator's state."""

from vla_bench.policies.expert.expert import ExpertPolicy

__all__ = ["ExpertPolicy"]

"""A scripted solver for CALVIN's tasks that is shown the simulator's state."""

from policies.expert.expert import ExpertPolicy

__all__ = ["ExpertPolicy"]

"""A scripted solver of SimplerEnv's WidowX tasks and of pick coke can, from the simulator's state."""

from vla_bench.policies.expert_simpler.expert import SimplerExpert

__all__ = ["SimplerExpert"]

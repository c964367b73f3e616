"""A training loop that evaluates every few steps: the weights of that moment, without a file.

python docs/examples/training_loop.py [STEPS] [EVERY]

The data are made up (a network learns to close the gripper), so the numbers show the loop, not a policy.
"""

from __future__ import annotations

import sys

import numpy as np
import torch

import vla_bench


class Trained:
    """What is evaluated: a network under training, with the two methods of a policy."""

    action = "relative"
    sensors = ()

    def __init__(self, network: torch.nn.Module) -> None:
        self.network = network

    def reset(self, instruction: str) -> None:
        """Nothing is remembered."""

    def act(self, observation: dict) -> np.ndarray:
        """The action (7,) for a state (15,)."""
        state = torch.as_tensor(np.asarray(observation["robot_obs"]), dtype=torch.float32)
        with torch.no_grad():
            return torch.tanh(self.network(state)).numpy()


def train(steps: int = 40, every: int = 20) -> list:
    """Trains, and returns the results of each evaluation."""
    torch.manual_seed(0)
    network = torch.nn.Sequential(torch.nn.Linear(15, 32), torch.nn.ReLU(), torch.nn.Linear(32, 7))
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-2)
    wanted = torch.tensor([0.0, 0.0, 0.0, 0.0, 0.0, 0.0, -0.9])
    policy = Trained(network)
    found = []
    for step in range(1, steps + 1):
        loss = ((torch.tanh(network(torch.randn(64, 15))) - wanted) ** 2).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if step % every == 0:
            network.eval()  # whoever trains says how the network is asked
            results = vla_bench.evaluate(
                policy, benchmark="calvin_smoke", sequences=2, step_limit=30, workers=2, name=f"step-{step:06}"
            )
            network.train()
            print(f"step {step}: loss {loss.item():.4f}, average chain length {results.average_chain_length}")
            found.append(results)
    return found


if __name__ == "__main__":
    train(*map(int, sys.argv[1:3]))

"""What ``run.trace=states`` costs: CPU time and bytes of episodes with and without it, in turns.

python -m tools.trace_cost                 three sequences of the built-in table, a policy that moves at random
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np

from vla_bench.bench.dispatch.job import Job
from vla_bench.bench.dispatch.tracing import run_traced
from vla_bench.bench.episode.rollout import NoMeter
from vla_bench.bench.protocol import EpisodeSpec
from vla_bench.bench.setup.run_config import RunConfig
from vla_bench.envs.calvin.family import environment_spec
from vla_bench.envs.calvin.initial_states import initial_state
from vla_bench.envs.calvin.sequences import official_sequences
from vla_bench.envs.simulation import SimulationSpec, make_simulation
from vla_bench.policies.choice import PolicyChoice
from vla_bench.policies.registry import make_policy

STEPS = 360


def main() -> None:
    """Prints milliseconds per step, their ratio, and kilobytes per episode."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sequences", type=int, default=3)
    wanted = parser.parse_args()
    choice = PolicyChoice("random")
    simulation = make_simulation(SimulationSpec("calvin", {"assets": "builtin"}, action="relative"))
    policy = make_policy(choice, environment_spec({}))
    spent: dict[str, list[float]] = {"none": [], "states": []}
    with tempfile.TemporaryDirectory() as folder:
        for index, sequence in enumerate(official_sequences()[: wanted.sequences + 1]):
            episode = EpisodeSpec(
                index, f"seq-{index:04d}", initial_state(sequence.condition), sequence.subtasks[:1], ("",), STEPS
            )
            for trace, times in spent.items():
                run = RunConfig(trace=trace)  # type: ignore[arg-type]
                job = Job(simulation=SimulationSpec("calvin", action="relative"), policy=choice, run=run, folder=folder)
                before = time.process_time()
                record = run_traced(simulation, policy, episode, job, meter=NoMeter())
                times.append((time.process_time() - before) / record.subtasks[0].steps)
        sizes = [path.stat().st_size for path in Path(folder).rglob("*.parquet")]
    without, traced = (1000 * float(np.median(times[1:])) for times in spent.values())  # the first one warms up
    print(
        f"without {without:.3f} ms a step, traced {traced:.3f} ms: {traced - without:.3f} ms, {traced / without:.2f} x"
    )
    print(f"{np.mean(sizes) / 1000:.0f} kB for {STEPS} steps, {np.mean(sizes) / STEPS:.0f} bytes a step")


if __name__ == "__main__":
    main()

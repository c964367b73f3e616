"""How often intervals of context vectors hold the truth: ``python -m tools.vector_coverage``.

Extractions are simulated: frames of an episode share a random part, as they do in a policy, so that they are
correlated; the truth is known.
"""

from __future__ import annotations

import argparse

import numpy as np

from vla_bench.bench.vectors.statistics import overall


def covered(repeats: int, episodes: int, frames: int, correlation: float, width: int = 4) -> dict[str, float]:
    """Share of extractions whose interval holds the truth, for the mean and the deviation of all numbers."""
    generator, hits = np.random.default_rng(0), {"mean": 0, "deviation": 0}
    names = np.repeat(np.arange(episodes), frames)
    for repeat in range(repeats):
        shared = generator.normal(0, np.sqrt(correlation), (episodes, width))[names]
        values = 0.3 + 2 * (shared + generator.normal(0, np.sqrt(1 - correlation), (len(names), width)))
        found = overall(values, names, seed=repeat)
        hits["mean"] += found["mean"].low <= 0.3 <= found["mean"].high
        hits["deviation"] += found["deviation"].low <= 2 <= found["deviation"].high
    return {name: hit / repeats for name, hit in hits.items()}


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=1000)
    arguments = parser.parse_args()
    print("episodes  frames each  correlation  mean %  deviation %")
    for episodes, frames, correlation in ((50, 10, 0.3), (50, 10, 0.8), (100, 5, 0.5), (500, 1, 0.0)):
        found = covered(arguments.repeats, episodes, frames, correlation)
        line = f"{episodes:8d}  {frames:11d}  {correlation:11.1f}"
        print(f"{line}  {100 * found['mean']:6.1f}  {100 * found['deviation']:11.1f}", flush=True)


if __name__ == "__main__":
    main()

"""Kosmos-2 at full size with random weights on a GPU: decisions per second, latency, peak memory.

    python -m tools.vla_gpu                             # batches of 1 to 64, float32 and bfloat16
    python -m tools.vla_gpu --device cpu --size tiny --slots 1 2 # only whether it runs

Each batch is that many episodes that decide at once, each with two cameras and a full window; its lines are
those of ``python -m vla_bench.policies.vla speed``: ``original`` decides for one episode the way the original does,
``exact`` for one after the other, ``fast`` for all in one batch.
"""

from __future__ import annotations

import argparse
import sys

from vla_bench.envs.errors import UserError
from vla_bench.program import installing

BATCHES = (1, 2, 4, 8, 16, 32, 64)
PRECISIONS = ("float32", "bfloat16")


def main(arguments: list[str] | None = None) -> int:
    """Prints a table for each precision; exit code 1 when there is no such device."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda", help="cuda, cuda:1 or cpu (default: cuda)")
    parser.add_argument("--size", default="full", help="full, mid or tiny (default: full)")
    parser.add_argument("--slots", nargs="+", type=int, default=BATCHES, help="episodes that decide at once")
    parser.add_argument("--dtypes", nargs="+", default=PRECISIONS)
    parser.add_argument(
        "--structures",
        nargs="+",
        default=["policy_head"],
        choices=("policy_head", "interleaved"),
        help="default: policy_head",
    )
    parser.add_argument("--window", type=int, default=16, help="frames of history (default: 16)")
    parser.add_argument("--decisions", type=int, default=5, help="calls that are timed (default: 5)")
    typed = parser.parse_args(arguments)
    try:
        from vla_bench.policies.vla.decision_speed import report

        for dtype in typed.dtypes:
            for line in report(
                typed.structures,
                typed.slots,
                size=typed.size,
                device=typed.device,
                dtype=dtype,
                window=typed.window,
                decisions=typed.decisions,
            ):
                print(line, flush=True)
            print()
    except UserError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    except ModuleNotFoundError as error:
        print(f"vla needs the package {error.name!r}; type: {installing('vla')}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())

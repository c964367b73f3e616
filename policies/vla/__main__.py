"""``python -m vla_bench.policies.vla speed`` says how fast a structure decides, on random weights."""

from __future__ import annotations

import argparse
import sys

from vla_bench.envs.errors import UserError
from vla_bench.program import installing

_TIMED = ("policy_head", "interleaved")


def main(arguments: list[str] | None = None) -> int:
    """Exit code 0, or that of the error."""
    parser = argparse.ArgumentParser(prog="python -m vla_bench.policies.vla", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    timing = commands.add_parser("speed", help="decisions per second against the original's way")
    timing.add_argument("--size", default="mid", help="tiny, mid or full (default: mid)")
    timing.add_argument("--structures", nargs="+", default=["policy_head", "interleaved"], choices=_TIMED)
    timing.add_argument("--slots", nargs="+", type=int, default=[1, 4], help="episodes that run at once")
    timing.add_argument("--window", type=int, default=16, help="frames of history (default: 16)")
    timing.add_argument("--decisions", type=int, default=3, help="calls that are timed (default: 3)")
    timing.add_argument("--device", default="cpu", help="cpu, cuda, cuda:0 or auto")
    timing.add_argument("--dtype", default="float32", help="float32, bfloat16 or float16")
    timing.add_argument("--threads", type=int, default=1, help="CPU threads (default: 1)")
    typed = parser.parse_args(arguments)
    try:
        return _speed(typed)
    except UserError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    except ModuleNotFoundError as error:
        print(f"vla needs the package {error.name!r}; type: {installing('vla')}", file=sys.stderr)
        return 1


def _speed(typed: argparse.Namespace) -> int:
    import torch

    from vla_bench.policies.vla.decision_speed import report

    torch.set_num_threads(typed.threads)
    for line in report(
        typed.structures,
        typed.slots,
        size=typed.size,
        device=typed.device,
        dtype=typed.dtype,
        window=typed.window,
        decisions=typed.decisions,
    ):
        print(line, flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())

#!/usr/bin/env python3
"""Evaluates a policy on a benchmark: ``python run_benchmark.py --help`` says how."""

import os
import sys

if __name__ == "__main__":
    try:
        from vla_bench.bench.cli.run import main

        # The parts of the package lie here under everyday names; they are not to hide a user's own folders.
        here = os.path.dirname(os.path.abspath(__file__))
        sys.path[:] = [entry for entry in sys.path if os.path.abspath(entry or ".") != here]
    except KeyboardInterrupt:  # while Python was still reading us
        sys.exit(130)
    sys.exit(main())

#!/usr/bin/env python3
"""Evaluates a policy on a benchmark: ``python run_benchmark.py --help`` says how."""

import sys

if __name__ == "__main__":
    try:
        from bench.command_line import main
    except KeyboardInterrupt:  # while Python was still reading us
        sys.exit(130)
    sys.exit(main())

#!/usr/bin/env python3
"""Evaluates a policy on a benchmark: ``python run_benchmark.py --help`` says how."""

import sys

from bench.command_line import main

if __name__ == "__main__":
    sys.exit(main())

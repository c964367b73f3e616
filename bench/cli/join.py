"""One result set out of slices of one run, made on several machines.

vla-bench join results/whole results/slice-a results/slice-b

Each slice is the same command with its own run.only=, e.g. run.only=0..499 here and run.only=500..999 there.
Refused when the slices are not of one run: the policy's code and files, its arguments, the seed, the protocol and
the episodes are compared by their digests.
"""

from __future__ import annotations

import argparse
from pathlib import Path


def configure(parser: argparse.ArgumentParser) -> None:
    """Adds the folders."""
    parser.add_argument("target", type=Path, help="folder to make")
    parser.add_argument("slices", type=Path, nargs="+", metavar="folder", help="result sets of the slices")


def run(arguments: argparse.Namespace) -> int:
    """Joins them, and says what came out."""
    from vla_bench.bench.records.joining import join
    from vla_bench.bench.records.tables import counts_line, headline, key_line

    joined = join([path.expanduser() for path in arguments.slices], arguments.target.expanduser())
    summary = joined.summary
    print(headline(summary), counts_line(summary), key_line(summary), sep="\n")
    print(f"result set: {joined.folder}")
    return 0

"""Shows SimplerEnv result sets as the paper does, and how well they rank policies that ran on real robots.

vla-bench simpler results/simpler_bridge-octo-...
vla-bench simpler --as octo-base results/a --as rt-1-x results/b
                        with --as: which published policy each result set is of

Success is the unweighted mean over variants, then over tasks. MMRV and Pearson need at least two result
sets that are named.
"""

from __future__ import annotations

import argparse
from pathlib import Path


def configure(parser: argparse.ArgumentParser) -> None:
    """Adds the folders and their names."""
    parser.add_argument("folders", nargs="+", type=Path, metavar="RESULT_SET", help="folder of a run")
    parser.add_argument(
        "--as",
        dest="names",
        action="append",
        default=[],
        metavar="POLICY",
        help="name of the published policy of the next result set, in order; once per folder",
    )


def run(arguments: argparse.Namespace) -> int:
    """Prints one table per result set, then the agreement."""
    from vla_bench.bench.errors import ConfigError, suggestion
    from vla_bench.bench.families.simpler_agreement import agreement, published
    from vla_bench.bench.records.result_set import ResultSet

    real = published()
    policies = {policy for by_policy in real.values() for policy in by_policy}
    for name in arguments.names:
        if name not in policies:
            raise ConfigError(
                f"--as {name}: no published policy.{suggestion(name, policies)} Known: {', '.join(sorted(policies))}"
            )
    if arguments.names and len(arguments.names) != len(arguments.folders):
        raise ConfigError(f"--as is given {len(arguments.names)} times for {len(arguments.folders)} result sets")
    simulated: dict[str, dict[str, float]] = {}
    hashes = set()
    for position, folder in enumerate(arguments.folders):
        result_set = ResultSet.load(folder)
        facts = result_set.header["protocol"]["facts"]
        if facts.get("family") != "simpler":
            raise ConfigError(f"{folder} is a result set of {facts.get('family', 'another family')}, not of SimplerEnv")
        hashes.add((facts["set"], facts["backend"], facts["assets_checksum"], facts["renderer"] != "none"))
        print(f"{result_set.header['policy']} · {facts['set']} on {facts['backend']} · {folder}")
        for note in result_set.summary.notes:
            print(f"  note: {note}")
        for row in result_set.summary.rows:
            grasped = "" if row.partial is None else f"  partial {100 * row.partial:5.1f}"
            print(
                f"  {row.name:<48} {100 * row.success.value:5.1f} %  [{100 * row.success.low:.1f}, "
                f"{100 * row.success.high:.1f}]  n {row.success.n:<4} ever {100 * row.ever:5.1f}{grasped}"
            )
            if arguments.names:
                simulated.setdefault(row.name, {})[arguments.names[position]] = row.success.value
    if arguments.names and len(hashes) > 1:
        print("note: these result sets differ in set, backend, files or renderer; ranking them mixes protocols")
    for each in agreement(simulated, real):
        print(
            f"{each.task}: MMRV {each.violation:.3f}, Pearson {each.correlation:.3f} against real robots, "
            f"n = {len(each.policies)} policies ({', '.join(each.policies)})"
        )
    return 0

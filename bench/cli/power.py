"""How many episodes it takes to show a difference, or what difference a number of episodes shows.

vla-bench power --average 3.2 --difference 0.1      chains of five, nothing run yet
vla-bench power --average 0.4 --difference 0.05 --longest 1
                                                    single tasks with 40 % success
vla-bench power --average 3.2 --episodes 200        what 200 sequences can show
vla-bench power results/a results/b --difference 0.1
                                                    from two pilot runs on the same episodes

Both policies run the same episodes, and the paired test of `compare` is made at the 5 % level. Without
pilot runs the two policies are taken to have nothing in common, which is on the safe side: policies that
fail on the same sequences need fewer of them.
"""

from __future__ import annotations

import argparse

from vla_bench.bench.errors import ConfigError


def configure(parser: argparse.ArgumentParser) -> None:
    """Adds the pilot runs or an expected average, and the question."""
    parser.add_argument("sets", nargs="*", metavar="[NAME=]FOLDER", help="two pilot runs, in place of --average")
    parser.add_argument("--average", type=float, metavar="L", help="expected average chain length, or success rate")
    parser.add_argument("--longest", type=int, default=5, metavar="N", help="subtasks in a chain (5); 1: single tasks")
    parser.add_argument("--difference", type=float, metavar="D", help="difference to be shown (0.1 without --episodes)")
    parser.add_argument("--episodes", type=int, metavar="N", help="episodes to be run")
    parser.add_argument("--format", choices=("screen", "json", "csv"), default="screen", help="screen unless given")
    parser.add_argument("--power", type=float, default=0.8, metavar="P", help="chance of showing it (0.8)")


def run(arguments: argparse.Namespace) -> int:
    """Prints the answer in a sentence."""
    from vla_bench.bench.records.comparison_tables import rounded
    from vla_bench.bench.records.paired import difference_shown, pairs_needed

    _check(arguments)
    deviation, source = _deviation(arguments)
    if arguments.format != "screen":
        from vla_bench.bench.records.for_programs import as_csv, as_json

        wanted = arguments.difference or 0.1
        given = arguments.episodes
        plain = {
            "deviation": deviation,
            "source": source,
            "power": arguments.power,
            "level": 0.05,
            "episodes": given or pairs_needed(wanted, deviation, arguments.power),
            "difference": difference_shown(given, deviation, arguments.power) if given else wanted,
        }
        print(as_json(plain) if arguments.format == "json" else as_csv(tuple(plain), [plain]), end="")
        return 0
    print(f"standard deviation of the difference per episode: {deviation:.2f} ({source})")
    if arguments.episodes:
        shown = difference_shown(arguments.episodes, deviation, arguments.power)
        print(f"{arguments.episodes:,} episodes show a difference of {shown:.2g} or more", end="")
    else:
        wanted = arguments.difference or 0.1
        needed = rounded(pairs_needed(wanted, deviation, arguments.power))
        print(f"about {needed:,} episodes show a difference of {wanted:g}", end="")
    print(f" with {100 * arguments.power:g} % power, at the 5 % level")
    return 0


def _check(arguments: argparse.Namespace) -> None:
    if bool(arguments.sets) == (arguments.average is not None):
        raise ConfigError("say what to expect with --average L, or name two pilot runs; one of the two")
    if arguments.sets and len(arguments.sets) != 2:
        raise ConfigError(f"{len(arguments.sets)} pilot runs are given, 2 are wanted")
    if arguments.difference is not None and arguments.episodes is not None:
        raise ConfigError("--difference asks for episodes, --episodes for a difference; give one of them")
    if arguments.longest < 1:
        raise ConfigError(f"--longest {arguments.longest}: must be at least 1")
    if arguments.average is not None and not 0 < arguments.average < arguments.longest:
        raise ConfigError(f"--average {arguments.average:g}: must be between 0 and {arguments.longest}")
    if arguments.difference is not None and arguments.difference <= 0:
        raise ConfigError(f"--difference {arguments.difference:g}: must be more than 0")
    if arguments.episodes is not None and arguments.episodes < 2:
        raise ConfigError(f"--episodes {arguments.episodes}: must be at least 2")
    if not 0.05 < arguments.power < 1:
        raise ConfigError(f"--power {arguments.power:g}: must be between 0.05 and 1, e.g. 0.8")


def _deviation(arguments: argparse.Namespace) -> tuple[float, str]:
    from vla_bench.bench.records.comparison import compare
    from vla_bench.bench.records.lineup import open_sets
    from vla_bench.bench.records.paired import expected_deviation

    if arguments.average is not None:
        source = f"average {arguments.average:g} of {arguments.longest}, policies with nothing in common"
        return expected_deviation(arguments.average, arguments.longest), source
    (a, first), (b, second) = open_sets(arguments.sets).items()
    found = compare(first, second, names=(a, b))
    if not found.average.deviation > 0:
        raise ConfigError(f"{a} and {b} never differ on {found.pairs} episodes: too little to plan with")
    return found.average.deviation, f"from {found.pairs} episodes of {a} and {b}"

"""The ways in: ``vla-bench``, ``python -m vla_bench``, ``run_benchmark.py``.

Signals are answered before the rest is read.
"""

from __future__ import annotations

import sys

RUN = "run"


def main(*, run_by_default: bool = False) -> int:
    """Runs the command that was typed and returns its exit code.

    Args:
        run_by_default: words without a command are of an evaluation.
    """
    words = sys.argv[1:]
    evaluates = words[:1] == [RUN] or (run_by_default and _may_evaluate(words))
    if evaluates:
        from vla_bench.bench.stopping import answer_signals

        answer_signals()  # reading the rest takes a good part of a second, more on a busy machine
    from vla_bench.program import introduce, not_installed

    try:
        from vla_bench.bench.cli.main import is_command, main

        introduce()
        if run_by_default and not (words and (words[0] == "--version" or is_command(words[0]))):
            words = [RUN, *words]
        return main(words)
    except KeyboardInterrupt:  # while Python was still reading us
        return 130
    except ModuleNotFoundError as error:
        sys.exit(not_installed(error))


def _may_evaluate(words: list[str]) -> bool:
    """Commands are plain words; an evaluation's have an equals sign or begin with a dash."""
    return not words or "=" in words[0] or words[0].startswith("-")

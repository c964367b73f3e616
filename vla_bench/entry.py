"""The ways in: ``vla-bench``, ``python -m vla_bench``, ``run_benchmark.py``.

Signals are answered before the rest is read.
"""

from __future__ import annotations

import os
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
        return _ended(main(words), words)
    except KeyboardInterrupt:  # while Python was still reading us
        return 130
    except ModuleNotFoundError as error:
        sys.exit(not_installed(error))


def _ended(code: int, words: list[str]) -> int:
    """The exit code; a thread that a policy has started in this process (``run.backend=inline``) and that never ends
    does not keep the command from ending."""
    import threading

    threads = [each for each in threading.enumerate() if each is not threading.main_thread() and not each.daemon]
    if threads and "run.backend=inline" in words:
        print(f"note: {threads[0].name}, a thread that the policy has started, goes on; it ends here", file=sys.stderr)
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    return code


def _may_evaluate(words: list[str]) -> bool:
    """Commands are plain words; an evaluation's have an equals sign or begin with a dash."""
    return not words or "=" in words[0] or words[0].startswith("-")

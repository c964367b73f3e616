#!/usr/bin/env python3
"""Evaluates a policy on a benchmark: ``python run_benchmark.py --help`` says how.

``vla-bench run`` for those who have only the checkout; ``python run_benchmark.py compare ...`` and the other commands
of ``vla-bench`` go, too.
"""

import sys

if __name__ == "__main__":
    if sys.version_info < (3, 11):  # noqa: UP036 - said here, where nothing has been read yet that an old one rejects
        sys.exit(f"error: Python 3.11 or 3.12 is needed; {sys.executable} is {sys.version.split()[0]}")
    from vla_bench.program import introduce, not_installed

    try:
        from vla_bench.bench.cli.main import is_command, main
        from vla_bench.start import hide_checkout

        introduce()
        hide_checkout()  # the parts lie here under everyday names; they are not to hide a user's own folders
        words = sys.argv[1:]
        sys.exit(main(words if words and (words[0] == "--version" or is_command(words[0])) else ["run", *words]))
    except KeyboardInterrupt:  # while Python was still reading us
        sys.exit(130)
    except ModuleNotFoundError as error:
        sys.exit(not_installed(error))

#!/usr/bin/env python3
"""Evaluates a policy on a benchmark: ``python run_benchmark.py --help`` says how.

``vla-bench run`` for those who have only the checkout; ``python run_benchmark.py compare ...`` and the other commands
of ``vla-bench`` go, too.
"""

import sys

if __name__ == "__main__":
    if sys.version_info < (3, 11):  # noqa: UP036 - said here, where nothing has been read yet that an old one rejects
        sys.exit(f"error: Python 3.11 or 3.12 is needed; {sys.executable} is {sys.version.split()[0]}")
    from vla_bench.entry import main
    from vla_bench.start import hide_checkout

    hide_checkout()  # the parts lie here under everyday names; they are not to hide a user's own folders
    sys.exit(main(run_by_default=True))

#!/usr/bin/env python3
"""Evaluates a policy on a benchmark: ``python run_benchmark.py --help`` says how.

``vla-bench run`` for those who have only the checkout; ``python run_benchmark.py compare ...`` and the other commands
of ``vla-bench`` go, too.
"""

import sys

if __name__ == "__main__":
    try:
        from vla_bench.bench.cli.main import is_command, main
        from vla_bench.program import introduce
        from vla_bench.start import hide_checkout
    except KeyboardInterrupt:  # while Python was still reading us
        sys.exit(130)
    introduce()
    hide_checkout()  # the parts lie here under everyday names; they are not to hide a user's own folders
    words = sys.argv[1:]
    sys.exit(main(words if words and (words[0] == "--version" or is_command(words[0])) else ["run", *words]))

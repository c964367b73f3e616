"""``python -m bench <command>``, in a checkout: what ``vla-bench`` is once it is installed."""

from __future__ import annotations

import sys

if __name__ == "__main__":
    from vla_bench.entry import main

    sys.exit(main())

"""``python -m vla_bench``: the same as ``vla-bench``."""

from __future__ import annotations

import sys

if __name__ == "__main__":
    from vla_bench.entry import main

    sys.exit(main())

"""``python -m vla_bench``: the same as ``vla-bench``."""

from __future__ import annotations

import sys

if __name__ == "__main__":
    try:
        from vla_bench.bench.cli.main import main
    except KeyboardInterrupt:  # while Python was still reading us
        sys.exit(130)
    sys.exit(main())

"""``python -m bench <command>``, in a checkout: what ``vla-bench`` is once it is installed."""

from __future__ import annotations

import sys

if __name__ == "__main__":
    try:
        from vla_bench.bench.cli.main import main
    except KeyboardInterrupt:  # while Python was still reading us
        sys.exit(130)
    sys.exit(main())

"""``python -m vla_bench``: the same as ``vla-bench``."""

from __future__ import annotations

import sys

if __name__ == "__main__":
    from vla_bench.program import not_installed

    try:
        from vla_bench.bench.cli.main import main

        sys.exit(main())
    except KeyboardInterrupt:  # while Python was still reading us
        sys.exit(130)
    except ModuleNotFoundError as error:
        sys.exit(not_installed(error))

"""``python -m bench <command>``: everything around an evaluation but the evaluation itself."""

from __future__ import annotations

import sys

if __name__ == "__main__":
    try:
        from bench.commands import main
    except KeyboardInterrupt:  # while Python was still reading us
        sys.exit(130)
    sys.exit(main())

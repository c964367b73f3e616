"""``python -m bench <command>``: everything around an evaluation but the evaluation itself."""

from __future__ import annotations

import sys

from bench.commands import main

if __name__ == "__main__":
    sys.exit(main())

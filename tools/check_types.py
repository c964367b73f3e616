"""Checks types: ``python -m tools.check_types``, as ``make lint`` does.

Type checkers look for ``vla_bench.bench`` in a folder of that name, which only an installed package has. So they are
shown the package as it is installed, in links; :func:`laid_out` serves the import linter, too.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PARTS = ("bench", "policies", "envs")


@contextlib.contextmanager
def laid_out() -> Iterator[Path]:
    """A folder that holds ``vla_bench`` with its parts in it."""
    with tempfile.TemporaryDirectory() as folder:
        package = Path(folder) / "vla_bench"
        package.mkdir()
        for file in (*(ROOT / "vla_bench").glob("*.py"), ROOT / "vla_bench" / "py.typed"):
            (package / file.name).symlink_to(file)
        for part in PARTS:
            (package / part).symlink_to(ROOT / part)
        yield Path(folder)


def main() -> int:
    """Runs mypy; its exit code."""
    with laid_out() as folder:
        command = [sys.executable, "-m", "mypy", "--config-file", str(ROOT / "pyproject.toml")]
        command += ["--cache-dir", str(ROOT / ".mypy_cache"), "--package", "vla_bench", *sys.argv[1:]]
        environment = {**os.environ, "MYPYPATH": folder.as_posix()}
        return subprocess.run(command, cwd=folder, env=environment, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())

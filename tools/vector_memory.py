"""What memory an extraction takes by its number of frames: the same command twice, the most memory of each process.

python -m tools.vector_memory policy=vla policy.checkpoint=results/laptop/best --data packed
python -m tools.vector_memory policy=vla policy.checkpoint=results/laptop/best --data packed --samples 100 2000

``resident`` is the operating system's own figure (``ru_maxrss``); it counts pages of mapped data files, too, which are
the system's to take back. ``anonymous`` leaves those out: it is what the process cannot do without, looked at 50 times
a second.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

LIMIT = 20.0
"""MB that many frames may take more than few."""


def measure(words: list[str], samples: int, folder: Path) -> tuple[float, float]:
    """Most resident and anonymous memory, in MB, of one extraction."""
    command = [sys.executable, "-m", "bench", "vectors", "extract", *words, "--samples", str(samples)]
    process = subprocess.Popen([*command, "--output", str(folder)])
    anonymous = 0
    status = Path(f"/proc/{process.pid}/status")
    while True:
        # Kept until wait4, so that the process's own figures are still there to be read.
        done, code, usage = os.wait4(process.pid, os.WNOHANG)
        if done:
            break
        if found := re.search(r"RssAnon:\s+(\d+)", status.read_text()):
            anonymous = max(anonymous, int(found[1]))
        time.sleep(0.02)
    process.returncode = os.waitstatus_to_exitcode(code)
    if process.returncode:
        raise SystemExit(process.returncode)
    return usage.ru_maxrss / 1024, anonymous / 1024


def main() -> int:
    """Prints both and their difference; 1 when it is above the limit."""
    form = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(prog="python -m tools.vector_memory", description=__doc__, formatter_class=form)
    parser.add_argument("--samples", type=int, nargs=2, default=(500, 10_000), metavar="N", help="few, many")
    arguments, words = parser.parse_known_args()
    found = []
    with tempfile.TemporaryDirectory() as folder:
        for samples in arguments.samples:
            found.append(measure(words, samples, Path(folder) / str(samples)))
            print(f"{samples:6} frames: resident {found[-1][0]:.1f} MB, anonymous {found[-1][1]:.1f} MB", flush=True)
    more = [many - few for few, many in zip(*found, strict=True)]
    print(f"more: resident {more[0]:+.1f} MB, anonymous {more[1]:+.1f} MB; {LIMIT:.0f} MB are allowed")
    return int(max(more) > LIMIT)


if __name__ == "__main__":
    sys.exit(main())

"""The measuring script runs and its figures fit together."""

from __future__ import annotations

import re
import subprocess
import sys


def test_prints_costs_and_speeds():
    command = [sys.executable, "-m", "tools.speed", "--family", "fake", "--rounds", "2", "--workers", "1"]
    printed = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    costs = {name.strip(): float(cost) for name, cost in re.findall(r"^  (\S.*?) +(-?[\d.]+) ms/", printed, re.M)}
    assert list(costs) == [
        "bare loop",
        "+ checks and timings",
        "+ process, supervisor",
        "rendering front",
        "rendering wrist",
    ]
    assert costs["bare loop"] > 0 and costs["rendering front"] > 0
    assert costs["+ checks and timings"] + costs["+ process, supervisor"] < 0.2, "ms a step, on any machine"
    assert re.search(r"^ +1 +\d+ steps/s$", printed, re.M)

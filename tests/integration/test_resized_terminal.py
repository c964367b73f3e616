"""The live table in a real terminal that is made narrower: tmux wraps what no longer fits, and leaves ghosts."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
import uuid
from pathlib import Path

import pytest

TMUX = shutil.which("tmux")
pytestmark = pytest.mark.skipif(TMUX is None, reason="no tmux on this machine")

DRAW = """
import sys, time
sys.path.insert(0, "tests/unit")
from rich.text import Text
from test_totals import busy
from vla_bench.bench.live.display import full_screen, standard_error
from vla_bench.bench.live.table import draw
console = standard_error()
totals = busy()
console.print("printed before")
with full_screen(console, lambda: [Text("what is run")], lambda width, height: draw(totals, width, height)):
    for number in range(45):
        time.sleep(0.1)
        if number == 5:
            console.print("printed meanwhile")
print("printed after")
"""
WORDS = ("what is run", "average", "retries", "local-0")


def tmux(socket: str, *words: str) -> str:
    command = [TMUX, "-f", "/dev/null", "-L", socket, *words]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def test_no_ghost_after_a_resize(tmp_path):
    script = tmp_path / "draw.py"
    script.write_text(DRAW)
    socket = f"vla-bench-{uuid.uuid4().hex[:8]}"
    environment = [f"-e{name}={os.environ[name]}" for name in ("PYTHONPATH",) if name in os.environ]
    root = Path(__file__).parents[2]
    shell = f"{sys.executable} {script}; sleep 60"
    tmux(socket, "new-session", "-d", "-x", "100", "-y", "40", "-c", str(root), *environment, shell)
    try:
        wait_for(socket, "average")
        for width in ("60", "90", "45", "120"):
            tmux(socket, "resize-window", "-x", width, "-y", "40")
            wait_for(socket, *WORDS, "printed meanwhile")
        lines = wait_for(socket, "printed after").split("\n")
        assert lines[:3] == ["printed before", "printed meanwhile", "printed after"], "nothing of the table is left"
    finally:
        tmux(socket, "kill-server")


def wait_for(socket: str, *words: str) -> str:
    """What is shown once each of the words is, and is no more than once."""
    shown = ""
    for _ in range(100):
        time.sleep(0.1)
        shown = tmux(socket, "capture-pane", "-p")
        if all(shown.count(word) == 1 for word in words):
            return shown
    raise AssertionError(words, shown)

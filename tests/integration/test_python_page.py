"""docs/python.md and the training loop run as they stand; the reference page is what the docstrings say."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tools import make_reference

DOCS = Path(__file__).resolve().parents[2] / "docs"


def test_the_tutorial_runs(tmp_path):
    blocks = re.findall(r"^```python\n(.*?)^```$", (DOCS / "python.md").read_text(encoding="utf-8"), re.S | re.M)
    assert len(blocks) == 4
    (tmp_path / "tutorial.py").write_text("\n".join(blocks))
    done = subprocess.run([sys.executable, "tutorial.py"], cwd=tmp_path, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "report.html").stat().st_size > 10_000 and (tmp_path / "comparison.html").is_file()
    assert len(list((tmp_path / "results").glob("*/summary.json"))) == 3
    assert "Cannot tell" in done.stdout


def test_the_training_loop_evaluates_the_weights_of_each_moment(tmp_path):
    pytest.importorskip("torch")
    words = [sys.executable, str(DOCS / "examples" / "training_loop.py"), "4", "2"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, timeout=300, env=environment)
    assert done.returncode == 0, done.stderr
    assert [line.split(":")[0] for line in done.stdout.splitlines()] == ["step 2", "step 4"]
    assert sorted(path.name for path in (tmp_path / "results").glob("step-*")) == ["step-000002", "step-000004"]


def test_the_reference_page_is_current():
    assert make_reference.PAGE.read_text(encoding="utf-8") == make_reference.text(), "python -m tools.make_reference"

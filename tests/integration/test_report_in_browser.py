"""The report in a real browser, when there is one: its script runs, and fast."""

from __future__ import annotations

import re
import shutil
import subprocess

import pytest
from result_sets import chain_lengths, write_chains

from vla_bench.bench.records.result_set import ResultSet
from vla_bench.bench.report import render

BROWSER = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
pytestmark = pytest.mark.skipif(BROWSER is None, reason="no Chromium on this machine")

MEASURE = """<script>
const find = document.querySelector("[name=find]");
document.title = [
  document.querySelectorAll(".episodes tbody tr").length,
  document.documentElement.scrollWidth <= innerWidth,
  Math.round(performance.now()),
  (find.value = "seq-0042", find.dispatchEvent(new Event("input", {bubbles: true})),
   document.querySelectorAll(".episodes tbody tr").length),
].join("/");
</script></body>"""


def test_a_thousand_episodes_open_in_a_blink(tmp_path):
    results = ResultSet.load(write_chains(tmp_path / "set", chain_lengths(0.8, 1000)))
    page = tmp_path / "report.html"
    page.write_text(render({"mine": results}).replace("</body>", MEASURE))
    command = [BROWSER, "--headless=new", "--no-sandbox", "--disable-gpu", "--dump-dom"]
    command += ["--window-size=500,900", f"--user-data-dir={tmp_path / 'profile'}", page.as_uri()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    rows, fits, milliseconds, found = re.search(r"<title>(.*?)</title>", done.stdout)[1].split("/")
    assert (rows, fits, found) == ("50", "true", "1")
    assert int(milliseconds) < 2000

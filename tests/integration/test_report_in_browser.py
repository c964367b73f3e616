"""The report in a real browser, when there is one: its script runs, and fast."""

from __future__ import annotations

import dataclasses
import json
import re
import shutil
import subprocess

import pytest
from result_sets import chain_lengths, write_chains

from vla_bench.bench.records.result_set import ResultSet
from vla_bench.bench.report import render
from vla_bench.bench.video.clips import Clip

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


LINKS = """<script>
const pips = [...document.querySelectorAll(".chain a.failed")];
const target = document.querySelector(pips[0].getAttribute("href").replaceAll(":", "\\\\:"));
const back = target.querySelector("figcaption a").getAttribute("href");
location.hash = back;
setTimeout(() => {
  const rows = document.querySelectorAll(".episodes tbody tr");
  dispatchEvent(new Event("beforeprint"));
  document.title = [
    pips.length, pips[0].getAttribute("href"), back, rows.length, rows[0].textContent.includes("seq-0003"),
    document.querySelectorAll(".copy").length === document.querySelectorAll(".command").length,
    document.querySelectorAll("details:not([open])").length,
  ].join("|");
}, 200);
</script></body>"""


def test_a_failure_leads_to_its_clip_and_back(tmp_path):
    """Also: an address names an episode, and on paper nothing is folded."""
    folder = write_chains(tmp_path / "set", [5, 5, 5, 2, 1])
    (folder / "videos").mkdir()
    (folder / "videos" / "seq-0003.mp4").write_bytes(b"no film")
    clip = Clip("seq-0003", "seq-0003.mp4", _failed_task(folder), "do it", False, 2, 400, True, 7, 0.1)
    (folder / "videos" / "index.json").write_text(json.dumps([dataclasses.asdict(clip)]))
    page = tmp_path / "report.html"
    page.write_text(render({"mine": ResultSet.load(folder)}).replace("</body>", LINKS))
    command = [BROWSER, "--headless=new", "--no-sandbox", "--disable-gpu", "--dump-dom", "--virtual-time-budget=2000"]
    command += [f"--user-data-dir={tmp_path / 'profile'}", page.as_uri()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    said = re.search(r"<title>(.*?)</title>", done.stdout)[1].split("|")
    assert said == ["1", "#clip-0-seq-0003", "#episode=seq-0003", "1", "true", "true", "0"]


def _failed_task(folder):
    record = next(each for each in ResultSet.load(folder).records if each.episode == "seq-0003")
    return record.subtasks[-1].subtask

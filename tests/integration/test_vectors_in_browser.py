"""The report of extractions in a real browser, when there is one."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys

import pytest
from extractions import write_extraction

from vla_bench.bench.vectors.page import report
from vla_bench.bench.vectors.store import read

BROWSER = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
pytestmark = pytest.mark.skipif(BROWSER is None, reason="no Chromium on this machine")

POINTS = """<script>
const svg = document.querySelectorAll("#plots svg")[1], card = document.querySelector(".point");
const key = (name) => svg.dispatchEvent(new KeyboardEvent("keydown", {key: name, bubbles: true, cancelable: true}));
const said = () => card.querySelector("small")?.textContent ?? "";
svg.dispatchEvent(new Event("focus"));
const first = said();
for (const name of ["ArrowLeft", "ArrowRight", "ArrowUp", "ArrowDown"]) key(name);
const moved = said() !== first;
const dot = document.querySelectorAll("#plots svg")[0].querySelectorAll("circle")[30];
const box = dot.getBoundingClientRect();
const at = {clientX: box.x + box.width / 2, clientY: box.y + box.height / 2};
dot.dispatchEvent(new PointerEvent("pointerdown", {bubbles: true, ...at}));
const colour = document.querySelector("[name=colour]");
colour.value = "success";
colour.dispatchEvent(new Event("input"));
const keys = [...document.querySelectorAll(".keys button")];
keys[0].click();
document.title = [
  document.querySelectorAll("#plots circle").length, first.startsWith("episode e0"), moved,
  document.querySelectorAll(".here").length, /frame \\d+/.test(said()), card.querySelector("img").src.slice(0, 23),
  keys.length, document.querySelectorAll("circle.away").length,
  document.documentElement.scrollWidth <= innerWidth,
].join("|");
</script></body>"""


def test_points_of_a_map_tell_which_frame_they_are(tmp_path, monkeypatch):
    """By pointer, touch and keys, in both maps; the groups of a colour can be shown alone; nothing is too wide."""
    pytest.importorskip("sklearn")
    monkeypatch.setitem(sys.modules, "umap", None)  # takes long to begin, and its points are drawn as those of t-SNE
    found = [read(write_extraction(tmp_path / name, shift=shift)) for name, shift in (("a", 0), ("b", 1))]
    page = tmp_path / "vectors.html"
    page.write_text(report(found, "head")[0].replace("</body>", POINTS))
    command = [BROWSER, "--headless=new", "--no-sandbox", "--disable-gpu", "--dump-dom", "--window-size=500,900"]
    command += [f"--user-data-dir={tmp_path / 'profile'}", page.as_uri()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    said = re.search(r"<title>(.*?)</title>", done.stdout)[1].split("|")
    assert said == ["120", "true", "true", "2", "true", "data:image/jpeg;base64,", "2", "60", "true"]

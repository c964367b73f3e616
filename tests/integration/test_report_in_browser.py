"""The pages in a real browser, where there is one: scripts run, and fast; the keyboard reaches all; nothing is cut.

Where ``AXE_CORE`` names an ``axe.min.js``, axe-core looks for what keeps people from reading them.
"""

from __future__ import annotations

import json
import os
from dataclasses import asdict
from pathlib import Path

import pytest
from extractions import write_extraction
from result_sets import chain_lengths, write_chains

from tools.chromium import SCHEMES, SERIOUS, SIZES, chromium, find_chromium
from vla_bench.bench.records.comparison import compare
from vla_bench.bench.records.overview import leaderboard
from vla_bench.bench.records.result_set import ResultSet
from vla_bench.bench.report import render
from vla_bench.bench.report.tables_page import tables_page
from vla_bench.bench.stress import page as stress
from vla_bench.bench.stress.comparing import levels_of, open_folder
from vla_bench.bench.vectors.page import report as vectors_report
from vla_bench.bench.vectors.store import read
from vla_bench.bench.video.clips import Clip, write_index

pytestmark = pytest.mark.skipif(find_chromium() is None, reason="no Chromium on this machine")


@pytest.fixture(scope="module")
def browser():
    with chromium() as page:
        yield page


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    """One file of every kind of page, by name."""
    folder = tmp_path_factory.mktemp("pages")
    lengths = {name: chain_lengths(0.3 + 0.1 * k, 40, seed=k) for k, name in enumerate("abcdef")}
    sets = {
        f"policy {name}": ResultSet.load(write_chains(folder / name, each, policy=name, errors=(3,)))
        for name, each in lengths.items()
    }
    two, many = dict(list(sets.items())[::5]), sets
    failed = {name: next(r for r in two[name].records if r.chain_length == 1) for name in two}
    for name, each in two.items():
        record = failed[name]
        write_index(each.folder, [film(each.folder, record.episode, record.subtasks[-1].subtask)])
    texts = {
        "one": render({"policy a": two["policy a"]}),
        "two": render(two, compared(two)),
        "many": render(many, compared(many)),
        "leaderboard": tables_page("Leaderboard", leaderboard(sets), "results"),
    }
    extractions = [write_extraction(folder / f"vectors-{n}", shift=n) for n in range(2)]
    texts["vectors"] = vectors_report([read(each) for each in extractions], "head")[0]
    texts["stress"] = stress_page(folder / "under", lengths["c"])
    for name, text in texts.items():
        (folder / f"{name}.html").write_text(text)
    return {name: folder / f"{name}.html" for name in texts} | {"clips": folder / "a" / "videos" / "index.html"}


def stress_page(folder, lengths):
    write_chains(folder / "unchanged", lengths)
    write_chains(folder / "lost", [max(0, n - 2) for n in lengths], facts={"stress": {"lost": 0.5, "seed": 0}})
    return stress.render({"mine": levels_of(open_folder(folder), "here")}, folder)


def compared(sets):
    (base, first), *others = sets.items()
    return [compare(first, each, names=(base, name)) for name, each in others]


def film(folder, episode, task):
    (folder / "videos").mkdir(exist_ok=True)
    (folder / "videos" / f"{episode}.mp4").write_bytes(b"no film")
    return Clip(episode, f"{episode}.mp4", task, "do it", False, 1, 400, True, 7, 0.1)


def test_a_thousand_episodes_open_in_a_blink(tmp_path, browser):
    results = ResultSet.load(write_chains(tmp_path / "set", chain_lengths(0.8, 1000)))
    page = tmp_path / "report.html"
    page.write_text(render({"mine": results}))
    browser.open(page, "phone")
    assert browser.ask("Math.round(performance.now())") < 2000
    assert browser.ask("document.querySelectorAll('.episodes tbody tr').length") == 50
    assert browser.ask("document.documentElement.scrollWidth <= innerWidth")
    browser.ask("document.querySelector('[name=find]').value = 'seq-0042'")
    browser.ask("document.querySelector('[name=find]').dispatchEvent(new Event('input', {bubbles: true}))")
    assert browser.ask("document.querySelectorAll('.episodes tbody tr').length") == 1


def test_a_failure_leads_to_its_clip_and_back(tmp_path, browser):
    """Also: an address names an episode, and on paper nothing is folded."""
    folder = write_chains(tmp_path / "set", [5, 5, 5, 2, 1])
    (folder / "videos").mkdir()
    (folder / "videos" / "seq-0003.mp4").write_bytes(b"no film")
    record = next(each for each in ResultSet.load(folder).records if each.episode == "seq-0003")
    clip = Clip("seq-0003", "seq-0003.mp4", record.subtasks[-1].subtask, "do it", False, 2, 400, True, 7, 0.1)
    (folder / "videos" / "index.json").write_text(json.dumps([asdict(clip)]))
    page = tmp_path / "report.html"
    page.write_text(render({"mine": ResultSet.load(folder)}))
    browser.open(page)
    assert browser.ask("document.querySelectorAll('.chain a.failed').length") == 1
    browser.ask("document.querySelector('.chain a.failed').focus()")
    browser.press("Enter")
    assert browser.ask("location.hash") == "#clip-0-seq-0003"
    back = "document.querySelector('#clip-0-seq-0003 figcaption a')"
    assert browser.ask(f"{back}.getAttribute('href')") == "#episode=seq-0003"
    browser.ask(f"new Promise((then) => {{ addEventListener('hashchange', then, {{once: true}}); {back}.click() }})")
    assert browser.ask(
        "[...document.querySelectorAll('.episodes tbody tr')].map((each) => each.cells[0].textContent)"
    ) == ["seq-0003"]
    assert browser.ask("document.querySelectorAll('.copy').length == document.querySelectorAll('.command').length")
    browser.ask("dispatchEvent(new Event('beforeprint'))")
    assert browser.ask("document.querySelectorAll('details:not([open])').length") == 0


UNREACHED = """(() => {
  const seen = (each) => each.checkVisibility() && getComputedStyle(each).visibility !== "hidden";
  return [...document.querySelectorAll("a[href], button, input, select, summary, video[controls]")]
    .filter((each) => seen(each) && !each.dataset.reached).length;
})()"""


@pytest.mark.parametrize("kind", ["one", "two", "many", "leaderboard", "stress", "clips"])
def test_the_tab_key_reaches_everything_that_answers_and_shows_where_it_is(pages, browser, kind):
    browser.open(pages[kind])
    unmarked = set()
    for _ in range(600):
        browser.press("Tab")
        said = browser.ask(
            "(() => { const at = document.activeElement; if (!at || at === document.body) return null;"
            "at.dataset.reached = 1; const style = getComputedStyle(at);"
            "return [at.tagName, at.tagName === 'VIDEO' || parseFloat(style.outlineWidth) > 0 "
            "&& style.outlineStyle !== 'none'] })()"
        )
        if said is None:
            break
        if not said[1]:
            unmarked.add(said[0])
    assert browser.ask(UNREACHED) == 0
    assert not unmarked, "who tabs sees where they are"


@pytest.mark.parametrize("kind", ["one", "two", "many", "leaderboard", "stress", "clips"])
def test_nothing_sticks_out_and_charts_have_their_legend_at_any_width(pages, browser, kind):
    for size in SIZES:
        browser.open(pages[kind], size)
        assert browser.ask("document.documentElement.scrollWidth <= innerWidth"), size
        if kind in ("two", "many"):
            said = browser.ask("document.querySelector('#chains .legend').innerText.split('\\n').map((s) => s.trim())")
            assert [each for each in said if each] == [
                f"policy {name}" for name in ("af" if kind == "two" else "abcdef")
            ]
            assert browser.ask(
                "[...document.querySelectorAll('#chains .legend span')].every((each) => {"
                "const box = each.getBoundingClientRect(); return box.width > 0 && box.right <= innerWidth })"
            )


CUT = """[...document.querySelectorAll(".scroll, pre, table, figure, .bars")]
  .filter((each) => each.checkVisibility() && each.getBoundingClientRect().right > innerWidth + 1)
  .map((each) => each.outerHTML.slice(0, 80))"""


@pytest.mark.parametrize("kind", ["one", "two", "many", "stress"])
def test_paper_has_bars_legends_and_whole_tables(pages, browser, kind):
    """As wide as A4 between its margins, without what only a screen can do."""
    browser.open(pages[kind])
    browser.send("Emulation.setDeviceMetricsOverride", width=718, height=1000, deviceScaleFactor=1, mobile=False)
    browser.send("Emulation.setEmulatedMedia", media="print")
    browser.ask("dispatchEvent(new Event('beforeprint'))")
    try:
        assert browser.ask(CUT) == []
        assert not browser.ask("document.querySelector('nav')?.checkVisibility()")
        assert browser.ask("getComputedStyle(document.body).printColorAdjust") == "exact", "bars are backgrounds"
        assert kind in ("one", "stress") or browser.ask("document.querySelector('#chains .legend').checkVisibility()")
    finally:
        browser.send("Emulation.setEmulatedMedia", media="")


@pytest.mark.parametrize("kind", ["one", "two", "many", "leaderboard", "stress", "clips", "vectors"])
def test_axe_finds_nothing_serious(pages, browser, kind):
    script = os.environ.get("AXE_CORE")
    if not script:
        pytest.skip("AXE_CORE names no axe.min.js of axe-core")
    for size in ("desktop", "phone"):
        for scheme in SCHEMES:
            browser.open(pages[kind], size, scheme)
            found = [each for each in browser.axe(Path(script)) if each.impact in SERIOUS]
            assert not found, (size, scheme, found)

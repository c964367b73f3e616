"""The HTML report: complete, self-contained, safe against what names contain."""

import json
import re
import xml.etree.ElementTree as ElementTree
from html.parser import HTMLParser

import pytest
from result_sets import FACTS, chain_lengths, write_chains

from vla_bench.bench.records.comparison import compare
from vla_bench.bench.records.result_set import ResultSet
from vla_bench.bench.report import render
from vla_bench.bench.report.chart import survival
from vla_bench.bench.video.clips import Clip, write_index

VOID = {"meta", "input", "br", "link", "img", "hr"}


class Balance(HTMLParser):
    """Fails on a tag that is not closed, or closed without having been opened."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.sections: list[str] = []

    def handle_starttag(self, tag, attrs):
        if tag not in VOID and tag not in {"line", "circle", "polyline"}:
            self.open.append(tag)
        if tag == "section" and dict(attrs).get("id"):
            self.sections.append(dict(attrs)["id"])

    def handle_startendtag(self, tag, attrs):
        pass

    def handle_endtag(self, tag):
        if tag not in {"line", "circle", "polyline"}:
            assert self.open.pop() == tag


def load(folder, lengths, **changes):
    return ResultSet.load(write_chains(folder, lengths, **changes))


def embedded(page):
    return json.loads(re.search(r'<script type="application/json" id="data">(.*?)</script>', page, re.S)[1])


@pytest.fixture(scope="module")
def thousand(tmp_path_factory):
    return load(tmp_path_factory.mktemp("sets") / "big", chain_lengths(0.8, 1000), errors=(3, 7))


def test_page_is_whole_and_small(thousand):
    page = render({"mine": thousand})
    parser = Balance()
    parser.feed(page)
    assert not parser.open
    assert parser.sections == ["chains", "tasks", "tables", "failures", "time", "episodes", "provenance"]
    assert len(page.encode()) < 1_000_000


def test_page_needs_nothing_from_elsewhere(thousand):
    page = render({"mine": thousand})
    assert not re.search(r"""(?:src|href)=["'](?!#)|url\(|@import|https?://""", page)


def test_numbers_have_n_and_interval(thousand):
    page = render({"mine": thousand})
    mean = thousand.summary.chain.average
    assert f"<b>{mean.value:.2f}</b>" in page
    assert f"{mean.low:.2f} – {mean.high:.2f}, n = 998" in page
    assert "2 × crash" in page


def test_every_episode_is_embedded(thousand):
    data = embedded(render({"mine": thousand}))
    assert len(data["episodes"]) == 1000 and data["longest"] == 5
    name, scene, record = data["episodes"][11]
    assert (name, scene, record[0]) == ("seq-0011", "D", thousand.records[11].chain_length)
    assert [data["tasks"][task] for task, _, _ in record[1]] == [
        subtask.subtask for subtask in thousand.records[11].subtasks
    ]
    assert data["episodes"][3][2][0] == -1 and "SIGSEGV" in data["episodes"][3][2][2]


def test_comparison_has_its_verdict_and_both_sets(tmp_path):
    weak = load(tmp_path / "weak", chain_lengths(0.7, 60, seed=1), policy="weak")
    strong = load(tmp_path / "strong", chain_lengths(0.9, 80, seed=2), policy="strong")
    found = compare(weak, strong)
    page = render({"weak": weak, "strong": strong}, [found])
    assert found.verdict in page and "20 that only one of them has are left out" in page
    data = embedded(page)
    assert data["sets"] == ["weak", "strong"] and len(data["episodes"]) == 80
    assert data["episodes"][70][2] is None and data["episodes"][70][3] is not None


def test_names_cannot_break_out_of_the_page(tmp_path):
    name = "</script><script>alert(1)</script>"
    one = load(tmp_path / "one", [5, 3], policy=name, notes=["<b>bold</b>"])
    page = render({name: one})
    assert page.count("<script") == 2 and "<b>bold</b>" not in page
    assert embedded(page)["sets"] == [name]


def test_single_tasks_have_no_chains(tmp_path):
    facts = {**FACTS, "kind": "tasks"}
    one = load(tmp_path / "one", [1, 0, 1], facts=facts, longest=1)
    page = render({"one": one})
    assert 'id="chains"' not in page and "success over all tasks" in page
    assert "Task suite" in page


def test_a_set_without_failures_says_so(tmp_path):
    assert "No attempt failed." in render({"one": load(tmp_path / "one", [5, 5])})


def test_chart_is_sound_xml_with_a_point_per_rate(thousand):
    rates = thousand.summary.chain.rates
    root = ElementTree.fromstring(survival({"a & b": rates, "c": rates}))
    circles = root.findall(".//circle")
    assert len(circles) == 10
    heights = [float(circle.get("cy")) for circle in circles[:5]]
    assert heights == sorted(heights), "chains only get rarer, and y grows downwards"
    assert "a & b: " in root.get("aria-label")


def test_the_page_of_clips_has_the_dress_and_an_address_for_each(tmp_path):
    folder = write_chains(tmp_path / "set", [1])
    (folder / "videos").mkdir()
    write_index(folder, [Clip("seq-0000", "seq-0000.mp4", "a<b", "do it", False, 1, 400, True, 7, 0.1)])
    page = (folder / "videos" / "index.html").read_text()
    Balance().feed(page)
    assert 'id="seq-0000"' in page and 'href="#seq-0000"' in page and 'src="seq-0000.mp4#t=' in page
    assert "a&lt;b" in page and "prefers-color-scheme: dark" in page

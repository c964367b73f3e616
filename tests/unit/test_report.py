"""The HTML report: complete, self-contained, safe against what names contain."""

import base64
import json
import re
import xml.etree.ElementTree as ElementTree
from html.parser import HTMLParser

import pytest
from result_sets import FACTS, chain_lengths, write_chains

from vla_bench.bench.cli.main import main as command
from vla_bench.bench.records.comparison import compare
from vla_bench.bench.records.formats import html
from vla_bench.bench.records.overview import leaderboard
from vla_bench.bench.records.result_set import PROVENANCE, ResultSet
from vla_bench.bench.records.rows import Row, write_rows
from vla_bench.bench.report import render
from vla_bench.bench.report.alone import commands, solved_by_one
from vla_bench.bench.report.chart import survival
from vla_bench.bench.report.tables_page import tables_page
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


def film(folder, episode, *, success=False, chain=2, poster=True):
    """A clip of which only the file names and what the index says are real."""
    (folder / "videos").mkdir(exist_ok=True)
    (folder / "videos" / f"{episode}.mp4").write_bytes(f"film of {folder.name} {episode}".encode())
    if poster:
        (folder / "videos" / f"{episode}.jpg").write_bytes(b"still")
    return Clip(
        episode, f"{episode}.mp4", "open_drawer", "pull it", success, chain, 9, True, 30, 0.1, f"{episode}.jpg" * poster
    )


def base64_of(text):
    return base64.b64encode(text.encode()).decode()


def compared(sets):
    (base, first), *others = sets.items()
    return render(sets, [compare(first, each, names=(base, name)) for name, each in others])


def test_what_only_one_of_two_solved_stands_side_by_side(tmp_path):
    a, b = load(tmp_path / "a", [5, 2, 0, 5, 5, 4]), load(tmp_path / "b", [5, 5, 5, 1, 0, 4], policy="other")
    assert [mine.episode for mine, _ in solved_by_one(b, a)] == ["seq-0002", "seq-0001"], "where it got least far first"
    assert [mine.episode for mine, _ in solved_by_one(a, b)] == ["seq-0004", "seq-0003"]
    write_index(a.folder, [film(a.folder, "seq-0002"), film(a.folder, "seq-0003", success=True, chain=5)])
    write_index(b.folder, [film(b.folder, "seq-0002", success=True, chain=5, poster=False)])
    page = compared({"base": a, "new": b})
    alone = page[page.index('<section id="alone">') :].partition("</section>")[0]
    pair = alone[alone.index('<a href="#episode=seq-0002">') :].partition("</div>")[0]
    assert pair.index('id="clip-1-seq-0002"') < pair.index('id="clip-0-seq-0002"'), "who solved it comes first"
    assert base64_of("film of b seq-0002") in pair and base64_of("film of a seq-0002") in pair
    assert "no clip" not in pair and pair.count("poster=") == 1
    assert "2 sequences that only" in alone and alone.count("no clip") == 1, "of seq-0003 there is one"
    assert page.count(base64_of("film of a seq-0002")) == 1, "a film is embedded once"
    assert embedded(page)["clips"] == [["seq-0002", "seq-0003"], ["seq-0002"]]
    parser = Balance()
    parser.feed(page)
    assert not parser.open and "alone" in parser.sections
    assert '<section id="alone">' not in render({"base": a})


@pytest.mark.parametrize(
    ("typed", "wanted"),
    [
        (
            "vla-bench run policy=mine.py:Mine run.name=a run.workers=4 --junit=x.xml",
            "vla-bench run policy=mine.py:Mine run.results={folder}/clips 'run.only=[seq-0001,seq-0004]' run.video=all",
        ),
        (
            "vla-bench run ablation=toy other:policy.x=1 mine:policy.x=2 run.seed=3",
            "vla-bench run run.seed=3 policy=random policy.x=2 run.results={folder}/clips "
            "'run.only=[seq-0001,seq-0004]' run.video=all",
        ),
        ("python train.py", None),
    ],
)
def test_it_says_what_makes_the_clips_that_are_missing(tmp_path, typed, wanted, monkeypatch):
    monkeypatch.setenv("VLA_BENCH_PROGRAM", "vla-bench")
    folder = tmp_path / "mine-00000000"
    results = load(folder, [5, 2, 0, 5, 5])
    rows = [{"name": "mine", "folder": folder.name, "words": ["policy=random"], "evaluation": ""}]
    (tmp_path / "rows.json").write_text(json.dumps({"rows": rows}))
    (folder / PROVENANCE).write_text(
        json.dumps({"tries": [{"command": typed, "started": "2026-01-01T00:00:00+00:00"}]})
    )
    said = commands(results, ["seq-0001", "seq-0004"], {})
    assert said == ([wanted.format(folder=folder)] if wanted else [])
    if "ablation" in typed:
        (tmp_path / "rows.json").unlink()
        assert commands(results, ["seq-0001"], {}) == [], "an earlier version did not note what a row is made of"
    (folder / "traces").mkdir()
    (folder / "traces" / "seq-0004.npz").touch()
    said = commands(results, ["seq-0001", "seq-0004"], {})
    assert said[0] == f"vla-bench video {folder} --episodes seq-0004"


def test_many_sets_stand_in_a_table_and_look_unlike(tmp_path):
    sets = {f"row {k}": load(tmp_path / f"{k}", chain_lengths(0.4 + 0.05 * k, 12), policy=f"p{k}") for k in range(8)}
    page = compared(sets)
    rows = page[page.index('<section id="rows">') :].partition("</section>")[0]
    dots = re.findall(r'<td><i class="dot ([^"]*)"></i>(row \d)', rows)
    assert [name for _, name in dots] == list(sets) and len({look for look, _ in dots}) == 8
    assert all(f'<g class="{look}">' in page for look, _ in dots), "and in the chart as in the table"
    assert '<section class="set">' not in page and "8 rows" in page
    parser = Balance()
    parser.feed(page)
    assert not parser.open


def test_tables_alone_are_a_whole_page(tmp_path):
    sets = {name: load(tmp_path / name, [5, 2, 1]) for name in ("a", "b")}
    page = tables_page("Leader <board>", leaderboard(sets))
    parser = Balance()
    parser.feed(page)
    assert not parser.open
    assert '<html lang="en">' in page and "<title>Leader &lt;board&gt;</title>" in page and "viewport" in page
    assert "<th></th>" not in page and "<th></th>" not in html(leaderboard(sets)[0]), "a header says something"


def luminance(colour):
    """Relative luminance of ``#rrggbb`` (WCAG 2.1)."""
    values = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    linear = [each / 12.92 if each <= 0.04045 else ((each + 0.055) / 1.055) ** 2.4 for each in values]
    return sum(part * each for part, each in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


def contrast(one, other):
    lighter, darker = sorted((luminance(one), luminance(other)), reverse=True)
    return (lighter + 0.05) / (darker + 0.05)


@pytest.mark.parametrize("scheme", [0, 1, 2])
def test_text_and_marks_can_be_told_from_the_ground(thousand, scheme):
    """WCAG 2.1: text 4.5 to 1 (1.4.3), what carries meaning 3 to 1 (1.4.11); light, dark and printed."""
    css = re.search("<style>(.*?)</style>", render({"mine": thousand}), re.S)[1]
    given = [
        dict(re.findall(r"--([\w-]+): (#[0-9a-f]{3,6})", block)) for block in re.findall(r":root \{(.*?)\}", css, re.S)
    ]
    assert len(given) == 3 and all(set(each) == set(given[0]) for each in given), "no colour of another scheme is left"
    colours = {
        name: "#" + "".join(2 * c for c in hexes[1:]) if len(hexes) == 4 else hexes
        for name, hexes in given[scheme].items()
    }
    for ground in ("ground", "raised"):
        for text in ("ink", "soft", "bad-ink"):
            assert contrast(colours[text], colours[ground]) >= 4.5, (text, ground)
        for mark in ("good", "bad", "c0", "c1", "c2", "c3", "c4", "c5"):
            assert contrast(colours[mark], colours[ground]) >= 3, (mark, ground)
    assert contrast(colours["warm-ink"], colours["warm"]) >= 4.5


def test_an_ablation_measured_on_two_things_has_a_page_of_each(tmp_path, capsys):
    """As a trained one: its rows are named with their seeds."""
    folder = tmp_path / "ablation-learned"
    rows = []
    for name, seed, on in ((n, s, e) for e in ("chains", "varied") for n in ("one step", "LSTM") for s in (0, 1)):
        row = f"{name}, seed {seed}"
        rows.append(Row(row, f"{name[0]}{seed}-{on}", ("policy.x=1",), on))
        load(folder / rows[-1].folder, [5, seed, 2], policy="vla")
    write_rows(folder, rows)
    assert command(["report", str(folder)]) == 0
    for on in ("chains", "varied"):
        page = (folder / f"comparison-{on}.html").read_text()
        assert "4 rows" in page and all(row.name in page for row in rows)
    assert command(["describe", str(folder)]) == 0
    assert "varied" in capsys.readouterr().out

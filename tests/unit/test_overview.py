"""Tables of many sets: published numbers, marks, ranks."""

import pytest
from result_sets import FACTS, chain_lengths, write_chains

from vla_bench.bench.errors import ProtocolMismatch, ResultSetError
from vla_bench.bench.families import calvin, simpler
from vla_bench.bench.families.published import FOLDER
from vla_bench.bench.records.formats import FORMATS
from vla_bench.bench.records.overview import WITHOUT_CONTROL, leaderboard, published_chain, side_by_side
from vla_bench.bench.records.result_set import ResultSet


def published_chains(split):
    facts = {"kind": "chains"}
    return calvin.published({"identity": {"split": split}, "protocol": {"facts": facts}})


def published_success(name):
    return simpler.published({"protocol": {"facts": {"set": name}}})


def load(folder, lengths, **changes):
    return ResultSet.load(write_chains(folder, lengths, **changes))


def test_published_averages_follow_from_the_rates_but_for_three():
    rows = {(row.method, split): row for split in ("ABC", "ABCD") for row in published_chains(split)}
    summed = {key: published_chain(row).average.value for key, row in rows.items()}
    assert len(rows) == 15
    assert {key for key, row in rows.items() if abs(row.average - summed[key]) > 0.005 + 1e-9} == {
        ("MCIL", "ABC"),
        ("R3M (frozen)", "ABCD"),
        ("HULC", "ABCD"),
    }
    best = {split: summed[method, split] for method, split in rows if method.startswith("KosMos")}
    assert best["ABC"] == pytest.approx(4.252)
    assert best["ABCD"] == pytest.approx(4.487)


def test_published_rates_have_the_interval_of_a_thousand_sequences():
    (row,) = (row for row in published_chains("ABC") if row.method == "GR-1")
    chain = published_chain(row)
    first = chain.rates[0]
    assert (first.value, first.n) == (0.854, 1000)
    assert first.low == pytest.approx(0.8307, abs=1e-3) and first.high == pytest.approx(0.8746, abs=1e-3)
    assert chain.average.low < 3.06 < chain.average.high


def test_every_published_number_has_a_source():
    for path in FOLDER.glob("*.csv"):
        header, *rows = path.read_text().splitlines()
        assert header.endswith(",source") and rows
        assert all("arXiv" in row or row.endswith("unverified") for row in rows)
    assert published_success("bridge")[0].method.startswith("KosMos")
    assert published_chains("none") == [] and published_success("") == []


def test_ours_come_first_then_published_best_first(tmp_path):
    (table,) = side_by_side({"ours": load(tmp_path / "ours", chain_lengths(0.9, 1000))})
    names = [row[0].text for row in table.rows]
    assert names[0] == "ours" and names[1] == "KosMos policy head (RoboVLMs) *" and len(names) == 8
    assert "trained on ABC" in table.title and "arXiv 2412.14058" in table.caption
    assert "MCIL * (a)" in names and "(a) the published rates add up to 0.319" in table.caption
    assert all(cell.interval for row in table.rows for cell in row[2:])


def test_what_keeps_a_set_from_being_compared_with_published_numbers_is_marked(tmp_path):
    facts = {"assets": "builtin", "renderer": "tiny"}
    (table,) = side_by_side({"ours": load(tmp_path / "ours", [5] * 20, facts=facts)})
    assert table.rows[0][0].text == "ours (a,b,c)"
    assert "(a) builtin assets, published numbers: official ones." in table.caption
    assert "(b) renderer tiny" in table.caption and "(c) the first 20 of the 1000 sequences" in table.caption
    assert not any(cell.best for cell in table.rows[0]), "a marked row is never the best"
    assert any(cell.best for cell in table.rows[1])


def test_a_learned_policy_stands_beside_a_blind_one_or_the_table_says_so(tmp_path):
    plain = load(tmp_path / "plain", [5, 4, 3]).header["identity"]
    learned = {**plain, "arguments": {"checkpoint": "trained/last"}}
    sets = {"seeing": load(tmp_path / "seeing", [5, 4, 3], identity=learned)}
    (table,) = side_by_side(sets)
    assert WITHOUT_CONTROL in table.caption
    switched = {"policy_switches": {"blind": "true"}}
    sets["blind"] = load(tmp_path / "blind", [1, 0, 0], identity=learned, facts=switched)
    (table,) = side_by_side(sets)
    assert WITHOUT_CONTROL not in table.caption
    (table,) = side_by_side({"scripted": load(tmp_path / "scripted", [5, 4, 3])})
    assert WITHOUT_CONTROL not in table.caption


def test_sets_of_other_protocols_are_refused_or_marked(tmp_path):
    sets = {
        "one": load(tmp_path / "one", [5, 4, 3]),
        "two": load(tmp_path / "two", [5, 4, 3], facts={"renderer": "fast"}),
    }
    with pytest.raises(ProtocolMismatch, match=r"one and two .* renderer egl / fast"):
        side_by_side(sets)
    (table,) = side_by_side(sets, anyway=True)
    assert "not measured like one: renderer egl / fast" in table.caption


def test_each_training_split_has_its_own_table(tmp_path):
    sets = {split: load(tmp_path / split, [5, 4, 3], split=split) for split in ("ABC", "ABCD", "none")}
    tables = side_by_side(sets)
    assert [len(table.rows) for table in tables] == [8, 9, 1]
    assert [len(table.rows) for table in side_by_side(sets, published=False)] == [1, 1, 1]


def test_single_tasks_stand_beside_published_simpler_numbers(tmp_path):
    facts = {**FACTS, "family": "simpler", "kind": "tasks", "set": "bridge", "renderer": "vulkan"}
    one = load(tmp_path / "one", [1, 0, 1, 0], facts=facts, longest=1)
    (table,) = side_by_side({"one": one})
    assert [cell.text for cell in table.rows[0][1:]] == ["4", "50.0"]
    assert len(table.rows) == 6 and "without an interval" in table.caption
    with pytest.raises(ResultSetError, match="do not fit into one table"):
        side_by_side({"one": one, "two": load(tmp_path / "two", [3])})


def test_nothing_judged_is_an_error(tmp_path):
    with pytest.raises(ResultSetError, match="no judged episode yet"):
        side_by_side({"one": load(tmp_path / "one", [0], errors=(0,))})


@pytest.mark.parametrize("form", FORMATS)
def test_formats(tmp_path, form):
    (table,) = side_by_side({"50% & co_1": load(tmp_path / "one", chain_lengths(0.8, 30))})
    text = FORMATS[form](table)
    if form == "latex":
        assert r"50\% \& co\_1" in text and r"\toprule" in text and text.count(r" \\") == 9
    if form == "html":
        assert "50% &amp; co_1" in text and text.count("<tr>") == 9
    if form == "md":
        assert text.count("\n|") == 10
    if form == "csv":
        assert text.count("\n") == 9 and len({line.count(",") for line in text.splitlines()}) <= 2


def test_leaderboard_ranks_within_a_protocol_only(tmp_path):
    sets = {
        "weak": load(tmp_path / "weak", chain_lengths(0.6, 80, seed=1)),
        "strong": load(tmp_path / "strong", chain_lengths(0.9, 80, seed=2)),
        "blind": load(tmp_path / "blind", [0] * 80, facts={"renderer": "none"}),
        "short": load(tmp_path / "short", chain_lengths(0.9, 40, seed=2)),
        "builtin": load(tmp_path / "builtin", [5] * 80, facts={"assets": "builtin"}),
        "other split": load(tmp_path / "split", [5] * 80, split="ABCD"),
    }
    first, *others = leaderboard(sets)
    ranked = [row[0].text for row in first.rows]
    assert [name.split()[0] for name in ranked] == ["1", "2", "3", "4"]
    assert {ranked[0].split()[1], ranked[1].split()[1]} == {"strong", "short"}
    assert ranked[2] == "3  weak" or "weak" in ranked[2]
    assert "blind" in ranked[3] and first.rows[3][-1].text == "<0.001"
    assert sorted(table.rows[0][0].text for table in others) == ["1  builtin", "1  other split"]
    assert "builtin assets" in " ".join(table.title for table in others)

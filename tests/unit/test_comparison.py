"""Comparing result sets: who is better, what is refused, what is said about it."""

import math

import pytest
from result_sets import FACTS, chain_lengths, write_chains

from vla_bench.bench.errors import ConfigError, ProtocolMismatch, ResultSetError
from vla_bench.bench.records.comparison import compare
from vla_bench.bench.records.comparison_tables import comparison_tables, to_markdown, verdict, warnings
from vla_bench.bench.records.formats import FORMATS
from vla_bench.bench.records.lineup import find_sets, open_sets
from vla_bench.bench.records.result_set import CONFIG, ResultSet
from vla_bench.bench.records.screen_tables import folded

N = 120


def load(folder, lengths, **changes):
    return ResultSet.load(write_chains(folder, lengths, **changes))


@pytest.fixture(scope="module")
def weak_and_strong(tmp_path_factory):
    root = tmp_path_factory.mktemp("sets")
    weak = load(root / "weak", chain_lengths(0.7, N, seed=1), policy="weak")
    return weak, load(root / "strong", chain_lengths(0.9, N, seed=2), policy="strong")


def test_the_better_one_is_named_with_how_much_interval_and_n(weak_and_strong):
    found = compare(*weak_and_strong)
    a, b = found.averages
    assert found.average.difference.value == pytest.approx(b - a)
    assert found.average.sign == 1
    said = found.verdict
    assert said.startswith(f"strong solves {b - a:.2f} more subtasks per sequence than weak [")
    assert said.endswith(f"n = {N} sequences.")


def test_the_other_way_round_is_the_same_with_the_sign_changed(weak_and_strong):
    there, back = compare(*weak_and_strong), compare(*reversed(weak_and_strong))
    assert back.average.sign == -1 and "fewer subtasks" in back.verdict
    a, b = there.average.difference, back.average.difference
    assert (b.value, b.low, b.high) == (-a.value, -a.high, -a.low)
    assert there.average.p == back.average.p
    assert [each.pairs.first for each in there.positions] == [each.pairs.second for each in back.positions]


def test_average_is_the_sum_over_positions(weak_and_strong):
    found = compare(*weak_and_strong)
    assert sum(each.pairs.difference.value for each in found.positions) == pytest.approx(found.average.difference.value)
    assert all(each.pairs.n == N for each in found.positions)


def test_tasks_are_compared_over_attempts_that_both_made(weak_and_strong):
    weak, strong = weak_and_strong
    found = compare(weak, strong)
    reached = sum(min(len(x.subtasks), len(y.subtasks)) for x, y in zip(weak.records, strong.records, strict=True))
    assert sum(each.pairs.n for each in found.tasks) == reached
    assert all(each.corrected_p >= each.pairs.p for each in found.tasks)


def test_too_little_says_how_many_would_do(tmp_path):
    sets = [
        load(tmp_path / name, chain_lengths(0.8, 60, seed=seed), policy=name) for seed, name in ((1, "one"), (2, "two"))
    ]
    found = compare(*sets)
    assert found.average.sign == 0
    said = found.verdict
    assert said.startswith("Cannot tell two from one: difference ")
    assert "sequences would show a difference of 0.10 (80% power); 60 show one of" in said
    assert "difference of 0.50" in verdict(found, 0.5)


def test_alike_to_the_last_episode_is_said(tmp_path):
    lengths = chain_lengths(0.8, 30)
    sets = [load(tmp_path / name, lengths, policy=name) for name in ("one", "two")]
    assert "They did not differ on any of them." in compare(*sets).verdict


@pytest.mark.parametrize(
    ("facts", "named"),
    [
        ({"assets": "builtin"}, "assets official / builtin"),
        ({"renderer": "tiny"}, "renderer egl / tiny"),
        ({"action": {"control": "tcp_delta", "frame": "tcp"}}, "action.frame world / tcp"),
        ({"executed_chunk": 10}, "executed_chunk 1 / 10"),
    ],
)
def test_other_protocols_are_refused_and_the_field_named(tmp_path, facts, named):
    one = load(tmp_path / "one", [1, 2, 3], policy="one")
    two = load(tmp_path / "two", [1, 2, 4], policy="two", facts=facts)
    with pytest.raises(ProtocolMismatch, match=f"one and two .*{named}.*--anyway"):
        compare(one, two)
    found = compare(one, two, anyway=True)
    assert named in warnings([found])[0]
    assert "†" in to_markdown([found])


def test_other_training_splits_are_refused(tmp_path):
    one = load(tmp_path / "one", [1, 2, 3], split="ABC")
    two = load(tmp_path / "two", [1, 2, 4], split="ABCD")
    with pytest.raises(ProtocolMismatch, match="split ABC / ABCD"):
        compare(one, two)


def test_a_renderer_that_was_never_used_is_no_difference(tmp_path):
    looks = load(tmp_path / "looks", [1, 2, 3], policy="looks")
    blind = load(tmp_path / "blind", [0, 0, 0], policy="blind", facts={"renderer": "none"})
    assert compare(blind, looks).fields == ()


def test_a_step_limit_that_differs_is_named(tmp_path):
    one, two = (
        load(tmp_path / name, [1, 2, 3], policy=name, planned=planned, episode_digests=[name] * 4)
        for name, planned in (("one", 3), ("two", 4))
    )
    with pytest.raises(ProtocolMismatch, match="3 of the 3 shared ones"):
        compare(one, two)
    for each, limit in ((one, 360), (two, 180)):
        (each.folder / CONFIG).write_text(f"benchmark: {{step_limit: {limit}}}")
    with pytest.raises(ProtocolMismatch, match="step_limit 360 / 180"):
        compare(one, two)


def test_without_digests_the_instructions_tell(tmp_path):
    one = load(tmp_path / "one", [1, 2, 3], policy="one", episode_digests=[])
    two = load(tmp_path / "two", [1, 2, 3], policy="two", episode_digests=[], planned=9)
    assert compare(one, two).fields == ()
    other = ResultSet.load(two.folder)
    subtask = other.records[0].subtasks[0]
    object.__setattr__(subtask, "instruction", "something else")
    with pytest.raises(ProtocolMismatch, match="1 of the 3 shared ones"):
        compare(one, other)


def test_sets_of_other_lengths_are_compared_on_what_they_share(tmp_path):
    short = load(tmp_path / "short", chain_lengths(0.7, 40), policy="short")
    long = load(tmp_path / "long", chain_lengths(0.9, 100), policy="long")
    found = compare(short, long)
    assert (found.pairs, found.unshared, found.fields) == (40, 60, ())
    assert "short and long share 40 episodes; 60 that only one of them has are left out" in warnings([found])


def test_episodes_that_could_not_be_judged_are_left_out_and_bounded(tmp_path):
    one = load(tmp_path / "one", [5, 5, 0, 2], policy="one", errors=(1,))
    two = load(tmp_path / "two", [5, 4, 3, 2], policy="two")
    found = compare(one, two)
    assert (found.pairs, found.unjudged) == (3, 1)
    assert found.average.difference.value == 1
    assert (found.bounds.low, found.bounds.high) == ((3 + 4 - 5) / 4, (3 + 4 - 0) / 4)
    assert "With 1 unjudged episode decided either way" in found.verdict


def test_nothing_in_common_is_an_error(tmp_path):
    one = load(tmp_path / "one", [5], policy="one", errors=(0,))
    two = load(tmp_path / "two", [5], policy="two")
    with pytest.raises(ResultSetError, match="no judged episode in common"):
        compare(one, two)


def test_unfinished_sets_are_marked(tmp_path):
    one = load(tmp_path / "one", [5, 4], policy="one", planned=10)
    two = load(tmp_path / "two", [5, 4, 3, 2, 1, 0, 1, 2, 3, 4], policy="two")
    assert any("one: unfinished: 8 of 10" in line for line in warnings([compare(one, two)]))


@pytest.mark.parametrize("form", FORMATS)
def test_every_format_has_every_cell(weak_and_strong, form):
    for table in comparison_tables([compare(*weak_and_strong)]):
        text = FORMATS[form](table)
        for row in table.rows:
            name = row[0].text
            assert (name.replace("_", r"\_").replace("−", "$-$") if form == "latex" else name) in text
        assert "nan" not in text


def test_latex_is_escaped_and_balanced(weak_and_strong):
    text = compare(*weak_and_strong).to_latex()
    assert text.count(r"\begin{tabular}") == text.count(r"\end{tabular}") == 3
    assert text.count("{") - text.count(r"\{") == text.count("}") - text.count(r"\}")
    assert r"open\_drawer" in text and r"\%" in text
    assert not set("−–≥†") & set(text)


def test_csv_has_columns_for_intervals_and_plain_numbers(weak_and_strong):
    header, row = FORMATS["csv"](comparison_tables([compare(*reversed(weak_and_strong))])[0]).splitlines()
    assert "difference,difference low,difference high" in header
    assert float(dict(zip(header.split(","), row.split(","), strict=True))["difference"]) < 0


def test_notebooks_show_the_verdict(weak_and_strong):
    shown = compare(*weak_and_strong)._repr_html_()
    assert "more subtasks per sequence" in shown and shown.count("<table>") == 3


def test_sets_are_called_by_policy_folder_or_as_typed(tmp_path):
    folders = [write_chains(tmp_path / name, [1], policy="vla") for name in ("a", "b")]
    assert list(open_sets(list(map(str, folders)))) == ["a", "b"]
    assert list(open_sets([f"base={folders[0]}", str(folders[1])])) == ["base", "b"]
    with pytest.raises(ConfigError, match="two result sets are called"):
        open_sets([f"x={folders[0]}", f"x={folders[1]}"])
    assert find_sets(tmp_path) == sorted(folders)


def test_a_folder_that_is_none_says_which_there_are(tmp_path):
    write_chains(tmp_path / "calvin-expert", [1])
    with pytest.raises(ResultSetError, match=r"Did you mean 'calvin-expert'\?.*has calvin-expert"):
        open_sets([str(tmp_path / "calvin-exprt")])
    (tmp_path / "empty").mkdir()
    with pytest.raises(ResultSetError, match="no result set in"):
        find_sets(tmp_path / "empty")


def test_single_tasks_are_compared_by_success(tmp_path):
    facts = {**FACTS, "kind": "tasks"}
    sets = [
        load(tmp_path / name, lengths, policy=name, facts=facts, longest=1)
        for name, lengths in (("one", [0] * 40), ("two", [1] * 30 + [0] * 10))
    ]
    found = compare(*sets)
    assert found.longest == 1 and found.averages == (0, 0.75)
    assert found.verdict.startswith("two solves 75.0 pp more of the trials than one [")
    assert not math.isnan(found.average.p)


def test_long_names_are_folded_so_that_no_column_is_lost():
    name = "small-one_step-fc-continuous-blind (blind control)"
    assert folded(name, 16).split("\n") == ["small-one_step-", "fc-continuous-", "blind (blind", "control)"]
    assert folded("average\nchain\nlength", 16) == "average\nchain\nlength"
    assert folded("5/5", 16) == "5/5" and folded("unbreakable" * 3, 16) == "unbreakable" * 3

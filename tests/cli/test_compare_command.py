"""``vla-bench compare`` and ``power``, as typed."""

from __future__ import annotations

import subprocess
import sys

import pytest
from result_sets import chain_lengths, write_chains


def bench(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "bench", *words], capture_output=True, text=True, timeout=120)


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    root = tmp_path_factory.mktemp("results")
    write_chains(root / "weak", chain_lengths(0.7, 100, seed=1), policy="weak")
    write_chains(root / "strong", chain_lengths(0.9, 100, seed=2), policy="strong")
    write_chains(root / "builtin", [5, 5], policy="other", facts={"assets": "builtin"})
    return root


def test_the_verdict_comes_last(results):
    done = bench("compare", str(results / "weak"), str(results / "strong"))
    assert done.returncode == 0, done.stderr
    assert "more subtasks per sequence than weak" in " ".join(done.stdout.split()[-20:])


def test_a_file_of_numbers_holds_nothing_else(results):
    done = bench("compare", f"a={results / 'weak'}", f"b={results / 'strong'}", "--format", "csv")
    columns = "first,second,measure,name,n,value_first,value_second,difference,low,high,p,corrected_p"
    assert done.stdout.splitlines()[0] == columns
    assert "b solves" in done.stderr


def test_exit_code_3_says_worse(results):
    typed = ("compare", str(results / "strong"), str(results / "weak"))
    assert bench(*typed).returncode == 0
    assert bench(*typed, "--fail-if-worse").returncode == 3


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("compare", "{}/weak"), "takes two result sets or more"),
        (("compare", "{}/weak", "{}/stong"), "Did you mean 'strong'?"),
        (("compare", "{}/weak", "{}/builtin"), "assets official / builtin"),
        (("power",), "--average L"),
        (("power", "--average", "7"), "between 0 and 5"),
        (("power", "{}/weak"), "2 are wanted"),
    ],
)
def test_a_mistake_is_one_line_and_exit_code_1(results, words, told):
    done = bench(*(word.format(results) for word in words))
    assert done.returncode == 1
    assert told in done.stderr and done.stderr.startswith("error: ") and done.stderr.count("\n") == 1


def test_power_plans_with_and_without_pilot_runs(results):
    done = bench("power", "--average", "0.4", "--longest", "1", "--difference", "0.1")
    # two independent policies: (1.96 + 0.84)^2 * 2 * 0.4 * 0.6 / 0.1^2 = 376.7
    assert "about 380 episodes show a difference of 0.1 with 80 % power" in done.stdout
    done = bench("power", str(results / "weak"), str(results / "strong"), "--episodes", "1000")
    assert "from 100 episodes of weak and strong" in done.stdout
    assert "1,000 episodes show a difference of" in done.stdout


def test_table_has_published_rows(results):
    done = bench("table", f"ours={results / 'strong'}", "--format", "md")
    assert done.returncode == 0, done.stderr
    assert "| ours (a) | 100 |" in done.stdout and "| GR-1 * | 1000 |" in done.stdout
    done = bench("table", f"ours={results / 'strong'}", "--format", "latex", "--no-published")
    assert r"\begin{tabular}{lrrrrrrr}" in done.stdout and "GR-1" not in done.stdout


def test_leaderboard_reads_a_folder_and_names_what_it_leaves_out(results):
    (results / "broken").mkdir(exist_ok=True)
    (results / "broken" / "journal.jsonl").write_text("nothing\n")
    done = bench("leaderboard", str(results), "--format", "md")
    assert done.returncode == 0 and "left out" in done.stderr and "broken" in done.stderr
    assert done.stdout.index("1  strong") < done.stdout.index("2  weak")
    assert bench("leaderboard", str(results / "none")).stderr.startswith("error: there is no folder")

"""Results read from Python: by folder, several together, the numbers by name, a page."""

import pytest
from result_sets import write_chains

import vla_bench
from vla_bench.bench.errors import ResultSetError


@pytest.fixture
def folders(tmp_path):
    write_chains(tmp_path / "base", [0, 1, 2, 5], policy="base")
    write_chains(tmp_path / "new", [1, 1, 5, 5], policy="new")
    return tmp_path


def test_numbers_by_name(folders):
    results = vla_bench.load(folders / "base")
    average = results.average_chain_length
    assert (average.value, average.n) == (2.0, 4)
    assert average.low < 2.0 < average.high
    single = results.single_task_success
    assert (single.value, single.successes, single.n) == (0.75, 3, 4)
    assert [each.value for each in results.chain_success] == [0.75, 0.5, 0.25, 0.25, 0.25]
    assert str(single) == f"75.0 % [{100 * single.low:.1f}, {100 * single.high:.1f}] (n = 4)"
    assert sum(rate.successes for rate in results.task_success.values()) == 8
    with pytest.raises(ResultSetError, match="average_chain_length"):
        _ = results.success_rate


def test_several_at_once(folders):
    found = vla_bench.load(folders)
    assert [each.summary.policy for each in found] == ["base", "new"]
    assert [each.folder for each in vla_bench.load(folders / "new", folders / "base")] == [
        folders / "new",
        folders / "base",
    ]
    with pytest.raises(ResultSetError, match="has 2: name one"):
        vla_bench.compare(folders, folders / "new")
    with pytest.raises(ResultSetError, match="is not a result set"):
        vla_bench.load(folders / "bse")


def test_runs_of_one_policy_have_a_mean_and_those_of_several_have_none(tmp_path, folders):
    for seed, lengths in enumerate(([0, 1, 2, 5], [2, 1, 2, 5])):
        write_chains(tmp_path / "seeds" / f"{seed}", lengths, policy="mine", seed=seed)
    together = vla_bench.load(tmp_path / "seeds")
    assert (together.average_chain_length.value, together.average_chain_length.n) == (2.25, 8)
    assert together[1].average_chain_length.value == 2.5
    two = vla_bench.load(folders / "base", folders / "new")
    two[1].header["identity"]["policy"] = "another"
    with pytest.raises(ResultSetError, match="2 policies"):
        _ = two.average_chain_length


def test_comparing_by_folder_and_pages(folders):
    found = vla_bench.compare(str(folders / "base"), vla_bench.load(folders / "new"))
    assert found.average.difference.value == 1.0 and (found.first, found.second) == ("base", "new")
    page = found.report(folders / "both.html")
    assert page == folders / "both.html" and "<html" in page.read_text()
    alone = vla_bench.load(folders / "base").report(folders / "x.html")
    assert alone.read_text().startswith("<!doctype html>")
    assert vla_bench.load(folders / "base").report() == folders / "base" / "report.html"
    with pytest.raises(ResultSetError, match="cannot write"):
        found.report(folders / "nowhere" / "x.html")

"""The report of extractions: one offline file, maps that are the same for the same seed, and Markdown."""

from __future__ import annotations

import base64
import json
import re
import sys
from types import SimpleNamespace

import numpy as np
import pytest
from extractions import write_extraction

from vla_bench.bench.vectors import page as page_module
from vla_bench.bench.vectors.embedding import Map, chosen, maps
from vla_bench.bench.vectors.page import report
from vla_bench.bench.vectors.store import read

pytest.importorskip("sklearn")


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    """Maps in no time: what is tested here is the page."""

    def laid(values, seed=0):
        told = "No UMAP: the package umap-learn is not installed; type: pip install 'vla-bench[analysis]'"
        return [Map("t-SNE", f"seed {seed}", values[:, :2].copy()), Map("UMAP", told, None)]

    monkeypatch.setattr(page_module, "maps", laid)


def data_of(page):
    return json.loads(re.search(r'id="data">(.*?)</script>', page, re.DOTALL)[1])


def test_a_page_of_two_is_one_offline_file(tmp_path):
    found = [read(write_extraction(tmp_path / name, shift=shift)) for name, shift in (("early", 0), ("late", 1))]
    page, markdown = report(found, "head")
    assert not re.search(r'(src|href)="(?!#|data:)', page) and "https:" not in page.split("<body>")[1]
    data = data_of(page)
    assert data["names"] == ["early", "late"] and list(data["maps"]) == ["t-SNE"]
    assert [len(each) for each in data["maps"]["t-SNE"]] == [60, 60]
    assert all(0 <= each <= 1000 for of in data["maps"]["t-SNE"] for place in of for each in place)
    assert base64.b64decode(data["points"][0][-1]) == b"jpeg 0"
    assert "No UMAP: the package umap-learn is not installed" in page
    assert "early and late have a linear CKA of" in page and "60 frames are" in page
    assert "# Context vectors of early and late at head" in markdown and "| linear CKA |" in markdown
    assert markdown.count("- early:") == 1 and "nan" not in markdown


def test_widths_that_differ_and_one_alone(tmp_path):
    first = read(write_extraction(tmp_path / "a"))
    wide = read(write_extraction(tmp_path / "b", width=9))
    page, _ = report([first, wide], "head")
    assert "Their widths differ (6 and 9)" in page and "Dimensions that changed most" not in page
    alone, _ = report([first], "head")
    assert "Dimensions that carry most" in alone and len(data_of(alone)["maps"]["t-SNE"]) == 1


def test_words_of_a_data_set_are_text(tmp_path):
    found = read(write_extraction(tmp_path / "<b>x</b>".replace("/", "_"), task="</script><b>lift"))
    page, _ = report([found], "head")
    assert "</script><b>lift" not in page and "<b>x<_b>" not in page


def test_pictures_stay_within_their_room(tmp_path, monkeypatch):
    monkeypatch.setattr(page_module, "PICTURES_BUDGET", 20)
    points = data_of(report([read(write_extraction(tmp_path / "a"))], "head")[0])["points"]
    assert [bool(each[-1]) for each in points[:4]] == [True, True, False, False]


def test_umap_is_given_the_seed_and_its_points_say_which_frames_they_are(tmp_path, monkeypatch):
    """As with the package umap-learn, whose parameters these are; it is an extra."""
    asked = []

    class UMAP:
        def __init__(self, **given):
            asked.append(given)

        def fit_transform(self, values):
            return np.random.default_rng(asked[-1]["random_state"]).normal(size=(len(values), 2))

    monkeypatch.setitem(sys.modules, "umap", SimpleNamespace(UMAP=UMAP))
    monkeypatch.setattr(page_module, "maps", maps)
    found = [read(write_extraction(tmp_path / "a"))]
    pages = [report(found, "head", seed)[0] for seed in (3, 3, 4)]
    laid = [data_of(page)["maps"]["UMAP"] for page in pages]
    assert laid[0] == laid[1] != laid[2] and len(laid[0][0]) == 60
    assert asked[0] == {"n_neighbors": 15, "min_dist": 0.1, "random_state": 3, "n_jobs": 1}
    assert "UMAP: 15 neighbours, least distance 0.1, seed 3; umap-learn." in pages[0]
    data = data_of(pages[0])
    episode, frame, task, *_, picture = data["points"][7]
    assert (episode, frame, data["words"]["task"][task]) == ("e2", 7, "lift") and picture


def test_maps_are_seeded_and_of_at_most_so_many_frames(monkeypatch):
    monkeypatch.setitem(sys.modules, "umap", None)  # as where it is not installed
    values = np.random.default_rng(0).normal(size=(30, 4))
    assert [each.places for each in maps(np.ones((30, 4)))] == [None]
    first, without = maps(values)
    np.testing.assert_array_equal(first.places, maps(values)[0].places)
    assert "perplexity 9.66667" in first.told and "seed 0" in first.told
    assert without.places is None and "umap-learn is not installed; type: " in without.told
    assert len(chosen(10_000)) == 2000 and list(chosen(5)) == [0, 1, 2, 3, 4]


def test_tables_of_folders_of_one_name_tell_them_apart(tmp_path):
    from vla_bench.bench.vectors.comparison import compare
    from vla_bench.bench.vectors.tables import comparison_tables

    first, second = (read(write_extraction(tmp_path / of / "a", shift=n)) for n, of in enumerate(("new", "old")))
    tables = comparison_tables(first, second, "head", compare(first, second, "head"))
    assert str(first.folder) in tables[0].title and str(second.folder) in tables[1].columns
    itself = comparison_tables(first, first, "head", compare(first, first, "head"))
    assert itself[1].columns[2:4] == (f"{first.folder} (1)", f"{first.folder} (2)")
    page, markdown = report([first, first], "head")
    assert "| linear CKA | 1 [1, 1] |" in markdown and "| 0 | 0 [0, 0] | 0 | 0 | 0 | 1 |" in markdown
    assert "0 of 6 dimensions differ" in page and " 0 of 6 |" in markdown

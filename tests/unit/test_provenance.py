import math

import pytest
from sample_records import RECORD_TIME, attempt

from vla_bench.bench.packages import versions
from vla_bench.bench.records import provenance
from vla_bench.bench.records.provenance import (
    Provenance,
    changes_between,
    describe_code,
    describe_machine,
    elapsed,
    pixels_of,
    policies_of,
    policy_entry,
    tries_of,
)
from vla_bench.policies.identity.content import Content, content_from_plain, content_to_plain


def test_a_try_says_where_it_was_made(tmp_path):
    path = tmp_path / "provenance.json"
    made = Provenance(path, {"protocol": {"hash": "12"}})
    made.begin({"target": "stub"}, {"workers": 2})
    assert tries_of(path)[0]["ended"] is None
    made.add_worker("local-0", {"pid": 7})
    made.end(5)
    (only,) = tries_of(path)
    assert only["placement"] == {"workers": 2}
    assert only["workers"] == [{"worker": "local-0", "pid": 7}]
    assert only["started"] <= only["first_worker"] <= only["ended"]
    assert only["packages"]["numpy"] and only["machine"]["cores"] >= only["machine"]["usable_cores"]


def test_tries_add_up_unless_the_run_starts_afresh(tmp_path):
    path = tmp_path / "provenance.json"
    for _ in range(2):
        Provenance(path, {}).begin({"target": "stub"}, {})
    assert len(tries_of(path)) == 2
    Provenance(path, {}, fresh=True).begin({"target": "stub"}, {})
    assert len(tries_of(path)) == 1


@pytest.mark.parametrize("content", [None, "", "{", "[]", "{}"])
def test_a_missing_or_damaged_file_has_no_tries(tmp_path, content):
    if content is not None:
        (tmp_path / "provenance.json").write_text(content)
    assert tries_of(tmp_path / "provenance.json") == []


def test_time_of_tries_leaves_out_the_pauses():
    whole = attempt(started=0, first_worker=2, ended=10)
    killed = attempt(started=100, first_worker=103, ended=None)
    late = attempt(started=200, first_worker=None, ended=201)
    times = [RECORD_TIME + second for second in (5, 9, 120, 140)]
    assert elapsed([whole, killed, late], times) == (10 + 40 + 1, 2 + 3 + 1)
    assert math.isnan(elapsed([], times).wall)


def test_machines_that_draw_other_pixels_are_told_apart():
    def worker(host, frame):
        details = {"gl_renderer": "a GPU", "reference_frame": frame}
        return {"host": host, "renderer_details": details}

    blind = {"host": "c", "renderer_details": {"name": "none"}}
    alike = [{"workers": [worker("a", "1"), worker("b", "1"), blind]}, {}]
    assert pixels_of(alike) == {"1": "a: a GPU"}
    assert pixels_of([*alike, {"workers": [worker("b", "2")]}]) == {"1": "a: a GPU", "2": "b: a GPU"}


def test_changes_between_tries_are_named():
    one, other = attempt(), attempt(code={"commit": "b"}, packages={"numpy": "2", "torch": None})
    assert changes_between([one, one]) == []
    assert changes_between([one, other]) == ["code", "numpy"]
    assert changes_between([one, {**other, "episodes": 0}]) == []


def test_code_outside_a_checkout_is_unknown(tmp_path, monkeypatch):
    monkeypatch.setattr(provenance, "_ROOT", tmp_path)
    assert describe_code() == {"commit": None, "dirty": None, "changes": None}


def test_packages_and_machine():
    assert versions(["pybullet", "nowhere"]) == {"pybullet": "3.2.7", "nowhere": None}
    assert describe_machine()["processor"]


def test_a_policy_is_known_by_its_content():
    content = Content({"mine.py": "a" * 64}, {"policy.checkpoint=model.pt": "b" * 64})
    described = policy_entry("mine:Mine", content)
    assert described["target"] == "mine:Mine"
    assert content_from_plain(described) == content


def test_workers_that_had_another_state_of_the_policy_are_named():
    policy = policy_entry("mine:Mine", Content({"mine.py": "a" * 64}))
    other = content_to_plain(Content({"mine.py": "c" * 64, "late.py": "d" * 64}))
    alike = content_to_plain(Content({"mine.py": "a" * 64, "late.py": "d" * 64}))
    assert policies_of([{"policy": policy, "workers": [{"host": "far", "content": alike}]}]) == []
    (said,) = policies_of([{"policy": policy, "workers": [{"host": "far", "content": other}]}])
    assert said == "mine.py aaaa… there, cccc… on far"
    assert policies_of([{"policy": {"target": "stub"}, "workers": [{"content": 3}, {}]}]) == []


def test_workers_with_another_simulator_are_named():
    def run(driver, *workers):
        return attempt(packages=driver, workers=[{"worker": "w", "packages": each} for each in workers])

    same = {"numpy": "2", "sapien": "3.0.3", "numba": None}
    assert changes_between([run({"numpy": "2"}, same, same), run({"numpy": "2"}, same)]) == []
    other = {**same, "sapien": "3.0.4"}
    assert changes_between([run({"numpy": "2"}, same), run({"numpy": "2"}, other)]) == ["sapien"]
    assert changes_between([run({"numpy": "2"}, same, other)]) == ["sapien"], "within one try, too"
    assert changes_between([run({"numpy": "2"}, {**same, "numba": "0.68"}), run({"numpy": "2"}, same)]) == ["numba"]
    more = {"numpy": "2", "tokenizers": "0.23"}
    assert changes_between([run({"numpy": "2"}, same), run(more, same)]) == [], "an older version noted fewer"

"""Numbers with intervals as a picture: where dots, ends and marks are."""

import math
import re
from xml.etree import ElementTree

import pytest

from vla_bench.bench.records.statistics import Mean, rate
from vla_bench.bench.report.ranges import ranges


def drawn(rows, **more):
    return ElementTree.fromstring(ranges(rows, **more))


def test_dots_are_where_the_axis_says():
    picture = drawn({"a": Mean(1.0, 10, 0.5, 1.5), "b": Mean(2.0, 10, 1.0, 3.0)}, control="a")
    marks = {each.text: float(each.get("x")) for each in picture.findall("text")}
    assert list(marks) == ["0", "0.5", "1", "1.5", "2", "2.5", "3"]
    dashed, one, other = picture.findall("g")
    assert dashed.find("line").get("x1") == dashed.find("line").get("x2") == one.find("circle").get("cx")
    assert float(other.find("circle").get("cx")) == pytest.approx(marks["2"], abs=0.2)
    ends = other.findall("line")[0]
    assert [float(ends.get(name)) for name in ("x1", "x2")] == pytest.approx([marks["1"], marks["3"]], abs=0.2)
    assert one.find("circle").get("cy") < other.find("circle").get("cy")
    assert "b: 2 [1, 3], n = 10" in picture.get("aria-label")


def test_rates_share_one_axis_and_names_are_cut_and_escaped():
    picture = drawn({"<a name that is far too long to fit>": rate(3, 10)}, percent=True)
    assert [each.text for each in picture.findall("text")][::5] == ["0 %", "100 %"]
    (row,) = picture.findall("g")
    assert row.find("text").text.startswith("<a name") and row.find("text").text.endswith("…")
    assert row.find("title").text.startswith("<a name that is far too long to fit>: 30 % [")


@pytest.mark.parametrize("value", [0.0, math.nan])
def test_nothing_judged_and_nothing_solved_are_drawn(value):
    nothing = Mean(value, 0 if math.isnan(value) else 5, value, value)
    text = ranges({"a": nothing, "b": Mean(0.0, 5, 0.0, 0.0)}, control="a")
    assert "nan" not in text and len(re.findall("<circle", text)) == (1 if math.isnan(value) else 2)


@pytest.mark.parametrize("end, marks", [(0.07, 5), (0.9, 6), (1.0, 6), (1.3, 4), (3.9, 5), (5.0, 6), (12.0, 7)])
def test_marks_are_round_and_few(end, marks):
    found = [float(each.text) for each in drawn({"a": Mean(end / 2, 5, 0.0, end)}).findall("text")]
    assert found[-1] >= end and 3 <= len(found) <= 7, found
    assert len(found) == marks

"""The command that measures how fast a structure decides."""

from __future__ import annotations

import re
from typing import Any

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

from tools.policy_server import main as through_a_server  # noqa: E402
from tools.vla_gpu import main as on_a_gpu  # noqa: E402
from vla_bench.policies.vla.__main__ import main  # noqa: E402

SMALL = ["speed", "--size", "tiny", "--slots", "1", "2", "--window", "2", "--decisions", "1"]


def test_a_line_for_each_way(capsys: Any) -> None:
    assert main(SMALL) == 0
    rows = [line.split() for line in capsys.readouterr().out.splitlines()[2:]]
    ways = [("original", "1"), ("exact", "1"), ("fast", "1"), ("exact", "2"), ("fast", "2")]
    assert [tuple(row[:3]) for row in rows] == [
        (structure, *way) for structure in ("policy_head", "interleaved") for way in ways
    ]
    assert all(float(row[3]) > 0 and float(row[6]) > 0 for row in rows)


@pytest.mark.parametrize(
    "words, said",
    [
        (["--size", "huge"], "unknown size 'huge'; known: tiny, mid, full"),
        (["--dtype", "fp8"], "unknown dtype 'fp8'"),
        (["--device", "gpu"], "unknown device 'gpu'"),
    ],
)
def test_mistakes(words: list[str], said: str, capsys: Any) -> None:
    assert main([*SMALL, *words]) == 1
    assert said in capsys.readouterr().err


def test_full_size_on_a_gpu_is_tried_small(capsys: Any) -> None:
    small = ["--device", "cpu", "--size", "tiny", "--slots", "1", "3", "--window", "2", "--decisions", "1"]
    assert on_a_gpu(small) == 0
    shown = capsys.readouterr().out
    assert "float32 on cpu" in shown and "bfloat16 on cpu" in shown
    fast = [line.split()[2] for line in shown.splitlines() if " fast " in line]
    assert fast == ["1", "3", "1", "3"]


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_absent_gpu(capsys: Any) -> None:
    assert on_a_gpu([]) == 1
    assert "no GPU is found here" in capsys.readouterr().err


def test_what_the_way_to_a_server_costs(capsys: Any) -> None:
    through_a_server(["--calls", "20", "--structures"])
    here, there, between = (float(number) for number in re.findall(r"([\d.-]+) ms", capsys.readouterr().out))
    assert there > here and between == pytest.approx(there - here, abs=2e-3)

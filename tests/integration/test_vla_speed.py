"""The command that measures how fast a structure decides."""

from __future__ import annotations

from typing import Any

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

from policies.vla.__main__ import main  # noqa: E402

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

"""Every command and every line of Python of docs/comparing.md does what it says."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
from result_sets import chain_lengths, write_chains

from vla_bench.bench.ablation import configurations, load_ablation
from vla_bench.bench.cli import main as commands

TEXT = (Path(__file__).parents[2] / "docs" / "comparing.md").read_text(encoding="utf-8")
COMMANDS = [
    line
    for block in re.findall(r"```sh\n(.*?)```", TEXT, re.S)
    for line in block.splitlines()
    if line and not line.startswith("#")
]
PYTHON = re.findall(r"```python\n(.*?)```", TEXT, re.S)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    root = tmp_path_factory.mktemp("docs")
    write_chains(root / "results" / "base", chain_lengths(0.75, 150, seed=1))
    write_chains(root / "results" / "new", chain_lengths(0.88, 150, seed=2))
    return root


@pytest.mark.parametrize("line", COMMANDS)
def test_command(line, folder, monkeypatch, capsys):
    monkeypatch.chdir(folder)
    words = shlex.split(line)
    assert words[0] == "vla-bench"
    code = commands.main(words[1:])
    assert code == 0, capsys.readouterr().err
    assert capsys.readouterr().out
    if "--output" in words:
        assert (folder / words[-1]).stat().st_size > 10_000


def test_ablation_file_of_the_text(folder):
    (text,) = re.findall(r"```yaml\n(.*?)```", TEXT, re.S)
    (folder / "mine.yaml").write_text(text)
    chosen = load_ablation(str(folder / "mine.yaml"))
    configs = configurations(chosen, ["one frame:policy.checkpoint=one.pt"])
    assert configs["one frame"].policy.arguments["checkpoint"] == "one.pt"
    assert list(configs) == ["history", "one frame"]


def test_python(folder, monkeypatch, capsys):
    monkeypatch.chdir(folder)
    exec(compile("\n".join(PYTHON), "docs/comparing.md", "exec"), {})
    said = capsys.readouterr().out
    assert "new solves" in said and r"\begin{tabular}" in said and "close_drawer" in said

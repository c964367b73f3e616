"""Every command line of the documentation is one that its program takes.

Those of docs/comparing.md are run, by test_docs.py; CI runs the two of ``make``.
"""

from __future__ import annotations

import importlib
import re
import shlex
from pathlib import Path

import pytest

from vla_bench.bench.ablation import configurations, extending, load_ablation, narrowed
from vla_bench.bench.cli.main import Parser, module_of
from vla_bench.bench.setup.presets import load_config
from vla_bench.bench.training.ablation_plan import plan

ROOT = Path(__file__).parents[2]
PLACEHOLDERS = ("…", "$", "<")


def documented() -> list[tuple[str, str]]:
    """File and command line: of fenced blocks of shell, and in the running text and tables."""
    found = []
    for path in (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))):
        text = path.read_text(encoding="utf-8")
        blocks = re.findall(r"^```sh\n(.*?)^```", text, re.S | re.M)
        blocks += re.findall(r"^(?:    .*\n)+", text, re.M)
        lines = [line for block in blocks for line in block.replace("\\\n", " ").splitlines()]
        lines += re.findall(r"`((?:python|vla-bench) [^`]+)`", re.sub(r"^```.*?^```", "", text, flags=re.S | re.M))
        for line in lines:
            line = " ".join(line.partition(" #")[0].split())
            if line.startswith(("python ", "vla-bench ")) and not any(mark in line for mark in PLACEHOLDERS):
                found.append((path.name, line))
    return list(dict.fromkeys(found))


@pytest.mark.parametrize(("file", "line"), documented())
def test_command_is_taken(file, line):
    program, *words = shlex.split(line)
    if program == "vla-bench":
        command, *words = words
        if command == "run":
            words = [word for word in words if not word.startswith("--")]
            choice = next((word.partition("=")[2] for word in words if word.startswith("ablation=")), None)
            words = [word for word in words if not word.startswith("ablation=")]
            if choice is None:
                load_config(words)
            elif choice.startswith("learned_"):
                plan(choice, words)
            elif not choice.endswith(".yaml"):  # of the reader's own
                ablation, rest = narrowed(load_ablation(choice), words)
                configurations(ablation, extending(rest)[0])
            return
        parser = Parser(prog=command)
        importlib.import_module(module_of(command)).configure(parser)
        if words:
            parser.parse_args(words)
        return
    if words[0].endswith(".py"):
        assert (ROOT / words[0]).is_file()
        return
    assert words[0] == "-m"
    module = words[1]
    if module != "pytest":
        path = ROOT.joinpath(*module.removeprefix("vla_bench.").split("."))
        assert path.with_suffix(".py").is_file() or (path / "__main__.py").is_file()


def test_there_are_some():
    files = {file for file, _ in documented()}
    assert {"README.md", "calvin_parity.md", "clusters.md", "simpler.md", "vla.md"} <= files
    assert len(documented()) > 25

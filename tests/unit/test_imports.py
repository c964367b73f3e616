"""Who imports whom: floors, families, no circles, nothing heavy before it is needed."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tools.check_types import laid_out

ROOT = Path(__file__).resolve().parents[2]
CIRCLES = """
import json, grimp
graph = grimp.build_graph("vla_bench", exclude_type_checking_imports=True)
print(json.dumps({name: sorted(graph.find_modules_directly_imported_by(name)) for name in graph.modules}))
"""


@pytest.fixture(scope="module")
def package():
    pytest.importorskip("importlinter", reason="import-linter is not installed: make test installs it")
    with laid_out() as folder:
        yield folder


def run(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(folder)}
    return subprocess.run(words, cwd=folder, env=environment, capture_output=True, text=True, timeout=120)


def test_floors_and_families(package):
    program = "import sys; from importlinter.cli import lint_imports_command; lint_imports_command()"
    done = run(package, sys.executable, "-c", program, "--no-cache", "--config", str(ROOT / ".importlinter"))
    assert done.returncode == 0, done.stdout + done.stderr
    assert "2 kept, 0 broken" in done.stdout


def test_no_circles(package):
    done = run(package, sys.executable, "-c", CIRCLES)
    assert done.returncode == 0, done.stderr
    imports = json.loads(done.stdout)
    assert len(imports) > 250 and imports["vla_bench.bench.runner"]
    assert circles(imports) == []


def test_only_families_are_named_by_families():
    """``bench`` outside ``bench/families`` says nothing of one simulator; policies look at roles, not at names."""
    named = re.compile("calvin|simpler", re.IGNORECASE)
    found = [path for path in (ROOT / "bench").rglob("*") if path.suffix in (".py", ".jinja", ".js", ".css")]
    lines = [
        f"{path.relative_to(ROOT)}:{number}"
        for path in found
        if "families" not in path.relative_to(ROOT / "bench").parts
        for number, line in enumerate(path.read_text().splitlines(), 1)
        if named.search(line)
    ]
    assert len(found) > 150 and lines == []
    finders = [ROOT / "policies" / name for name in ("registry.py", "vla/embodiment.py", "vla/policy.py")]
    assert not [path for path in finders if named.search(path.read_text())]


def test_a_circle_is_found():
    assert circles({"a": ["b"], "b": ["c"], "c": ["a"], "d": ["a"]}) == [["a", "b", "c"]]
    assert circles({"a": ["b", "c"], "b": ["c"], "c": []}) == []


def circles(imports: dict[str, list[str]]) -> list[list[str]]:
    """Modules that import each other, directly or through others."""
    reached = {name: _reached(name, imports) for name in imports}
    found = {tuple(sorted(other for other in reached[name] if name in reached[other])) for name in imports}
    return [list(each) for each in sorted(found) if each]


def _reached(start: str, imports: dict[str, list[str]]) -> set[str]:
    seen: set[str] = set()
    todo = list(imports[start])
    while todo:
        name = todo.pop()
        if name not in seen:
            seen.add(name)
            todo += imports.get(name, ())
    return seen

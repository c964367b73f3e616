"""Two states of a policy never stand in one average: whatever is edited, and whatever way its episodes are joined.

The first state is run once; then, for each kind of edit, what it left is copied, the edit is made, and episodes of the
second state are to be added by the same command, by an extension, after a kill, by ``join`` and in an ablation.
"""

from __future__ import annotations

import itertools
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from vla_bench.bench import ablation
from vla_bench.bench.errors import UserError
from vla_bench.bench.records.joining import join
from vla_bench.bench.records.result_set import JOURNAL, ResultSet
from vla_bench.bench.runner import evaluate
from vla_bench.bench.setup.config import config_from_plain

FILES = {
    "code/mine.py": """
import json
from pathlib import Path
import numpy as np
from base import Base
class Mine(Base):
    def __init__(self, weights, adapter, options, layout, heads="heads.gpt", late=3):
        import importlib
        self.weights, self.late = weights, late
        self.gain = json.loads((Path(__file__).parent / "conf" / "gain.json").read_text())
        self.layout = Path(layout)
        self.module = importlib.import_module
        self.heads = heads
    def reset(self, instruction):
        self.shift = Path(f"weights/late-{self.late}.txt").read_text()
    def act(self, observation):
        from helper import push
        self.module(f"parts.{'inner'}"), self.module(self.heads)
        return np.array([0.0, 0.0, push, 1.0])
""",
    "code/base.py": "class Base:\n    pass\n",
    "code/helper.py": "push = 1.0\n",
    "code/parts/__init__.py": "",
    "code/parts/inner.py": "INNER = 1\n",
    "code/heads/__init__.py": "",
    "code/heads/gpt.py": "HEAD = 1\n",
    "code/conf/gain.json": "1",
    "weights/one.pt": "one",
    "weights/two.pt": "two",
    "weights/late-3.txt": "3",
    "adapter/adapter_config.json": "{}",
    "adapter/deep/adapter_model.safetensors": "numbers",
    "options/a.bin": "a",
    "options/b.bin": "b",
    "options/stats.npy": "stats",
    "layout.yaml": "model:\n  norm: options/stats.npy\n",
}
LINKS = {"weights/current.pt": "one.pt", "weights/followed.pt": "../options/b.bin"}
ARGUMENTS = {
    "weights": "weights/current.pt",
    "adapter": "adapter",
    "options": {"files": [{"name": "options/a.bin"}, "weights/followed.pt"]},
    "layout": "layout.yaml",
}


def grow(name: str) -> Callable[[], object]:
    return lambda: Path(name).write_text(f"{Path(name).read_text()}\n")


def retarget() -> None:
    Path("weights/current.pt").unlink()
    Path("weights/current.pt").symlink_to("two.pt")


EDITS: dict[str, Callable[[], object]] = {
    "class": grow("code/mine.py"),
    "helper module, imported late": grow("code/helper.py"),
    "base class": grow("code/base.py"),
    "submodule under a name made late": grow("code/parts/inner.py"),
    "module that an argument's default names": grow("code/heads/gpt.py"),
    "data beside the class": grow("code/conf/gain.json"),
    "weights": grow("weights/one.pt"),
    "link to other weights": retarget,
    "target of a nested link": grow("options/b.bin"),
    "file in a nested argument": grow("options/a.bin"),
    "file deep in a folder": grow("adapter/deep/adapter_model.safetensors"),
    "another file in a folder": lambda: Path("adapter/more.bin").write_text("more"),
    "file gone from a folder": lambda: Path("adapter/adapter_config.json").unlink(),
    "file that a configuration names": grow("options/stats.npy"),
    "file read by reset alone": grow("weights/late-3.txt"),
}


def config(results: str = "results", sequences: int = 2, **run: object):
    run = {"backend": "local", "workers": 1, "results": results, **run}
    policy = {"_target_": f"{Path('code/mine.py').absolute()}:Mine", **ARGUMENTS}
    return config_from_plain({"benchmark": {"family": "fake", "sequences": sequences}, "policy": policy, "run": run})


def rows():
    only = {"results": "ablation", "only": ("seq-0000",)}
    return {"base": config(**only), "other": config(**only, seed=1)}


ABLATION = ablation.Ablation("x", {"base": (), "other": ()})


def ablated():
    return ablation.run(ABLATION, rows(), lambda ready: evaluate(ready.config, ready=ready))


@pytest.fixture(scope="module")
def first(tmp_path_factory):
    place, here = tmp_path_factory.mktemp("first"), Path.cwd()
    for name, text in FILES.items():
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        (place / name).write_text(text)
    for name, target in LINKS.items():
        (place / name).symlink_to(target)
    os.chdir(place)
    try:
        evaluate(config(name="x", only=("seq-0000",)))
        base = ablation.plan_rows(ABLATION, rows())["base"]
        evaluate(base.config, ready=base)
    finally:
        os.chdir(here)
    return place


def more(way: str) -> object:
    """Adds episodes to what the first state left."""
    match way:
        case "run":
            return evaluate(config(name="x"))
        case "extend":
            return evaluate(config(name="x", sequences=3, extend=True))
        case "killed":
            with Path("results/x", JOURNAL).open("a") as journal:
                journal.write('{"half a li')
            return evaluate(config(name="x"))
        case "join":
            evaluate(config(name="y", only=("seq-0001",)))
            return join([Path("results/x"), Path("results/y")], Path("results/joined"))
        case _:
            return ablated()


WAYS = ("run", "extend", "killed", "join", "ablation")
PAIRS = [*zip(EDITS, itertools.cycle(WAYS), strict=False), *(("class", way) for way in WAYS[1:])]


def records(place: Path) -> dict[Path, list[str]]:
    """The episodes of every result set but the second slice."""
    folders = [path.parent for path in place.rglob(JOURNAL) if path.parent.name != "y"]
    return {
        folder: [json.dumps(record.outcome(), default=str) for record in ResultSet.load(folder).records]
        for folder in folders
    }


def copied(first: Path, place: Path) -> Path:
    # The files keep their path, which the identity holds, and the results are put back after each edit.
    shutil.copytree(first, place, symlinks=True, dirs_exist_ok=True)
    return place


@pytest.mark.parametrize(("edit", "way"), PAIRS)
def test_an_edit_never_gets_into_the_same_average(edit, way, first, tmp_path, monkeypatch):
    kept = copied(first, tmp_path / "kept")
    monkeypatch.chdir(first)
    try:
        before = records(first)
        EDITS[edit]()
        with pytest.raises(UserError, match=r"there, .*(now|here|on local-0)"):
            more(way)
        assert {folder: made for folder, made in records(first).items() if folder in before} == before
    finally:
        shutil.rmtree(first)
        shutil.copytree(kept, first, symlinks=True)


@pytest.mark.parametrize("way", WAYS)
def test_without_an_edit_each_way_adds_episodes(way, first, tmp_path, monkeypatch):
    kept = copied(first, tmp_path / "kept")
    monkeypatch.chdir(first)
    try:
        more(way)
        assert sum(map(len, records(first).values())) > 2
    finally:
        shutil.rmtree(first)
        shutil.copytree(kept, first, symlinks=True)

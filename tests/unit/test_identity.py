"""The content of a policy: every edit of its code or its files shows, and nothing else does."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
import types
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from vla_bench.policies.identity import digests, sources
from vla_bench.policies.identity.content import Content, differences, parts_of, read_content, shared_differences
from vla_bench.policies.identity.digests import digest_of
from vla_bench.policies.identity.sources import code_digest
from vla_bench.policies.specification import ask_policy

FILES = {
    "own_policy.py": """
        import numpy as np
        from parts.base import Base
        WEIGHTS = "constant.npz"
        class Mine(Base):
            def __init__(self, checkpoint, adapter="adapter", options=None):
                pass
            def act(self, observation):
                from parts import late
                return np.zeros(4)
        """,
    "parts/__init__.py": "",
    "parts/base.py": """
        from . import helper
        from .deep.deeper import *
        class Base:
            def reset(self, instruction): pass
        """,
    "parts/helper.py": "import importlib\nplug = importlib.import_module('parts.plug')\n",
    "parts/plug.py": "GAIN = 1\n",
    "parts/late.py": "LATE = 1\n",
    "parts/deep/__init__.py": "",
    "parts/deep/deeper.py": "DEEP = 1\n",
    "constant.npz": "0123",
    "model.pt": "weights",
    "adapter/adapter_config.json": "{}",
    "adapter/adapter_model.safetensors": "numbers",
    "nested/config.yaml": "a: 1\n",
    "nested/shards.index.json": json.dumps({"weight_map": {"a": "one.safetensors"}}),
    "nested/one.safetensors": "shard",
}
ARGUMENTS = {
    "checkpoint": "model.pt",
    "options": {"config": ["nested/config.yaml"], "shards": "nested/shards.index.json"},
}
IGNORED = ("unrelated.py", "parts/never.py", "adapter/__pycache__/x.pyc", "results/run/journal.jsonl")


class _Choice:
    target, arguments = "own_policy:Mine", ARGUMENTS


@pytest.fixture
def place(tmp_path, monkeypatch):
    for name, text in FILES.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(textwrap.dedent(text))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / ".cache"))
    monkeypatch.syspath_prepend(tmp_path)
    for name in [name for name in sys.modules if name.partition(".")[0] in ("own_policy", "parts")]:
        monkeypatch.delitem(sys.modules, name)
    return tmp_path


def content_here(*, anew: bool = True) -> Content:
    """Of what lies there, as a process that has just imported it sees it, or as one that goes on."""
    from own_policy import Mine  # type: ignore[import-not-found]

    if anew:
        sources._as_loaded.clear()

    return read_content(parts_of(Mine, ARGUMENTS, ours=False, stated={}, left_out=Path("results")))


def test_all_that_it_is_made_of_and_nothing_else(place):
    content = content_here()
    assert set(content.sources) == {name for name in FILES if name.endswith(".py")}
    assert set(content.files) == {
        "policy.checkpoint=model.pt",
        "policy.adapter=adapter/adapter_config.json",
        "policy.adapter=adapter/adapter_model.safetensors",
        "policy.options.config[0]=config.yaml",
        "policy.options.shards=shards.index.json",
        "policy.options.shards=one.safetensors",
        "constant.npz",
    }
    assert content.uncompared == ()


@settings(max_examples=30, derandomize=True, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(st.sampled_from([*FILES, *IGNORED]), max_size=4, unique=True), st.binary(min_size=1, max_size=3))
def test_any_edit_shows_and_nothing_else_does(place, edited, added):
    before = content_here()
    kept = {}
    for name in edited:
        path = place / name
        kept[path] = path.read_bytes() if path.exists() else None
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(
            (kept[path] or b"") + (b"\n#" + added.hex().encode() if name.endswith(".py") else b" " * len(added))
        )
    after = content_here()
    for path, text in kept.items():
        path.unlink() if text is None else path.write_bytes(text)
    shown = {line.partition(" ")[0].rpartition("=")[2] for line in differences(before.digests, after.digests)}
    expected = {name for name in edited if name in FILES}
    assert shown == {
        name if name.endswith(".py") or name.startswith("adapter/") else Path(name).name for name in expected
    }


def test_a_file_that_comes_or_goes_in_a_folder_shows(place):
    before = content_here()
    (place / "adapter/more.bin").write_text("x")
    assert differences(before.digests, content_here().digests) == [
        f"policy.adapter=adapter/more.bin absent there, {digest_of(place / 'adapter/more.bin')[:4]}… now"
    ]


def test_asked_in_a_process_it_is_the_same_and_leaves_nothing_behind(place):
    source = (place / "own_policy.py").read_text()
    (place / "own_policy.py").write_text(
        source.replace(
            "        pass",
            "        import os, threading, time\n        print('loading')\n"
            "        os.chdir('/'); threading.Thread(target=time.sleep, args=(999,)).start()",
            1,
        )
    )
    asked = ask_policy(_Choice(), "fake", {}, left_out=Path("results"))
    assert asked.content.sources.keys() == content_here().sources.keys()
    assert asked.content.files == content_here().files
    assert asked.spec.name == "Mine" and asked.output == "loading\n"
    assert Path.cwd() == place


def test_a_policy_that_is_long_in_building_is_spoken_of(place, monkeypatch, capsys):
    from vla_bench.policies import specification

    monkeypatch.setattr(specification, "PATIENCE_SECONDS", 0.01)
    monkeypatch.setattr(specification, "LONG_SECONDS", 0.02)
    ask_policy(_Choice(), "fake", {})
    spoken = capsys.readouterr().err
    assert "building own_policy:Mine to ask what it needs: 0 s\n" in spoken
    assert spoken.endswith("a classmethod describe() that returns its PolicySpec saves that (docs/identity.md)\n")


def test_code_is_what_was_imported_whatever_its_file_holds_now(place):
    import importlib

    before = content_here().sources
    helper = sys.modules["parts.helper"]
    (place / "parts/helper.py").write_text("import importlib\nplug = importlib.import_module('parts.plug')\nNEW = 1\n")
    assert content_here(anew=False).sources == before, "what is loaded is what runs"
    importlib.reload(helper)
    now = content_here(anew=False).sources
    assert now["parts/helper.py"] == digest_of(place / "parts/helper.py") != before["parts/helper.py"]


def test_a_large_file_is_read_once(place, monkeypatch):
    monkeypatch.setattr(digests, "REMEMBERED", 8)
    monkeypatch.setattr(digests, "BLOCK", 1 << 10)
    path = place / "large.bin"
    path.write_bytes(os.urandom(5000))
    long_ago = path.stat().st_mtime_ns - 10**10
    os.utime(path, ns=(long_ago, long_ago))
    monkeypatch.setattr(digests, "_FRESH_NS", -1)
    reads = []
    true_read = digests._read
    monkeypatch.setattr(digests, "_read", lambda *a: reads.append(a) or true_read(*a))
    first = digest_of(path)
    assert digest_of(path) == first and len(reads) == 1
    content = bytearray(path.read_bytes())
    content[4000] ^= 1
    path.write_bytes(content)
    os.utime(path, ns=(long_ago, long_ago))  # same size, same time: the change of the inode tells
    assert digest_of(path) != first and len(reads) == 2


def test_a_file_changed_just_now_is_not_trusted_to_the_cache(place, monkeypatch):
    monkeypatch.setattr(digests, "REMEMBERED", 1)
    path = place / "fresh.bin"
    path.write_bytes(b"one")
    digest_of(path)
    assert not list(digests.cache_folder().glob("*.json"))


def test_a_class_that_no_file_holds_is_known_by_its_code():
    def made(gain, names):
        text = f"class Made:\n def act(self, o):\n  return {gain} if o in {names!r} else 0\n"
        space: dict = {"__name__": "nowhere_at_all"}
        exec(text, space)  # as a notebook or a generator would
        return space["Made"]

    one, other = made(1, {"a", "b"}), made(2, {"a", "b"})
    assert code_digest(one) == code_digest(made(1, {"a", "b"})) != code_digest(other)
    content = read_content(parts_of(one, {}, ours=False, stated={}))
    assert list(content.files) == ["code of Made"] and "not what lies in other files" in content.uncompared[0]


def test_a_generated_class_has_the_same_digest_in_every_process():
    text = (
        "from vla_bench.policies.identity.sources import code_digest\n"
        "space = {'__name__': 'nowhere'}\n"
        'exec(\'class A:\\n def act(self, o):\\n  return o in {"a", "b", "c"}\', space)\n'
        "print(code_digest(space['A']))"
    )
    seen = {
        subprocess.run(
            [sys.executable, "-c", text], env={**os.environ, "PYTHONHASHSEED": seed}, capture_output=True, check=True
        ).stdout
        for seed in ("1", "2")
    }
    assert len(seen) == 1


def test_of_an_installed_package_the_version_is_compared():
    import yaml

    content = read_content(parts_of(yaml.YAMLObject, {}, ours=False, stated={}))
    assert content.sources == {} and content.files["package PyYAML"] == yaml.__version__
    assert "only the version" in content.uncompared[0]


def test_the_folder_one_is_in_is_not_digested_by_way_of_one_above_it(place):
    content = read_content(parts_of(types.SimpleNamespace, {"root": "/"}, ours=True, stated={}))
    assert content.files == {} and "holds the folder you are in" in content.uncompared[0]


def test_workers_are_compared_in_what_both_have_loaded():
    mine = Content({"a.py": "1" * 64, "b.py": "2" * 64}, {"policy.x=m": "3" * 64})
    assert shared_differences(mine, Content({"a.py": "1" * 64, "c.py": "9" * 64}, dict(mine.files)), "on w") == []
    said = shared_differences(mine, Content({"a.py": "1" * 63 + "2"}, {}), "on w")
    assert said == [
        f"a.py {'1' * 64} there, {'1' * 63}2 on w".replace("1" * 64 + " ", "1" * 64 + "… ").replace("2 on", "2… on"),
        "policy.x=m 3333… there, absent on w",
    ]


SOURCE = """
import json, os
from pathlib import Path
WEIGHTS = "model.npz"
HERE = Path(__file__).parent
def read(kind):
    json.load(open("stats.json"))
    (HERE / "conf" / "policy.yaml").read_text()
    open(os.path.join(os.path.dirname(__file__), "conf", "words.txt"))
    np.savetxt("seen.csv", 1)
    open("notes.txt", "w")
    Path("done.json").write_text("{}")
    log.FileHandler("run.txt")
"""


def test_the_files_that_a_source_names(tmp_path, monkeypatch):
    from vla_bench.policies.identity.named import named_files

    monkeypatch.chdir(tmp_path)
    names = ("model.npz", "stats.json", "conf/policy.yaml", "conf/words.txt", "seen.csv", "notes.txt", "run.txt")
    for name in (*names, "done.json"):
        (tmp_path / "code" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "code" / name).write_text("{}")
    source = tmp_path / "code" / "policy.py"
    source.write_text(SOURCE)
    read = {"model.npz", "stats.json", "conf/policy.yaml", "conf/words.txt"}
    assert named_files([source]).keys() == read
    source.write_text(f"{SOURCE}\ndef keep(name): open(name, 'a')\n")  # which may be any of them
    assert named_files([source]).keys() == {"model.npz"}


def test_what_an_argument_may_name(tmp_path):
    from vla_bench.policies.identity.files import named_paths

    for name in ("a.pt", "b.pt", "w x.bin", "c.json", "deep.yaml", "stats.npy"):
        (tmp_path / name).write_text("{}")
    (tmp_path / "c.json").write_text('{"next": ["deep.yaml"], "data": "."}')
    (tmp_path / "deep.yaml").write_text("norm: {path: stats.npy}\nagain: c.json\n")
    for argument, found in (
        ("a.pt, b.pt", {"a.pt", "b.pt"}),
        ("a.pt:ema", {"a.pt"}),
        ("front=a.pt", {"a.pt"}),
        (f"file://{tmp_path}/w%20x.bin", {"w x.bin"}),
        ({"b.pt": 0.5}, {"b.pt"}),
        ("c.json", {"c.json", "deep.yaml", "stats.npy"}),
        ("c.jso", set()),
    ):
        files, remarks = named_paths({"x": argument}, [tmp_path])
        assert ({path.name for path in files.values()}, remarks) == (found, []), argument


def test_files_that_are_read_but_not_written(tmp_path, monkeypatch):
    from vla_bench.policies.identity import opened

    monkeypatch.chdir(tmp_path)
    for name in ("read.txt", "both.txt", "before.txt"):
        Path(name).write_text("x")
    Path("before.txt").read_text()
    opened.watch()
    Path("read.txt").read_text()
    Path("both.txt").read_text()
    os.close(os.open("both.txt", os.O_WRONLY | os.O_APPEND))
    Path("new.txt").write_text("x")
    Path("new.txt").read_text()
    assert [path.name for path in opened.files_opened() if path.parent == tmp_path] == ["read.txt"]
    Path("before.txt").read_text()
    assert "before.txt" not in {path.name for path in opened.files_opened()}


def test_what_was_read_may_come_and_go_unless_it_is_weights():
    then = {"read stats.json": "1" * 64, "read w/late.pt": "2" * 64}
    assert [line.split()[1] for line in differences(then, {})] == ["w/late.pt"]
    assert len(differences(then, {name: "3" * 64 for name in then})) == 2
    mine, theirs = Content(files=then), Content(files={"read stats.json": "3" * 64})
    assert [line.split()[1] for line in shared_differences(mine, theirs, "on w")] == ["stats.json"]


def test_of_what_was_opened_the_policy_s_own_counts(place, tmp_path_factory):
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    snapshot = elsewhere / "models--org--vla" / "snapshots" / ("a" * 40)
    snapshot.mkdir(parents=True)
    names = ("notes.json", ".cache/seen.json", ".cache/hidden.pt")
    files = [place / name for name in names] + [
        elsewhere / "other.json",
        elsewhere / "far.pt",
        snapshot / "config.json",
    ]
    for file in files:
        file.parent.mkdir(exist_ok=True)
        file.write_text("x")
    files += [place / "model.pt", Path(os.__file__)]  # an argument names one already, the other is Python's own

    from own_policy import Mine

    content = read_content(parts_of(Mine, ARGUMENTS, ours=False, stated={}, opened=files))
    hub = {"read hub org/vla": "a" * 40}
    found = {name for name in content.read if name not in hub}
    assert found == {"read notes.json", "read …/.cache/hidden.pt", f"read …/{elsewhere.name}/far.pt"}
    assert hub.items() <= content.read.items()

"""Result folders, recordings and messages are data: nothing in them is run, imported or followed."""

from __future__ import annotations

import ast
import dataclasses
import os
import pickle
import sys
from pathlib import Path

import numpy as np
import pytest
from sample_records import chain_record, error_record, header

from vla_bench import bench, envs, policies
from vla_bench.bench.dispatch.page import Page, create_page_file
from vla_bench.bench.errors import ConfigError
from vla_bench.bench.records.journal import Journal
from vla_bench.bench.records.result_set import CONFIG, JOURNAL, PROVENANCE, ResultSet
from vla_bench.bench.setup.config import config_from_plain
from vla_bench.envs.fake import environment_spec
from vla_bench.policies.errors import PolicyError
from vla_bench.policies.replay import ReplayPolicy

SOURCES = [
    path
    for package in (bench, envs, policies)
    for path in Path(package.__path__[0]).rglob("*.py")
    if "benchmarks" not in path.parts
]
RUNS_A_USERS_CODE = {"policies/user_code.py": "pickle.load"}
"""A class of a notebook, in a file that the user names as the policy: it is run as a class in a module is."""
FORBIDDEN = {
    *("eval", "exec", "compile", "__import__", "pickle.load", "pickle.loads", "marshal.loads", "shelve.open"),
    *("os.system", "os.popen", "yaml.load", "yaml.unsafe_load", "cloudpickle.loads", "pandas.read_pickle"),
}


def dotted(node: ast.expr) -> str:
    if isinstance(node, ast.Attribute):
        return f"{dotted(node.value)}.{node.attr}"
    return node.id if isinstance(node, ast.Name) else ""


def test_no_source_runs_what_it_reads():
    assert len(SOURCES) > 100
    for path in SOURCES:
        for node in ast.walk(ast.parse(path.read_text())):
            if not isinstance(node, ast.Call):
                continue
            given = {keyword.arg: keyword.value for keyword in node.keywords}
            where = f"{path}:{node.lineno}"
            if dotted(node.func) in FORBIDDEN:
                assert dotted(node.func) == RUNS_A_USERS_CODE.get("/".join(path.parts[-2:])), where
            assert "shell" not in given and "allow_pickle" not in given, where
            if dotted(node.func) == "torch.load":
                assert "weights_only" in given, where


def test_no_source_listens_to_the_network():
    """Processes talk through socket pairs and Unix sockets; the only Internet socket is a client's."""
    for path in SOURCES:
        text = path.read_text()
        assert "AF_INET" not in text and "0.0.0.0" not in text, path
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.Call) and dotted(node.func) in ("socket.socket", "socket.create_server"):
                unix = node.args and dotted(node.args[0]) == "socket.AF_UNIX"
                inherited = [keyword.arg for keyword in node.keywords] == ["fileno"]
                assert unix or inherited, f"{path}:{node.lineno}"


class Bomb:
    """Leaves a mark when it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self):
        return Path.touch, (self.mark,)


@pytest.mark.parametrize("kind", ["array of objects", "pickle under another name"])
def test_a_recording_that_holds_a_pickle_is_refused(tmp_path: Path, kind: str):
    path, mark = tmp_path / "recording.npz", tmp_path / "mark"
    if kind == "array of objects":
        np.savez(path, seq=np.array([Bomb(mark)], dtype=object))
    else:
        path.write_bytes(pickle.dumps(Bomb(mark)))
    with pytest.raises(PolicyError, match="cannot be read"):
        ReplayPolicy(environment_spec({}), path=str(path))
    assert not mark.exists()


def test_what_a_result_folder_names_is_neither_imported_nor_followed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Its policy, its host, its scenes and episodes are told as they are written, and nothing more."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "trap.py").write_text("open('sprung', 'w')")
    folder = tmp_path / "results" / "run"
    plain = {**header(3), "policy": "trap.Policy"}
    plain["identity"] = {
        **plain["identity"],
        "policy": "trap.Policy",
        "arguments": {"_target_": "trap.Policy"},
    }
    evil = "../../../sprung"
    records = [
        chain_record(0, 2, episode=evil, worker=evil),
        chain_record(1, 2, scene=f"/{evil}"),
        dataclasses.replace(error_record(2, f"$(touch sprung) `touch sprung` {evil}"), episode=f"a\0{evil}"),
    ]
    with Journal.open(folder / JOURNAL, plain) as journal:
        for record in records:
            journal.append(record)
    (folder / CONFIG).write_text("policy: !!python/object/apply:os.system ['touch sprung']\n")
    (folder / PROVENANCE).write_text('{"tries": [{"command": "touch sprung", "started": "x"}]}')
    before = set(sys.modules)
    result_set = ResultSet.load(folder)
    result_set.write()
    assert result_set.summary.done == 2
    assert "trap" not in set(sys.modules) - before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["results", "trap.py"]
    assert [path.name for path in (tmp_path / "results").iterdir()] == ["run"]


@pytest.mark.parametrize("name", ["..", "../x", "/x", "a/../../x", "", ".", ".lock", "a\0b", "x" * 300])
def test_a_runs_folder_stays_where_results_are(name: str):
    with pytest.raises(ConfigError, match=r"run\.name"):
        config_from_plain({"run": {"name": name}})


def test_the_page_of_a_child_has_no_name():
    descriptor = create_page_file()
    try:
        Page(descriptor).close()
        assert os.fstat(descriptor).st_nlink == 0
    finally:
        os.close(descriptor)

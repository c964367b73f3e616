"""A policy that raises what ends a program ends neither the run nor anybody's patience: it is a policy that fails."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import textwrap

import pytest

from vla_bench.bench.errors import RunFailed, UserError
from vla_bench.bench.runner import evaluate
from vla_bench.bench.setup.config import config_from_plain
from vla_bench.interruption import Interruption, is_interruption
from vla_bench.policies.errors import PolicyQuit, contained, raised_at

POLICY = """
    import asyncio, os, signal
    import numpy as np
    class Own(BaseException): pass
    class Quits:
        def __init__(self, where, what):
            self.where, self.what, self.resets = where, what, 0
            self.perhaps("init")
        def perhaps(self, where):
            if where == self.where:
                raise eval(self.what)
        def reset(self, instruction, position):
            self.resets, self.acts = self.resets + 1, 0
            self.perhaps("first reset")
            if position == 1:
                self.perhaps("reset")
        def act(self, observation):
            self.acts += 1
            self.perhaps("first act")
            if self.acts == 4:
                self.perhaps("act")
            return np.array([0.0, 0.0, 1.0, 1.0])
        def finished(self, outcome):
            self.perhaps("finished")
        def close(self):
            self.perhaps("close")
    class Described(Quits):
        @classmethod
        def describe(cls, environment, where, what):
            raise eval(what)
"""
BACKENDS = {
    "local": {"backend": "local", "workers": 1},
    "inline": {"backend": "inline"},
    "server": {"backend": "local", "workers": 1, "inference": "server"},
}


@pytest.fixture
def place(tmp_path, monkeypatch):
    (tmp_path / "quits.py").write_text(textwrap.dedent(POLICY))
    monkeypatch.chdir(tmp_path)
    # As the command line has it; Python's own handler could not be told from the policy's own KeyboardInterrupt.
    before = signal.signal(signal.SIGINT, lambda *_: os.abort())
    yield tmp_path
    signal.signal(signal.SIGINT, before)


def run(backend: str, where: str, what: str, cls: str = "Quits", **more: object):
    plain = {"name": "x", "overwrite": True, "max_attempts": 2, **BACKENDS[backend], **more}
    policy = {"_target_": f"quits.py:{cls}", "where": where, "what": what}
    return evaluate(
        config_from_plain({"benchmark": {"family": "fake", "sequences": 2}, "policy": policy, "run": plain})
    )


@pytest.mark.parametrize(
    ("where", "what", "said"),
    [
        ("init", "KeyboardInterrupt", r"could not be built: KeyboardInterrupt$"),
        ("init", "Own('mine')", r"could not be built: Own: mine$"),
        ("first reset", "GeneratorExit", r"fails in its first reset\(\): GeneratorExit \(quits\.py, line \d+\)$"),
        ("first act", "SystemExit(3)", r"fails in its first act\(\): SystemExit: 3 \(quits\.py, line \d+\)$"),
        ("first act", "StopIteration", r"fails in its first act\(\): StopIteration \(quits\.py, line \d+\)$"),
        ("first act", "ValueError('b')", r"fails in its first act\(\): ValueError: b \(quits\.py, line \d+\)$"),
    ],
)
def test_what_keeps_every_episode_from_working_is_a_sentence(place, where, what, said):
    for backend in BACKENDS if "(" in what else ["inline"]:
        with pytest.raises(UserError, match=said) as caught:
            run(backend, where, what)
        assert caught.value.exit_code == 1 and "Traceback" not in str(caught.value)


@pytest.mark.parametrize(
    ("where", "what", "said"),
    [
        ("act", "KeyboardInterrupt", r"policy: KeyboardInterrupt \(at step 3 of '\w+', subtask \d of seq-000\d\)\."),
        ("act", "SystemExit(0)", r"policy: SystemExit: 0 \(at step 3 of '\w+', subtask \d of seq-000\d\)\."),
        ("act", "StopIteration", r"policy: StopIteration \(at step 3 of "),
        ("act", "asyncio.CancelledError", r"policy: CancelledError \(at step 3 of "),
        ("act", "ValueError('b')", r"policy: ValueError: b \(at step 3 of "),
    ],
)
def test_one_that_quits_later_is_an_error_of_the_episode(place, where, what, said):
    for backend in BACKENDS if "(" in what else ["inline"]:
        with pytest.raises(RunFailed, match=said) as caught:
            run(backend, where, what)
        found = caught.value.result_set
        assert caught.value.exit_code == 2 and [record.status for record in found.records] == ["error"] * 2
        assert "quits.py" in (found.folder / "errors.md").read_text()


@pytest.mark.parametrize("backend", ["local", "inline"])
def test_reset_and_finished_say_where(place, backend):
    with pytest.raises(RunFailed, match=r"Own: mine \(in reset\(\) for '\w+', subtask 2 of seq-0001\)"):
        run(backend, "reset", "Own('mine')")
    with pytest.raises(RunFailed, match=r"SystemExit: 1 \(in finished\(\) after seq-000\d\)"):
        run(backend, "finished", "SystemExit(1)")


@pytest.mark.parametrize("backend", BACKENDS)
def test_one_that_quits_when_all_is_done_takes_nothing_along(place, backend, capfd):
    for what in ("KeyboardInterrupt", "SystemExit(9)", "ValueError('b')"):
        assert run(backend, "close", what).summary.complete
    assert "Traceback" not in capfd.readouterr().err


def test_a_description_that_quits(place):
    with pytest.raises(UserError, match=r"could not be described: SystemExit: no GPU$"):
        run("local", "", "SystemExit('no GPU')", "Described")


def test_the_command_line_ends_in_its_own_exit_code(place):
    what = "policy.what=KeyboardInterrupt"
    words = ["benchmark=fake", "policy=quits.py:Quits", "benchmark.sequences=2", "run.backend=inline"]
    for where, code in (("init", 1), ("act", 2), ("close", 0)):
        done = subprocess.run(
            [sys.executable, "-m", "vla_bench", "run", *words, f"policy.where={where}", what],
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
            env={**os.environ, "COLUMNS": "200"},
        )
        assert done.returncode == code and "interrupted" not in done.stderr, done.stderr


def test_the_user_s_own_ctrl_c_passes():
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    for real in (Interruption(), KeyboardInterrupt()):
        assert is_interruption(real)
        with pytest.raises(KeyboardInterrupt):
            contained(real)
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        assert is_interruption(Interruption()) and not is_interruption(KeyboardInterrupt())
        assert isinstance(contained(KeyboardInterrupt()), PolicyQuit)
    finally:
        signal.signal(signal.SIGINT, before)
    error = ValueError("as it is")
    assert contained(error) is error and raised_at(error) == ""
    assert str(contained(asyncio.CancelledError())) == "CancelledError"

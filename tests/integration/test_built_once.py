"""A policy is built once for each process that decides, and never only to be asked what it needs."""

from __future__ import annotations

import os
import textwrap

import pytest

from vla_bench.bench.runner import evaluate, plan_run
from vla_bench.bench.setup import preparation
from vla_bench.bench.setup.config import config_from_plain
from vla_bench.policies.kept import ClaimedProcess, Kept, claim, new_address

POLICY = """
    import os, threading, time
    import numpy as np
    class Slow:
        execute = 1
        def __init__(self, log="built.txt", folder=""):
            with open(log, "a") as file:
                file.write(f"{os.getpid()}\\n")
            print("built here")
            if folder:
                os.chdir(folder)
                threading.Thread(target=time.sleep, args=(3600,)).start()
        def reset(self, instruction, seed):
            print("reset to", instruction)
            self.random = np.random.default_rng(seed)
        def act(self, observation):
            return np.append(self.random.uniform(-1, 1, 3), 1.0)
"""


@pytest.fixture
def place(tmp_path, monkeypatch):
    (tmp_path / "slow_policy.py").write_text(textwrap.dedent(POLICY))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def config(sequences: int = 4, run: dict[str, object] | None = None, **arguments: object):
    plain = {"backend": "local", "workers": 1, "name": "x", **(run or {})}
    benchmark = {"family": "fake", "sequences": sequences, "step_limit": 9, "step_seconds": 0.02}
    policy = {"_target_": "slow_policy.py:Slow", **arguments}
    return config_from_plain({"benchmark": benchmark, "policy": policy, "run": plain})


def built(place) -> list[int]:
    file = place / "built.txt"
    return [int(line) for line in file.read_text().split()] if file.exists() else []


@pytest.mark.parametrize(
    ("run", "wanted"),
    [
        ({}, 1),
        ({"backend": "inline"}, 1),
        ({"inference": "server"}, 1),
        ({"workers": 2}, 2),
        ({"workers": 2, "inference": "server"}, 2),
    ],
    ids=["local", "inline", "server", "two workers", "a server for two"],
)
def test_as_many_as_decide_in_every_try(place, run, wanted):
    first = evaluate(config(8, {**run, "only": ("0..3",)}))
    assert len(first.records) == 4
    pids = built(place)
    assert len(pids) == wanted and (os.getpid() in pids) == (run.get("backend") == "inline")
    whole = evaluate(config(8, run))
    assert whole.summary.complete and len(built(place)) == 2 * wanted
    alone = evaluate(config(8, {"name": "alone"}))  # numbers do not depend on who had built it
    assert [record.subtasks for record in alone.records] == [record.subtasks for record in whole.records]


def test_what_it_prints_and_where_it_goes_is_as_ever(place):
    (place / "elsewhere").mkdir()
    done = evaluate(config(folder="elsewhere"))
    assert done.folder.resolve() == (place / "results" / "x").resolve() and len(built(place)) == 1
    (log,) = (done.folder / "logs").glob("*.log")
    said = log.read_text()
    assert log.name == "local-0.log" and said.count("built here") == 1 and said.index("reset to") > 0


def test_nothing_is_left_of_one_that_nobody_needs(place):
    evaluate(config())
    ready = plan_run(config())  # it is complete
    assert isinstance(ready.kept, Kept)
    pid = built(place)[-1]
    assert os.path.exists(f"/proc/{pid}")
    evaluate(config(), ready=ready)
    assert not os.path.exists(f"/proc/{pid}")
    with pytest.raises(Exception, match=r"run\.only=77"):
        evaluate(config(run={"only": ("77",)}))
    assert not any(os.path.exists(f"/proc/{pid}") for pid in built(place))


def test_a_worker_that_crashes_is_replaced_by_one_that_builds_its_own(place):
    (place / "slow_policy.py").write_text(
        textwrap.dedent(POLICY)
        .replace("import os, ", "import os, signal, pathlib, ")
        .replace(
            "        return np.append",
            "        if not pathlib.Path('died').exists():\n"
            "            pathlib.Path('died').touch()\n"
            "            os.kill(os.getpid(), signal.SIGSEGV)\n"
            "        return np.append",
        )
    )
    done = evaluate(config(run={"max_error_rate": 0.0}))
    assert done.summary.complete and done.summary.errors == 0 and len(built(place)) == 2


def test_what_runs_is_what_was_asked_whatever_is_edited_meanwhile(place, monkeypatch):
    asked = preparation.ask_policy

    def edited_meanwhile(*words, **more):
        answer = asked(*words, **more)
        (place / "slow_policy.py").write_text(textwrap.dedent(POLICY).replace("1.0)", "0.0)"))
        return answer

    monkeypatch.setattr(preparation, "ask_policy", edited_meanwhile)
    evaluate(config(run={"only": ("0..0",)}))
    with pytest.raises(Exception, match=r"another state of the policy: slow_policy\.py"):
        evaluate(config())


def test_one_that_has_no_parent_here_tells_how_it_ended(place):
    pid = os.fork()
    if not pid:
        os._exit(7)
    process = ClaimedProcess(pid)
    assert process.wait(5) == 7 == process.poll()
    os.waitpid(pid, 0)
    assert claim(new_address(), "no.module", 1, ()) is None and claim("", "no.module", 1, ()) is None

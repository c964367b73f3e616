"""A real kernel: classes of cells, one output that is redrawn, a living instance, a cell that is interrupted."""

from __future__ import annotations

import os
import signal
import threading
import time
from pathlib import Path

import pytest

nbformat = pytest.importorskip("nbformat")
nbclient = pytest.importorskip("nbclient")
pytest.importorskip("ipykernel")

CLASS = """
import numpy as np, time, vla_bench
class Mine:
    gain, pause = {gain}, {pause}
    def reset(self, instruction): ...
    def act(self, observation):
        time.sleep(self.pause)
        return np.array([0.0, 0.0, self.gain, 1.0])
"""
EVALUATED = 'results = vla_bench.evaluate({what}, benchmark="fake", sequences={many}, workers=1, backend="{backend}")'


@pytest.fixture(scope="module")
def kernel(tmp_path_factory):
    """Runs cells one after the other in one kernel; its folder, and what each cell has put out."""
    place = tmp_path_factory.mktemp("notebook")
    book = nbformat.v4.new_notebook()
    client = nbclient.NotebookClient(book, timeout=120, resources={"metadata": {"path": str(place)}})

    def run(text: str, *, errors: bool = False):
        cell = nbformat.v4.new_code_cell(text, metadata={"tags": ["raises-exception"] if errors else []})
        book.cells.append(cell)
        client.execute_cell(cell, len(book.cells) - 1)
        return cell.outputs

    with client.setup_kernel():
        run.client, run.place = client, place  # type: ignore[attr-defined]
        yield run


def shown(outputs) -> list[str]:
    """What is drawn, and nothing but that: no line of a log, no warning of a library."""
    assert [each.output_type for each in outputs] == ["display_data"], outputs
    return [each.data["text/html"] for each in outputs]


def test_a_class_of_a_cell_has_one_output(kernel):
    kernel(CLASS.format(gain=1.0, pause=0.0))
    (drawn,) = shown(kernel(EVALUATED.format(what="Mine", many=300, backend="local")))
    assert 'value="300" max="300"' in drawn and "300/300 episodes" in drawn
    (result,) = kernel("results")
    assert "300 of 300 episodes judged" in result.data["text/html"]


def test_an_edited_cell_is_another_policy(kernel):
    kernel(CLASS.format(gain=-1.0, pause=0.0))
    (error,) = kernel(EVALUATED.format(what="Mine", many=300, backend="local"), errors=True)
    assert error.output_type == "error" and "code of Mine" in error.evalue


def test_an_instance_of_this_moment_on_ray(kernel):
    kernel(CLASS.format(gain=1.0, pause=0.0) + "live = Mine()")
    call = EVALUATED.format(what="live", many=5, backend="ray")
    shown(kernel(call))
    kernel("one = results; live.gain = -1.0")
    shown(kernel(call))
    (told,) = kernel("print(one.folder != results.folder, results.summary.complete)")
    assert told.text.split() == ["True", "True"]


def test_an_interrupted_cell_has_what_was_judged_and_the_same_call_goes_on(kernel):
    kernel(CLASS.format(gain=1.0, pause=0.002))
    call = EVALUATED.format(what="Mine", many=30, backend="local")[:-1] + ', name="stopped")'
    journal = Path(kernel.place, "results", "stopped", "journal.jsonl")

    def stop():
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline and not (journal.is_file() and journal.read_bytes().count(b"\n") > 3):
            time.sleep(0.01)
        os.kill(kernel.client.km.provisioner.pid, signal.SIGINT)

    interrupter = threading.Thread(target=stop)
    interrupter.start()
    (drawn,) = shown(kernel(call))
    interrupter.join()
    assert "interrupted; the same call finishes the rest" in drawn
    (told,) = kernel("print(len(results.records), results.summary.complete)")
    many, complete = told.text.split()
    assert 3 <= int(many) < 30 and complete == "False"
    (drawn,) = shown(kernel(call))
    assert 'value="30" max="30"' in drawn


def test_a_mistake_is_one_sentence(kernel):
    kernel(CLASS.format(gain=1.0, pause=0.0))
    outputs = kernel('vla_bench.evaluate(Mine, benchmark="fake", sequences=2, worker=2)', errors=True)
    assert "worker" in outputs[-1].evalue and "workers" in outputs[-1].evalue

"""A training run: brings network, data, simulator and records together."""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import json
import os
import resource
import shutil
import signal
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import FrameType
from typing import Any, Protocol

from vla_bench.bench.errors import ResultSetError
from vla_bench.bench.protocol import to_plain
from vla_bench.bench.records.conditions import flat
from vla_bench.bench.records.journal import write_atomically
from vla_bench.bench.records.provenance import Provenance, now
from vla_bench.bench.setup.config import Config
from vla_bench.bench.stopping import AT_ONCE
from vla_bench.bench.training.journal import STEPS, TrainingJournal
from vla_bench.bench.training.setup import TrainingSetup, evaluation_config, folder_of, identity_of
from vla_bench.policies.vla.training.events import Begun, Evaluated, Saved, StepDone, TrainingEvent, Validated

CONFIG, PROVENANCE, REPORT, PARTS = "config.yaml", "provenance.json", "report.html", "parameters.json"
LEFT = (STEPS, "state.pt", "last", "best", "evaluations", REPORT, PARTS, "nan_batch.pt", "tensorboard")
"""What a run leaves, and ``run.overwrite=true`` discards."""
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class TrainingScreen(Protocol):
    """Shows a training run."""

    def begin(self, folder: Path, header: Mapping[str, Any]) -> None:
        """The run is about to start or to go on."""
        ...

    def take(self, event: TrainingEvent) -> None:
        """Something happened."""
        ...

    def end(self) -> None:
        """The run is over, whatever happened."""
        ...


class SilentTrainingScreen:
    """Shows nothing."""

    def begin(self, folder: Path, header: Mapping[str, Any]) -> None:
        """Shows nothing."""

    def take(self, event: TrainingEvent) -> None:
        """Shows nothing."""

    def end(self) -> None:
        """Shows nothing."""


@dataclasses.dataclass(frozen=True, slots=True)
class TrainingResult:
    """What a run has come to."""

    folder: Path
    step: int
    steps: int
    best: float | None
    """Best success or, without evaluations, lowest validation loss."""
    best_step: int | None

    @property
    def complete(self) -> bool:
        """Whether all steps are done."""
        return self.step >= self.steps

    @property
    def checkpoint(self) -> Path:
        """What to evaluate: the best where there is one, else the last."""
        return self.folder / ("best" if self.best_step is not None else "last")


def train(setup: TrainingSetup, screen: TrainingScreen | None = None) -> TrainingResult:
    """Trains what the run's folder does not hold yet; the same setup again goes on exactly where it was.

    Raises:
        UserError: what was asked for cannot be trained, the folder belongs to another run, the disk is full, or a
            loss is no number any more.
    """
    from vla_bench.policies.vla.training.assembly import assemble

    screen = screen or SilentTrainingScreen()
    options = setup.options
    run = assemble(
        options.model,
        setup.train,
        backbone_path=options.backbone_path,
        checkpoint=options.checkpoint,
        trust=options.trust_checkpoint,
        allow_missing=options.allow_missing,
        allow_unexpected=options.allow_unexpected,
    )
    identity = identity_of(setup, run.about["data"]["digest"], run.about["data"]["validation"])
    folder = folder_of(setup, identity)
    run.about = {**run.about, "start": identity["start"]}
    if not is_first():
        with _writing_to(folder):
            done = run.train(folder, evaluate=_evaluator(setup, folder, _Stop()))
        return _result(folder, done, setup, run)
    header = {
        "created": now(),
        "name": folder.name,
        "policy": options.spec().name,
        "identity": identity,
        "data": dict(run.about["data"]),
        "structure": run.model.config.to_mapping(),
        "split": getattr(setup.config.benchmark.options, "split", "none"),
    }
    with _writing_to(folder), TrainingJournal(folder, header, overwrite=setup.config.run.overwrite) as journal:
        if setup.config.run.overwrite:
            _discard(folder)
        _check_same(folder, journal.header, header)
        _write_config(folder, setup)
        _write_parts(folder, run.model)
        return _go(setup, run, folder, journal, screen)


def _go(
    setup: TrainingSetup, run: Any, folder: Path, journal: TrainingJournal, screen: TrainingScreen
) -> TrainingResult:
    from vla_bench.bench.training.page import write_page
    from vla_bench.bench.training.tracking import make_tracker

    stop = _Stop()
    provenance = Provenance(
        folder / PROVENANCE, {"identity": journal.header["identity"]}, fresh=setup.config.run.overwrite
    )
    tracker = make_tracker(setup.config.run.tracking, folder, setup.to_plain())
    cpu, began = time.process_time(), time.monotonic()
    first = 0

    def take(event: TrainingEvent) -> None:
        nonlocal first
        kind, values = _as_line(event)
        if isinstance(event, Begun):
            first = event.step
        journal.append(kind, event.step, values)
        if isinstance(event, Saved):
            journal.sync()
        tracker.take(event)
        screen.take(event)

    screen.begin(folder, journal.header)
    provenance.begin({"target": "vla"}, {name: getattr(setup.train, name) for name in ("device", "threads", "workers")})
    try:
        with stop:
            done = run.train(folder, report=take, evaluate=_evaluator(setup, folder, stop), stop=lambda: stop.asked)
        if done.step > first:  # else it was complete before, and what it cost is told already
            journal.append(
                "ended",
                done.step,
                {
                    "from": first,
                    "wall": time.monotonic() - began,
                    "cpu": time.process_time() - cpu,
                    "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
                    "gpu_peak_mb": _gpu_peak(),
                },
            )
        provenance.end(done.step - first)
    finally:
        screen.end()
        tracker.close()
        with contextlib.suppress(OSError, ResultSetError):
            write_page(folder)
    return _result(folder, done, setup, run)


def _as_line(event: TrainingEvent) -> tuple[str, dict[str, Any]]:
    kinds = {Begun: "begun", StepDone: "step", Validated: "validation", Evaluated: "evaluation", Saved: "saved"}
    values = {name: value for name, value in to_plain(event).items() if name != "step"}
    return kinds[type(event)], values


def _evaluator(setup: TrainingSetup, folder: Path, stop: _Stop) -> Any:
    if not setup.evaluates:
        return None

    def evaluate(checkpoint: Path, step: int) -> dict[str, float]:
        from vla_bench.bench.live.screen import SilentScreen
        from vla_bench.bench.runner import evaluate as run_evaluation

        config: Config = evaluation_config(setup, checkpoint, folder, step)
        result_set = run_evaluation(config, SilentScreen())
        summary = result_set.summary
        if not result_set.has(config.run.only):
            stop.asked = True
        numbers: dict[str, float] = {"episodes": float(summary.done)}
        if summary.chain is not None:
            average = summary.chain.average
            numbers |= {"success": average.value, "low": average.low, "high": average.high}
        elif summary.overall is not None:
            numbers |= {"success": summary.overall.value, "low": summary.overall.low, "high": summary.overall.high}
        return numbers

    return evaluate


class _Stop:
    """Ctrl-C, SIGTERM or SIGHUP: the step that runs is finished, the state saved. A second Ctrl-C ends at once."""

    def __init__(self) -> None:
        self.asked = False
        self._before: dict[int, Any] = {}

    def __enter__(self) -> _Stop:
        with contextlib.suppress(ValueError):  # not in the main thread: nobody's signals
            for number in (signal.SIGINT, *AT_ONCE):
                if number == signal.SIGINT or signal.getsignal(number) is not signal.SIG_IGN:  # nohup's stays ignored
                    self._before[number] = signal.signal(number, self._press)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler or signal.SIG_DFL)

    def _press(self, number: int, _frame: FrameType | None) -> None:
        if self.asked and number == signal.SIGINT:
            raise KeyboardInterrupt
        self.asked = True


@contextlib.contextmanager
def _writing_to(folder: Path) -> Iterator[None]:
    """Says in a sentence that a disk is full or gone; torch says it in words of its own."""
    try:
        yield
    except OSError as error:
        mend = "make room" if error.errno in _FULL else "mend that"
        raise ResultSetError(
            f"cannot write to {folder}: {error.strerror or error}. The last state is safe; {mend}, and the same "
            "command goes on from it"
        ) from error
    except Exception as error:
        # torch and safetensors have errors of their own for a write that failed.
        torn = "inline_container" in str(error) or "PytorchStreamWriter" in str(error)
        if not torn and type(error).__name__ != "SafetensorError":
            raise
        raise ResultSetError(
            f"cannot write to {folder}: the disk is full or gone. The last state is safe; make room, and the same "
            "command goes on from it"
        ) from error


def is_first() -> bool:
    """Whether this process is the only one, or the first of several."""
    return int(os.environ.get("RANK", "0")) == 0


def _discard(folder: Path) -> None:
    for name in LEFT[1:]:
        path = folder / name
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)


def _check_same(folder: Path, theirs: Mapping[str, Any], mine: Mapping[str, Any]) -> None:
    before, after = flat(theirs["identity"]), flat(to_plain(mine["identity"]))
    changed = [name for name in {**before, **after} if before.get(name) != after.get(name)]
    if changed:
        said = "; ".join(f"{name} {before.get(name)!r} there, {after.get(name)!r} now" for name in changed)
        raise ResultSetError(
            f"{folder} holds another training run, which differs in: {said}. Give this run its own folder with "
            "run.name=<name>, or discard that one with run.overwrite=true."
        )


def _write_config(folder: Path, setup: TrainingSetup) -> None:
    import yaml

    lasting = dataclasses.replace(setup.config, run=dataclasses.replace(setup.config.run, overwrite=False))
    plain = dataclasses.replace(setup, config=lasting).to_plain()
    text = yaml.safe_dump(plain, sort_keys=False, allow_unicode=True)
    write_atomically(folder / CONFIG, lambda temporary: temporary.write_text(text, encoding="utf-8"))


def _write_parts(folder: Path, model: Any) -> None:
    """Every parameter: its shape, and whether it trains."""
    listed = {name: [list(each.shape), bool(each.requires_grad)] for name, each in model.named_parameters()}
    text = json.dumps(listed, indent=0) + "\n"
    write_atomically(folder / PARTS, lambda temporary: temporary.write_text(text, encoding="utf-8"))


def _result(folder: Path, done: Any, setup: TrainingSetup, run: Any) -> TrainingResult:
    return TrainingResult(folder, done.step, run.total_steps, done.best, done.best_step)


def _gpu_peak() -> float | None:
    import torch

    return torch.cuda.max_memory_allocated() / 1e6 if torch.cuda.is_available() else None

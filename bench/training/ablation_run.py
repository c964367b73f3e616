"""Carries out a trained ablation: rates, trainings, evaluations; what is there already is not made again.

Every training is a process of its own, so that its memory is its own and Ctrl-C ends it as it ends ``train``.
"""

from __future__ import annotations

import contextlib
import os
import shlex
import shutil
import signal
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

from vla_bench.bench.ablation import told_of_row
from vla_bench.bench.errors import ConfigError, RunFailed, UserError
from vla_bench.bench.records.rows import Row, write_rows
from vla_bench.bench.stopping import AT_ONCE
from vla_bench.bench.training.ablation_plan import LearnedAblation, LearnedRow, evaluation_of, slug
from vla_bench.bench.training.journal import STEPS, TrainingJournalContents, read_training
from vla_bench.bench.training.setup import folder_of, identity_of, load_training
from vla_bench.policies.vla.training.sources import data_digest
from vla_bench.policies.vla.training.taught import taught_shares

if TYPE_CHECKING:
    from vla_bench.bench.records.result_set import ResultSet
    from vla_bench.bench.setup.config import Config


class Interrupted(Exception):
    """A training or an evaluation was asked to stop."""


@dataclass(frozen=True, slots=True)
class Training:
    """One training run of a row, before or after it is made."""

    words: tuple[str, ...]
    """All of them, its name included."""
    folder: Path
    data: str
    """Digest of what it learns from."""

    @property
    def checkpoint(self) -> Path:
        """What is evaluated: the end of the schedule, the same for every row."""
        return self.folder / "last"

    @property
    def contents(self) -> TrainingJournalContents | None:
        """Its journal, once it is complete."""
        if not (self.folder / STEPS).is_file() or not (self.checkpoint / "vla.json").is_file():
            return None
        contents = read_training(self.folder / STEPS)
        begun, ended = contents.of("begun"), contents.of("saved")
        return contents if begun and ended and ended[-1]["step"] >= begun[-1]["steps"] else None


@dataclass(frozen=True, slots=True)
class RowResult:
    """What became of a row."""

    row: LearnedRow
    rate: float
    tried: Mapping[float, float]
    """Action loss on held-out data by rate; empty where there was no choice."""
    trainings: tuple[Training, ...]
    """By seed."""
    sets: Mapping[str, tuple[ResultSet, ...]]
    """Result sets by evaluation, by seed."""


def training_of(ablation: LearnedAblation, row: LearnedRow, *, rate: float, seed: int, steps: int | None) -> Training:
    """The training run of a row, at a rate and with a seed; its folder is named by all that it is.

    Raises:
        UserError: it cannot be trained, as far as can be told without opening more than the data.
    """
    words = [*row.train, f"train.learning_rate={rate:g}", f"train.seed={seed}", f"run.results={ablation.trainings}"]
    words += [] if steps is None else [f"train.steps={steps}"]
    setup = load_training(words)
    digest = data_digest(setup.train.data)
    name = folder_of(setup, identity_of(setup, digest, "")).name
    name = f"{slug(row.name)}-{name.rpartition('-')[2]}"
    return Training((*words, f"run.name={name}"), ablation.trainings / name, digest)


def run_ablation(
    ablation: LearnedAblation,
    *,
    evaluate: Callable[[Config, str], ResultSet],
    say: Callable[[str], object],
) -> list[RowResult]:
    """Makes what is missing of all rows.

    Args:
        ablation: what is wanted.
        evaluate: runs one evaluation under the name of its row, seed and evaluation; shows it as it likes.
        say: is told what comes next.

    Raises:
        UserError: something cannot be; all rows are looked at before the first is trained.
        Interrupted: the same command goes on from here.
    """
    _check(ablation)
    results = []
    noted: list[Row] = []
    for number, row in enumerate(ablation.rows, start=1):
        where = f"row {number} of {len(ablation.rows)}, {row.name}"
        rate, tried = _choose_rate(ablation, row, say, where)
        trainings: list[Training] = []
        sets: dict[str, list[ResultSet]] = {name: [] for name in ablation.evaluations}
        for seed in ablation.seeds:
            training = training_of(ablation, row, rate=rate, seed=seed, steps=None)
            _train(ablation, training, say, f"{where}, seed {seed}: training at {rate:g}")
            trainings.append(training)
            for name, made in sets.items():
                say(f"{where}, seed {seed}: {name}")
                config = evaluation_of(ablation, row, name, training.checkpoint)
                called = f"{row.name}, seed {seed}" if len(ablation.seeds) > 1 else row.name
                try:
                    found = evaluate(config, f"{called}, {name}")
                except UserError as error:
                    raise told_of_row(row.name, error) from None
                noted.append(Row(called, found.folder.name, row.train, name))
                write_rows(ablation.folder, noted)
                if not found.has(config.run.only):
                    raise Interrupted
                made.append(found)
        results.append(RowResult(row, rate, tried, tuple(trainings), {key: tuple(each) for key, each in sets.items()}))
    return results


def _check(ablation: LearnedAblation) -> None:
    folders: dict[Path, str] = {}
    for row in ablation.rows:
        try:
            training = training_of(ablation, row, rate=ablation.rates[0], seed=ablation.seeds[0], steps=None)
            for name in ablation.evaluations:
                evaluation_of(ablation, row, name, training.checkpoint)
        except UserError as error:
            raise told_of_row(row.name, error) from None
        same = next((other for folder, other in folders.items() if _hash(folder) == _hash(training.folder)), None)
        if same is not None:
            raise ConfigError(f"rows {same} and {row.name} are the same training")
        folders[training.folder] = row.name


def _hash(folder: Path) -> str:
    return folder.name.rpartition("-")[2]


def _choose_rate(
    ablation: LearnedAblation, row: LearnedRow, say: Callable[[str], object], where: str
) -> tuple[float, dict[float, float]]:
    """The rate with the lowest action loss on held-out data, after a short training with the first seed."""
    if len(ablation.rates) == 1:
        return ablation.rates[0], {}
    tried = {}
    for rate in ablation.rates:
        training = training_of(ablation, row, rate=rate, seed=ablation.seeds[0], steps=ablation.rate_steps)
        contents = _train(ablation, training, say, f"{where}: trying rate {rate:g} for {ablation.rate_steps} steps")
        tried[rate] = action_loss(contents)
    return min(tried, key=lambda rate: tried[rate]), tried


def action_loss(contents: TrainingJournalContents) -> float:
    """The last validation loss, without what only teaches.

    Raises:
        ConfigError: nothing was held out.
    """
    checks = contents.of("validation")
    if not checks:
        raise ConfigError(
            "rates are chosen on held-out data; type train.held_out=0.05, or a single train.learning_rate"
        )
    chosen = contents.header["identity"]["train"]
    taught = taught_shares(*(chosen.get(f"{loss}_loss", 0.0) for loss in ("scene", "waypoint", "subject")))
    losses = checks[-1]["losses"]
    return losses["total"] - sum(share * losses[name] for name, share in taught.items() if name in losses)


class _Passing:
    """Meanwhile what asks this process to stop is passed to its children as SIGTERM, so that a training saves before it
    ends, and is waited for; asked a second time they are killed. In the main thread only."""

    def __init__(self) -> None:
        self.asked = 0
        self._before: dict[int, Any] = {}

    def __enter__(self) -> _Passing:
        with contextlib.suppress(ValueError):  # in another thread
            for number in (signal.SIGINT, *AT_ONCE):
                if (before := signal.getsignal(number)) is not signal.SIG_IGN:
                    self._before[number] = before
                    signal.signal(number, self._pass)
        return self

    def __exit__(self, *_: object) -> None:
        for number, before in self._before.items():
            signal.signal(number, before or signal.SIG_DFL)

    def _pass(self, _number: int, _frame: FrameType | None) -> None:
        self.asked += 1
        for child in _children():
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(child, signal.SIGTERM if self.asked == 1 else signal.SIGKILL)


def _children() -> list[int]:
    """Of this process; none where /proc does not tell. There a terminal's Ctrl-C reaches them by itself."""
    found: list[int] = []
    for path in Path("/proc/self/task").glob("*/children"):
        with contextlib.suppress(OSError):
            found += map(int, path.read_text().split())
    return found


def _train(
    ablation: LearnedAblation, training: Training, say: Callable[[str], object], where: str
) -> TrainingJournalContents:
    from vla_bench.start import command

    if (contents := training.contents) is not None:
        return contents
    say(where)
    line = command("vla_bench.bench.old_name", "train", *training.words)
    if ablation.launch:
        launcher = shlex.split(ablation.launch)
        if shutil.which(launcher[0]) is None:
            raise ConfigError(f"launch={ablation.launch}: there is no program {launcher[0]}")
        line = [*launcher, *line]
    with _Passing() as passing:
        code = subprocess.run(line, check=False).returncode
    if code == 130 or passing.asked:
        raise Interrupted
    contents = training.contents
    if code or contents is None:
        raise RunFailed(f"{where} ended with exit code {code}; what it said stands above")
    return contents

"""What is shown while a network trains: a live table on a terminal, plain lines anywhere else."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vla_bench.bench.live.display import full_screen, standard_error
from vla_bench.bench.live.table import bar, flow
from vla_bench.bench.live.totals import clock_text
from vla_bench.bench.training.curves import sparkline
from vla_bench.bench.training.session import TrainingScreen
from vla_bench.policies.vla.training.events import Begun, Evaluated, Saved, StepDone, TrainingEvent, Validated

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text

LINE_SECONDS = 10.0
SMOOTHED = 50
"""Steps whose mean loss and time are shown."""


class TrainingTotals:
    """What has happened so far."""

    def __init__(self) -> None:
        self.step = self.steps = self._first = 0
        self.rate = self.gradient = 0.0
        self.losses: dict[str, float] = {}
        self.history: list[float] = []
        self.validation: list[tuple[int, float]] = []
        self.success: list[tuple[int, float]] = []
        self._recent: deque[StepDone] = deque(maxlen=SMOOTHED)
        self._began = self._warm = time.monotonic()

    def take(self, event: TrainingEvent) -> None:
        """Counts an event."""
        self.step = event.step
        match event:
            case Begun(step, steps):
                self.steps, self._first, self._began = steps, step, time.monotonic()
            case StepDone(_, rate, losses, gradient):
                if not self.history:
                    self._warm = time.monotonic()
                self._recent.append(event)
                self.rate, self.gradient = rate, gradient
                self.history.append(losses["total"])
                names = losses.keys()
                self.losses = {
                    name: sum(each.losses[name] for each in self._recent) / len(self._recent) for name in names
                }
            case Validated(step, losses):
                self.validation.append((step, losses["total"]))
            case Evaluated(step, numbers) if "success" in numbers:
                self.success.append((step, numbers["success"]))

    @property
    def seconds_per_step(self) -> float:
        """Wall time, validations and evaluations shared among the steps; the first, in which readers start and kernels
        are chosen, counts only while it is the only one."""
        done = self.step - self._first
        if done > 1:
            return (time.monotonic() - self._warm) / (done - 1)
        return time.monotonic() - self._began if done else float("nan")

    @property
    def eta(self) -> str:
        """Time that is left at this speed."""
        seconds = self.seconds_per_step * (self.steps - self.step)
        return clock_text(seconds) if seconds == seconds else "--:--"

    @property
    def waiting(self) -> float:
        """Share of the last steps' time that went into waiting for data."""
        whole = sum(each.seconds for each in self._recent)
        return sum(each.waited for each in self._recent) / whole if whole else 0.0

    def line(self) -> str:
        """Everything in one line."""
        parts = [f"step {self.step}/{self.steps}", f"ETA {self.eta}"]
        if self.losses:
            parts += [f"loss {self.losses['total']:.4f}", f"rate {self.rate:.2e}", f"gradient {self.gradient:.3g}"]
            parts += [f"{self.seconds_per_step:.2f} s/step"]
        if self.validation:
            parts.append(f"validation {self.validation[-1][1]:.4f}")
        if self.success:
            parts.append(f"success {self.success[-1][1]:.3g}")
        return " · ".join(parts)


def make_training_screen() -> TrainingScreen:
    """A live table when standard error is a terminal, plain lines otherwise."""
    console = standard_error()
    return _Live(console) if console.is_terminal else _Plain(console)


def _opening(folder: Path, header: Mapping[str, Any]) -> str:
    return f"training {header['policy']} on {header['data']['digest']} ({header['data']['label']} labels): {folder}"


def _begun(event: Begun) -> str:
    on = f"{event.steps} steps of {event.windows} windows ({event.steps_per_epoch:g} steps an epoch)"
    trained = f"{event.trained:,} of {event.parameters:,} parameters train"
    going = f"; {event.step} are done, going on" if event.step else ""
    return f"{on}; {trained}; {event.processes} process{'es' * (event.processes > 1)} on {event.device}{going}"


def _remark(event: TrainingEvent) -> str:
    best = " (best)" if getattr(event, "best", False) else ""
    match event:
        case Validated(step, losses):
            named = ", ".join(f"{name} {value:.4f}" for name, value in losses.items())
            return f"step {step}: validation {named}{best}"
        case Evaluated(step, numbers):
            named = ", ".join(f"{name} {value:.3g}" for name, value in numbers.items())
            return f"step {step}: evaluation {named}{best}"
    return ""


class _Plain:
    def __init__(self, console: Console):
        self._console, self._totals, self._next, self._shown = console, TrainingTotals(), 0.0, -1

    def begin(self, folder: Path, header: Mapping[str, Any]) -> None:
        self._say(_opening(folder, header))

    def take(self, event: TrainingEvent) -> None:
        self._totals.take(event)
        if isinstance(event, Begun):
            self._say(_begun(event))
            self._next = time.monotonic() + LINE_SECONDS
        elif text := _remark(event):
            self._say(text)
        elif isinstance(event, StepDone) and time.monotonic() >= self._next:
            self._line()

    def end(self) -> None:
        if self._totals.step != self._shown and self._totals.losses:
            self._line()

    def _line(self) -> None:
        self._next, self._shown = time.monotonic() + LINE_SECONDS, self._totals.step
        self._say(self._totals.line())

    def _say(self, line: str) -> None:
        self._console.print(line, markup=False, soft_wrap=True)


class _Live:
    def __init__(self, console: Console):
        self._console, self._totals = console, TrainingTotals()
        self._opening: list[Text] = []
        self._live = full_screen(console, lambda: self._opening, self._draw)

    def begin(self, folder: Path, header: Mapping[str, Any]) -> None:
        from rich.text import Text

        self._open(Text(_opening(folder, header), style="bold"))

    def take(self, event: TrainingEvent) -> None:
        from rich.text import Text

        self._totals.take(event)
        if isinstance(event, Begun):
            self._open(Text(_begun(event), style="dim"))
            self._live.start(refresh=True)
        elif text := _remark(event):
            self._console.print(Text(text))
        elif isinstance(event, Saved):
            self._console.print(Text(f"step {event.step}: saved in {event.seconds:.1f} s", style="dim"))

    def end(self) -> None:
        if self._live.is_started:
            self._live.stop()
            self._console.print(self._totals.line(), style="dim", markup=False)

    def _open(self, text: Text) -> None:
        self._console.print(text)
        self._opening.append(text)

    def _draw(self, width: int, height: int) -> list[Text]:
        return draw(self._totals, width)


def draw(totals: TrainingTotals, width: int) -> list[Text]:
    """The live table of a training run: progress, losses, curves. No line is wider than ``width``."""
    from rich.text import Text

    words = [Text(f"{totals.step}/{totals.steps}", style="bold"), Text(f"ETA {totals.eta}")]
    if totals.losses:
        words += [Text(f"{totals.seconds_per_step:.2f} s/step")]
        waiting = "yellow" if totals.waiting > 0.3 else ""
        words += [Text(f"waiting for data {100 * totals.waiting:.0f} %", style=waiting)]
    rest = width - sum(word.cell_len + 2 for word in words)
    progress = bar(totals.step / max(totals.steps, 1), min(30, rest if rest >= 10 else width))
    lines = [*flow([progress, *words], width), Text("")]
    numbers = [(name, f"{value:.4f}") for name, value in totals.losses.items()]
    if totals.losses:
        numbers += [("rate", f"{totals.rate:.2e}"), ("gradient", f"{totals.gradient:.3g}")]
        numbers = [("loss" if name == "total" else name, value) for name, value in numbers]
        pairs = [Text.assemble((f"{name} ", "dim"), (value, "bold")) for name, value in numbers]
        lines += [*flow(pairs, width, gap=3), Text("")]
    curves = (
        ("loss", totals.history),
        ("validation", [value for _, value in totals.validation]),
        ("success", [value for _, value in totals.success]),
    )
    for name, values in curves:
        if values:
            marks = sparkline(values, max(8, min(60, width - 22)))
            lines.append(Text.assemble((f"{name:<10}  ", "dim"), (marks, "cyan"), f"  {values[-1]:.4f}"))
    return lines

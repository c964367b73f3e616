"""Shows a run in a notebook: one output that is redrawn in place."""

from __future__ import annotations

import html
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from vla_bench.bench.dispatch.events import Event, StopAsked
from vla_bench.bench.live.screen import mishap, opening_lines
from vla_bench.bench.live.totals import RunningTotals
from vla_bench.bench.records.journal import JournalContents

REDRAW_SECONDS = 0.5
"""How often the output is redrawn; more would only fill the notebook's connection."""
MISHAPS_SHOWN = 5
"""The last so many; ``errors.md`` has all."""


INTERRUPTED = "interrupted; the same call finishes the rest"


def in_notebook() -> bool:
    """Whether this process is a notebook's kernel."""
    shell = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
    return shell is not None and hasattr(shell, "kernel")


class NotebookScreen:
    """A :class:`vla_bench.bench.live.screen.Screen` of HTML."""

    def __init__(self) -> None:
        self._totals: RunningTotals | None = None
        self._lines: list[str] = []
        self._mishaps: list[str] = []
        self._display: Any = None
        self._next = 0.0
        self._stopped = False

    def begin(self, folder: Path, header: Mapping[str, Any], contents: JournalContents, missing: int) -> None:
        """Says what is run, and begins the output."""
        from IPython.display import HTML, display

        self._lines = opening_lines(folder, header, contents, missing)
        self._totals = RunningTotals(header, contents.records, missing)
        self._display = display(HTML(self.drawn()), display_id=True)

    def take(self, event: Event) -> None:
        """Counts it, and redraws now and then."""
        assert self._totals is not None
        self._totals.take(event)
        if text := mishap(event):
            self._mishaps.append(text)
        self._stopped |= isinstance(event, StopAsked)
        if time.monotonic() >= self._next:
            self._redraw()

    def end(self) -> None:
        """Draws the last state, which stays."""
        assert self._totals is not None
        if self._stopped and self._totals.finished < self._totals.planned:
            self._mishaps.append(INTERRUPTED)
        self._redraw()

    def drawn(self) -> str:
        """The output as HTML."""
        assert self._totals is not None
        first, *others = map(html.escape, self._lines)
        notes = "".join(f"<div><small>{line}</small></div>" for line in others)
        went_wrong = "".join(f"<div>{html.escape(line)}</div>" for line in self._mishaps[-MISHAPS_SHOWN:])
        bar = f'<progress value="{self._totals.finished}" max="{max(self._totals.planned, 1)}"></progress>'
        return f"<div><b>{first}</b></div>{notes}<div>{bar} {html.escape(self._totals.line())}</div>{went_wrong}"

    def _redraw(self) -> None:
        from IPython.display import HTML

        self._next = time.monotonic() + REDRAW_SECONDS
        if self._display is not None:
            self._display.update(HTML(self.drawn()))

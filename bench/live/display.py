"""A live table that has the terminal's other screen to itself, as ``top`` has.

Below a prompt, a table that is redrawn in place leaves ghosts when the window is made narrower: terminals wrap what no
longer fits and push it into their history, where nobody can erase it. The other screen has no history. What is printed
while the table is shown is kept: its last lines stand below the table, and all of it is printed when the table goes.
"""

from __future__ import annotations

import os
import sys
from collections import deque
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console, ConsoleRenderable, RenderableType
    from rich.live import Live
    from rich.text import Text

REDRAWN_PER_SECOND = 4
KEPT = 1000
"""Things printed meanwhile that are kept."""


def standard_error() -> Console:
    """Standard error as rich sees it; a terminal has the size that it has now.

    ``COLUMNS`` and ``LINES`` are left behind by whatever uses readline, and do not change with the window.
    """
    from rich.console import Console

    fixed = ("COLUMNS", "LINES") if sys.stderr.isatty() else ()
    environment = {name: value for name, value in os.environ.items() if name not in fixed}
    return Console(stderr=True, highlight=False, _environ=environment)


def full_screen(
    console: Console, opening: Callable[[], Sequence[Text]], draw: Callable[[int, int], Sequence[Text]]
) -> Live:
    """Shows ``opening`` and below it what ``draw`` makes of a width and a height, from its start to its stop."""
    from rich.console import Group, RenderHook
    from rich.control import Control
    from rich.live import Live
    from rich.segment import Segments
    from rich.text import Text

    class FullScreen(Live, RenderHook):
        def __init__(self) -> None:
            self.kept: deque[ConsoleRenderable] = deque(maxlen=KEPT)
            super().__init__(
                console=console, screen=True, refresh_per_second=REDRAWN_PER_SECOND, get_renderable=self.drawn
            )

        def process_renderables(self, renderables: list[ConsoleRenderable]) -> list[ConsoleRenderable]:
            if self.is_started and console.is_alt_screen:
                self.kept += [each for each in renderables if not isinstance(each, Control)]
                renderables = []
            return super().process_renderables(renderables)

        def stop(self) -> None:
            started = self.is_started
            super().stop()
            while started and self.kept:
                console.print(self.kept.popleft())

        def drawn(self) -> RenderableType:
            width, height = console.size
            options = console.options.update(width=width)
            top = [line for text in opening() for line in text.wrap(console, width)][: max(2, height // 3)]
            lines = [*top, Text(""), *draw(width, height - len(top) - 1)]
            recent: list[RenderableType] = []
            for each in reversed(self.kept):
                shown = console.render_lines(each, options, pad=False)
                if len(recent) + len(shown) + len(lines) + 1 > height:
                    break
                recent[:0] = [Segments(line) for line in shown]
            return Group(*lines, *([Text("")] if recent else []), *recent)

    return FullScreen()

"""What the demo prints with: colours and a progress bar on a terminal, plain lines elsewhere."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from . import require

#: Seconds between two looks of the progress bar.
_REFRESH = 0.1
#: How many times a progress without a terminal is told.
_STEPS = 4


class Screen:
    """The standard output."""

    def __init__(self) -> None:
        require('rich')
        # All of it now, and not while memory is measured.
        import rich.progress
        from rich.console import Console
        from rich.markup import escape

        #: Makes of any text one that can stand in a line.
        self.escape: Callable[[str], str] = escape
        self._rich = rich.progress
        self._console = Console(highlight=False, soft_wrap=True, emoji=False)

    def line(self, label: str, text: str) -> None:
        """A line of figures.

        :param label: one word that says what they are of.
        :param text: with what matters in ``[b]..[/b]``.
        """
        self._console.print(f'[cyan]{label:<13}[/cyan]{text}')

    @contextmanager
    def progress(self, label: str, total: int) -> Iterator[Callable[[int], None]]:
        """A progress for as long as the block runs, which calls what it is given.

        :param label: one word that says of what.
        :param total: where it ends.
        """
        if not self._console.is_terminal:
            yield self._told(label, total)
            return
        # No automatic refresh: that would be a thread.
        with self._rich.Progress(
            self._rich.TextColumn(f'[cyan]{label:<12}'),
            self._rich.BarColumn(bar_width=40),
            self._rich.MofNCompleteColumn(),
            console=self._console,
            auto_refresh=False,
            transient=True,
        ) as bar:
            task = bar.add_task('', total=total)
            shown = 0.0

            def show(done: int) -> None:
                nonlocal shown
                if time.monotonic() - shown > _REFRESH or done == total:
                    shown = time.monotonic()
                    bar.update(task, completed=done, refresh=True)

            yield show

    def _told(self, label: str, total: int) -> Callable[[int], None]:
        told = 0

        def tell(done: int) -> None:
            nonlocal told
            if done * _STEPS // total > told:
                told = done * _STEPS // total
                self.line(label, f'{done:,} of {total:,}')

        return tell

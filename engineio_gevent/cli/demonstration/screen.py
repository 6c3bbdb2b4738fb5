"""The output of the demo: colours and a progress bar on a terminal, else plain lines."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from ..colours import ACCENT
from . import require

#: Seconds between two updates of the progress bar.
_REFRESH = 0.1
#: How often the progress is printed if the output is not a terminal.
_STEPS = 4
#: The width of the labels.
_LABEL = 13


class Screen:
    """The standard output."""

    def __init__(self) -> None:
        require('rich')
        # Import everything now, so that imports do not count as memory of the clients.
        import rich.progress
        from rich.console import Console
        from rich.markup import escape

        #: Escapes rich's markup in a text.
        self.escape: Callable[[str], str] = escape
        self._rich = rich.progress
        self._console = Console(highlight=False, soft_wrap=True, emoji=False)

    def heading(self, text: str) -> None:
        """Print a heading, after an empty line."""
        self._console.print(f'\n[bold]{text}[/bold]')

    def text(self, text: str) -> None:
        """Print lines without markup."""
        self._console.print(text, markup=False)

    def line(self, label: str, text: str, includes: str = '') -> None:
        """Print a figure.

        :param label: one word for the figure.
        :param text: the figure, with the important part in ``[b]..[/b]``.
        :param includes: what the figure includes, which is printed on the next line.
        """
        self._console.print(f'[{ACCENT}]{label:<{_LABEL}}[/{ACCENT}]{text}')
        if includes:
            self._console.print(f'{"":<{_LABEL}}[dim]{includes}[/dim]')

    @contextmanager
    def progress(self, label: str, total: int) -> Iterator[Callable[[int], None]]:
        """Show the progress of the block. Yields a function that updates it.

        :param label: one word for the progress.
        :param total: the number at the end.
        """
        if not self._console.is_terminal:
            yield self._progress_lines(label, total)
            return
        # An automatic refresh would need a thread.
        with self._rich.Progress(
            self._rich.TextColumn(f'[{ACCENT}]{label:<{_LABEL - 1}}'),
            self._rich.BarColumn(bar_width=40, complete_style=ACCENT, finished_style=ACCENT),
            self._rich.TextColumn('{task.completed:,} of {task.total:,}'),
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

    def _progress_lines(self, label: str, total: int) -> Callable[[int], None]:
        printed = 0

        def show(done: int) -> None:
            nonlocal printed
            if done * _STEPS // total > printed:
                printed = done * _STEPS // total
                self.line(label, f'{done:,} of {total:,}')

        return show

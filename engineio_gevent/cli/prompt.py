"""The sources of the lines that ``connect`` sends: a prompt on a terminal, or a pipe."""

from __future__ import annotations

import os
import signal
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, nullcontext, suppress
from pathlib import Path
from typing import Any

from gevent.event import Event
from gevent.hub import get_hub
from gevent.queue import Queue

from ..other_threads import inboxes
from .errors import CommandError, Interrupted

#: Bytes to read from a pipe at a time.
_CHUNK = 64 * 1024
#: Seconds within which a signal stops all threads.
_STOPPING = 0.2


class Source(ABC):
    """A source of lines."""

    #: Whether a person types the lines, who sees an error and can go on.
    by_hand = False

    def __init__(self) -> None:
        #: The file to print to meanwhile.
        self.output: Any = sys.stdout

    @abstractmethod
    def lines(self) -> Iterator[str]:
        """The lines, without newlines; waits for each."""

    def quit(self) -> None:  # noqa: B027 - only a prompt does something
        """Remove the prompt before the last output; idempotent."""

    def close(self) -> None:  # noqa: B027 - only a prompt does something
        """Release the resources of ``output``."""


class Given(Source):
    """Lines that are known from the start.

    :param lines: the lines.
    """

    def __init__(self, lines: Iterable[str]) -> None:
        super().__init__()
        self._lines = lines

    def lines(self) -> Iterator[str]:
        yield from self._lines


class Piped(Source):
    """The lines of the standard input. The last one may lack its newline."""

    def lines(self) -> Iterator[str]:
        """The lines, without newlines; waits for each.

        :raises CommandError: a line is not UTF-8.
        """
        if sys.stdin is None:  # a closed input is like an empty one
            return
        pool = get_hub().threadpool
        rest = b''
        # The event loop cannot wait for a file, so a native thread reads files and pipes.
        while chunk := pool.apply(os.read, (sys.stdin.fileno(), _CHUNK)):
            *whole, rest = (rest + chunk).split(b'\n')
            for line in whole:
                yield _decoded(line).removesuffix('\r')
        if rest:
            yield _decoded(rest)


def _decoded(line: bytes) -> str:
    try:
        return line.decode()
    except UnicodeDecodeError as exc:
        raise CommandError(f'a line of the input is not UTF-8: {line[:100]!r}') from exc


class Prompt(Source):
    """A prompt with editing and a history, in a native thread with its own event loop.

    Text written to ``output`` appears above the line that is being typed.
    """

    by_hand = True

    def __init__(self) -> None:
        super().__init__()
        from prompt_toolkit import PromptSession
        from prompt_toolkit.input import create_input
        from prompt_toolkit.patch_stdout import StdoutProxy
        from prompt_toolkit.utils import is_dumb_terminal

        self._hub = get_hub()
        self._inbox = inboxes.get()
        self._typed: Queue[str | BaseException] = Queue()
        self._loop: Any = None
        self._up = Event()
        self._closing = False
        #: A dumb terminal cannot move the cursor, so received messages would follow the sign.
        self._sign = '' if is_dumb_terminal() else '> '
        self._input = create_input()
        keys = _keys(self._input.cooked_mode)
        # prompt_toolkit gives the terminal back for each line that is printed above the prompt.
        # Ctrl-D in that moment would be lost, and other keys echoed.
        self._input.cooked_mode = nullcontext  # type: ignore[method-assign]  # on this object alone
        self._session: PromptSession[str] = PromptSession(
            history=_history(), complete_while_typing=False, key_bindings=keys, input=self._input
        )
        self.output = StdoutProxy(raw=True)
        self._thread: Any = None

    def _run(self) -> None:
        """In the native thread: pass each typed line to the hub, until the end of the input."""
        import asyncio

        hand_over = self._inbox.call

        async def ask() -> None:
            self._loop = asyncio.get_running_loop()
            hand_over(self._up.set)  # close() waits for this
            with self._input.raw_mode():  # between two lines, too
                while not self._closing:
                    line = await self._session.prompt_async(self._sign, handle_sigint=False)
                    hand_over(self._typed.put, line)

        try:
            asyncio.run(ask())
        except BaseException as exc:  # for the greenlet that reads the lines
            hand_over(self._typed.put, exc)
            hand_over(self._up.set)

    def lines(self) -> Iterator[str]:
        """The typed lines; waits for each.

        :raises Interrupted: Ctrl-C was typed.
        """
        self._thread = self._hub.threadpool.spawn(self._run)
        while True:
            typed = self._typed.get()
            if isinstance(typed, str):
                yield typed
            elif isinstance(typed, EOFError):
                return  # Ctrl-D, or close()
            elif isinstance(typed, KeyboardInterrupt):
                raise Interrupted
            else:
                raise typed

    def quit(self) -> None:
        self._closing = True
        thread, self._thread = self._thread, None
        if thread is not None:
            self._up.wait()
            with suppress(RuntimeError, AttributeError):  # the loop has ended, or never started
                self._loop.call_soon_threadsafe(self._exit)
            thread.wait()

    def close(self) -> None:
        self.quit()
        self._hub.threadpool.apply(self.output.close)  # it joins a native thread

    def _exit(self) -> None:
        """In the thread's event loop."""
        app = self._session.app
        if app.is_running:
            # An empty prompt is erased. An unfinished line stays visible.
            app.erase_when_done = not app.current_buffer.text
            app.exit(exception=EOFError())


def _keys(cooked_mode: Callable[[], AbstractContextManager[None]]) -> Any:
    """The key Ctrl-Z, which prompt_toolkit does not bind by default.

    :param cooked_mode: restores the terminal while the process is stopped.
    """
    from prompt_toolkit.application import run_in_terminal
    from prompt_toolkit.key_binding import KeyBindings

    def stop() -> None:
        """Stop this process group until the user types ``fg`` in the shell."""
        with cooked_mode():
            os.kill(0, signal.SIGTSTP)
            # The signal takes some time to stop this thread. Until then prompt_toolkit must send no
            # query to the terminal, since the answer would go to the shell.
            time.sleep(_STOPPING)

    keys = KeyBindings()
    if hasattr(signal, 'SIGTSTP'):
        keys.add('c-z')(lambda event: run_in_terminal(stop))
    return keys


def _history() -> Any:
    """The history file in the user's state directory, or a history in memory if that fails."""
    from prompt_toolkit.history import FileHistory, InMemoryHistory

    state = os.environ.get('XDG_STATE_HOME') or '~/.local/state'
    folder = Path(state, 'engineio-gevent').expanduser()
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        path = folder / 'history'
        path.touch(mode=0o600)
    except OSError:
        return InMemoryHistory()
    return FileHistory(str(path))


def source() -> Source:
    """A prompt if input and output are a terminal, else the standard input."""
    if all(file is not None and file.isatty() for file in (sys.stdin, sys.stdout)):
        return Prompt()
    return Piped()

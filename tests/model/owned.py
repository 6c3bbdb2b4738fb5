"""A client whose connection belongs to another native thread, and calls of it from outside."""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

import gevent

import engineio_gevent
import support
from engineio_gevent.exceptions import ConnectionError
from engineio_gevent.outgoing import THREAD_ENDED

if TYPE_CHECKING:
    from .checks import Found
    from .round import Round

#: How the thread of the connection ends: after a disconnect(), in the midst of the connection, or
#: after a wait(). It destroys its hub, except for 'keep'.
ENDS = ('disconnect', 'destroy', 'wait', 'keep')
#: What others may do meanwhile.
CALLS = ('send', 'disconnect', 'abort', 'wait', 'look')

#: Seconds that a call may take on an idle machine. wait() ends with the connection's thread.
BOUNDS = {'send': 2.0, 'disconnect': 5.0, 'abort': 2.0, 'look': 1.0}
_WAIT_BOUND = 4.0
#: Seconds for which disconnect() waits at least for the connection's thread.
_THREAD_WAIT = 2.9


class Foreign:
    """A call from a greenlet of the round, or from a native thread of its own."""

    def __init__(self, owned: Owned, do: str, in_thread: bool) -> None:
        self.owned = owned
        self.do = do
        self.ended = False
        if in_thread:
            threading.Thread(target=self._run, daemon=True).start()
        else:
            gevent.spawn(self._run)

    def __repr__(self) -> str:
        return f'{self.do} from another thread'

    def _run(self) -> None:
        client, round_ = self.owned.client, self.owned.round
        began, sid = time.monotonic(), client.sid
        error: BaseException | None = None
        round_.trace(f'{self!r} begins')
        try:
            if self.do == 'send':
                for number in range(5):
                    client.send(f'{id(self)} {number}')
            elif self.do == 'look':
                assert client.state in ('connected', 'disconnecting', 'disconnected')
                assert client.unsent >= 0
            elif self.do == 'wait':
                client.wait()
            else:
                self.owned.left = True
                client.disconnect(abort=self.do == 'abort')
        except RuntimeError as exc:
            error = exc
            if str(exc) != THREAD_ENDED or self.do not in ('send', 'wait'):
                round_.fail('raised', f'{self!r} raises {exc!r}')
        except BaseException as exc:  # anything else is a finding
            error = exc
            round_.fail('raised', f'{self!r} raises {exc!r}')
        finally:
            self.ended = True
        self._check(time.monotonic() - began, sid, error)
        round_.trace(f'{self!r} ends: {error!r}')

    def _check(self, spent: float, sid: str | None, error: BaseException | None) -> None:
        owned = self.owned
        bound = BOUNDS.get(self.do)
        if bound is not None and spent > support.patience(bound):
            owned.round.fail('bound', f'{self!r} takes {spent:.1f} s')
        waits = self.do == 'wait' or (self.do == 'disconnect' and spent < _THREAD_WAIT)
        if waits and error is None and sid is not None and owned.client.sid is not None:
            owned.round.fail('wait', f'{self!r} returns before the connection is over')


class Owned:
    """A client, and the native thread that connects it, goes on for a while, and ends.

    :param args: ``way``, ``stay`` (in milliseconds), ``handler`` (whether the connect handler
                 takes that time) and ``end``.
    """

    def __init__(self, round_: Round, number: int, args: dict[str, Any]) -> None:
        self.round = round_
        self.args = args
        self.tag = f'{round_.script.seed}o{number}{id(round_):x}'
        #: Whether somebody has called disconnect().
        self.left = False
        self.calls: list[Foreign] = []
        self._connected = False
        self._disconnects = 0
        self._hub: Any = None
        self._ended_at = 0.0
        self.client = engineio_gevent.Client(
            handle_sigint=False, request_timeout=support.patience(5.0)
        )
        self.client.logger = logging.Logger(self.tag, logging.ERROR)
        self.client.logger.addHandler(_Errors(round_))
        self.client.on('connect', self._on_connect)
        self.client.on('disconnect', self._on_disconnect)
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _on_connect(self) -> None:
        if self.args['handler']:
            gevent.sleep(self.args['stay'] / 1000)

    def _on_disconnect(self, reason: str) -> None:
        self._disconnects += 1

    def _run(self) -> None:
        """In the thread."""
        self._hub = gevent.get_hub()
        try:
            self._live()
        except BaseException as exc:  # a finding, not a line on stderr
            self.round.fail('raised', f"the connection's thread: {exc!r}")
        finally:
            if self.args['end'] != 'keep':
                self._hub.destroy(destroy_loop=True)
            self._ended_at = time.monotonic()
            self.round.trace("the connection's thread ends")

    def _live(self) -> None:
        client, stay = self.client, self.args['stay'] / 1000
        query = urlencode({'tag': self.tag})
        try:
            client.connect(
                f'{self.round.server.url}/?{query}', transports=support.WAYS[self.args['way']]
            )
            self._connected = True
        except ConnectionError as exc:
            if not self.left:
                self.round.fail('connect', f'in another thread: {exc}')
            return
        if self.args['end'] == 'wait':
            with gevent.Timeout(stay, False):
                client.wait()
        else:
            gevent.sleep(stay)
        if self.args['end'] == 'disconnect':
            client.disconnect()

    # In the thread of the round

    def call(self, do: str, in_thread: bool) -> None:
        self.calls.append(Foreign(self, do, in_thread))

    def busy(self) -> Found:
        """What should have ended."""
        if self._thread.is_alive():
            return [('hang', f'the thread of a connection does not end: {self.args}')]
        return [('hang', f'{call!r} does not end') for call in self.calls if not call.ended]

    def finish(self) -> None:
        """The thread has ended, and all calls. Then disconnect() ends the connection at once."""
        self.left = True
        began = time.monotonic()
        try:
            self.client.disconnect()
        except Exception as exc:
            self.round.fail('raised', f'disconnect() after the end of the thread: {exc!r}')
        if (spent := time.monotonic() - began) > support.patience(1.0):
            self.round.fail('bound', f'disconnect() after the end of the thread: {spent:.1f} s')
        state, sid = self.client.state, self.client.sid
        if (state, sid) != ('disconnected', None):
            self.round.fail('state', f'{state}, {sid} after the end of the thread: {self.args}')
        if self._disconnects != self._connected:
            times = f'{self._disconnects} times: connected {self._connected}'
            self.round.fail('handlers', f'the disconnect handler of a thread has run {times}')
        self.close()

    def close(self) -> None:
        """Leave nothing, whatever was found."""
        with contextlib.suppress(Exception):
            self.client.disconnect(abort=True)
        if self._hub is not None and self._hub.loop is not None and not self._thread.is_alive():
            gevent.sleep(0.01)  # gevent may still tell that loop of an event that was set
            self._hub.loop.destroy()


class _Errors(logging.Handler):
    """Reports the errors that the client logs."""

    def __init__(self, round_: Round) -> None:
        super().__init__(logging.ERROR)
        self._round = round_

    def emit(self, record: logging.LogRecord) -> None:
        error = record.exc_info[1] if record.exc_info else None
        self._round.fail('logged', f'{record.getMessage()}: {error!r}')

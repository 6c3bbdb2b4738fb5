"""The calls of application code for one connection: its handlers and its log.

Application code may wait, raise or be killed. It never runs in the hub: the connect handler runs in
the greenlet that calls ``connect()``, the others in workers of the dispatcher.
"""

from __future__ import annotations

import contextlib
import contextvars
import logging
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any

from gevent import getcurrent

from .disconnect_handler import call_disconnect
from .dispatcher import dispatchers
from .options import Options
from .own_loggers import DISPATCHER, enabled
from .protocol import packet

# A context, the name of a method of the logger, and its arguments.
LogCall = tuple[contextvars.Context, str, tuple[object, ...]]


class HandlerCalls:
    """Calls the handlers of one connection, in order.

    :param options: the client's options.
    :param handlers: the client's handlers by event. They are looked up when an event happens.
    """

    __slots__ = (
        '_begun',
        '_connect_greenlet',
        '_disconnect_greenlet',
        '_handlers',
        '_held',
        '_log_queue',
        '_options',
        'context',
        'dispatcher',
        'ending',
    )

    def __init__(self, options: Options, handlers: Mapping[str, Callable[..., Any]]) -> None:
        self._options = options
        self._handlers = handlers
        self._held: list[Any] | None = []
        self._connect_greenlet: Any = None
        self._log_queue: deque[LogCall] | None = None
        self._disconnect_greenlet: Any = None
        #: Where the handlers run.
        self.dispatcher = dispatchers.get()
        self._begun = False  # the disconnect handler
        #: Whether the disconnect handler runs, has run, or waits for its turn.
        self.ending = False
        #: The context variables that they see, in a copy.
        self.context = contextvars.copy_context()

    def connect(self) -> None:
        """Call the connect handler in this greenlet.

        :raises BaseException: what it raised.
        """
        handler = self._handlers.get('connect')
        if handler is not None:
            self._connect_greenlet = getcurrent()
            try:
                handler()
            finally:
                self._connect_greenlet = None

    # Messages. An open connection calls dispatcher.submit(context, deliver, data) without a detour.

    def hold(self, data: Any) -> None:
        """Hold a message back until :meth:`release`."""
        if self._held is not None:
            self._held.append(data)

    def release(self) -> None:
        """Call the message handler with the messages that were held back."""
        held, self._held = self._held, None
        for data in held or ():
            self.dispatcher.submit(self.context, self.deliver, data)

    def drop_held(self) -> None:
        """The application does not want the messages that were held back."""
        self._held = None

    def deliver(self, data: Any) -> None:
        """In a worker: call the message handler."""
        handler = self._handlers.get('message')
        if handler is None:
            return
        options = self._options
        try:
            if options.parse_json and isinstance(data, str):
                data = packet.parse_text(data, options.loads)
            handler(data)
        except Exception:
            self.log_error('message handler error')

    # The end

    def disconnect(
        self,
        reason: str,
        before: Callable[[], None],
        after: Callable[[], None],
        at_once: bool = True,
    ) -> None:
        """Call the disconnect handler in a worker, after the messages that wait for one.

        :param before: called just before the handler.
        :param after: called after the handler, however it ended.
        :param at_once: whether the end may be at once if there is neither handler nor message.
        """
        if 'disconnect' in self._handlers or self.dispatcher.has_jobs or not at_once:
            self.dispatcher.submit(self.context, self._disconnect, (reason, before, after))
            self.ending = True
        else:
            self._begun = self.ending = True
            before()
            after()

    def _disconnect(self, argument: tuple[str, Callable[[], None], Callable[[], None]]) -> None:
        if self._begun:
            return  # after an interruption it may be submitted again
        self._begun = True
        reason, before, after = argument
        self._disconnect_greenlet = getcurrent()
        before()
        try:
            try:
                handler = self._handlers.get('disconnect')
                if handler is not None:
                    call_disconnect(handler, reason)
            finally:
                self._disconnect_greenlet = None
                after()
        except Exception:  # only now, since a log handler may wait for long
            self.log_error('disconnect handler error')

    def disconnect_here(self, reason: str, after: Callable[[], None]) -> None:
        """Call the disconnect handler in this greenlet, because the workers are gone.

        :param after: called after the handler, however it ended.
        """
        self._disconnect((reason, lambda: None, after))

    def abandon(self) -> None:
        """In a forked child: what waits for a handler is the parent's to handle."""
        self._handlers = {}

    # Which code is running

    def in_disconnect_handler(self) -> bool:
        """Whether the current greenlet runs the disconnect handler of this connection."""
        return self._disconnect_greenlet is getcurrent()

    def in_handler(self) -> bool:
        """Whether the current greenlet runs a handler of this connection."""
        return self.dispatcher.job_owner() is self or self._connect_greenlet is getcurrent()

    # The log

    @property
    def logger(self) -> logging.Logger:
        """The client's logger."""
        return enabled(self._options.logger)

    def info(self, message: str, *arguments: object) -> None:
        """Log, if the application asked for it."""
        if self._options.verbose:
            self._log('info', message, *arguments)

    def warning(self, message: str, *arguments: object) -> None:
        """Log a warning."""
        self._log('warning', message, *arguments)

    def _log(self, method: str, *arguments: object) -> None:
        """Log soon: in a worker, or in :meth:`flush_log`. A log handler may wait, or raise.

        Log filters see the context variables of the caller.
        """
        in_hub = getcurrent() is self.dispatcher.hub
        context = self.context.copy() if in_hub else contextvars.copy_context()
        if not self._log_queue:
            self._log_queue = deque()
            self.dispatcher.submit(self.context, self._log_queued, self._log_queue)
        self._log_queue.append((context, method, arguments))

    def flush_log(self) -> None:
        """Log now what waits, so that no line is lost if the program ends. It may wait."""
        if self._log_queue and getcurrent() is not self.dispatcher.hub:
            self._log_queued(self._log_queue)

    def _log_queued(self, queue: deque[LogCall]) -> None:
        try:
            while queue:
                context, method, arguments = queue.popleft()
                with contextlib.suppress(Exception):  # of a log filter
                    context.run(getattr(self.logger, method), *arguments)
        finally:
            if queue:  # a log handler was killed, or out of time: others log the rest
                self.dispatcher.submit(self.context, self._log_queued, queue)

    def log_error(self, message: str) -> None:
        """Log the exception that is being handled. What the log raises must not replace it."""
        try:
            self.logger.exception(message)
        except Exception:  # of a log filter; the error must not vanish
            with contextlib.suppress(Exception):
                enabled(DISPATCHER).exception(message)

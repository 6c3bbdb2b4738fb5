"""Runs handlers in pooled greenlets. They start in order, and do not wait for each other.

A new greenlet for each message takes 16 us. A worker greenlet of this module runs
one handler after the other, which takes about 1 us each. If a handler waits, it
keeps its worker, and another worker runs the next handler.
"""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Callable, Iterable
from contextvars import Context
from itertools import repeat
from typing import Any

from gevent import Greenlet, GreenletExit, getcurrent
from gevent.hub import Hub

from .own_loggers import DISPATCHER, enabled
from .per_hub import PerHub

#: Workers that are kept, parked, for the next messages; each takes 8 KiB.
MAX_IDLE = 4096
#: Workers that are kept even if they have not been used in the last seconds.
MIN_IDLE = 64
#: Seconds after which a worker that has not been used ends.
IDLE_SECONDS = 5.0
#: Handlers that run before the hub gets a turn for its sockets and timers.
BATCH = 128

#: How many references there are to an object. 0 where Python does not count them, as in PyPy.
_references: Callable[[object], int] = getattr(sys, 'getrefcount', lambda _: 0)

Job = tuple[Context, Callable[[Any], Any], Any]


class Dispatcher:
    """The workers of one hub, shared by all its clients.

    Jobs *start* in the order of :meth:`submit`. Each runs in a fresh copy of
    its context. An exception is logged and ends nothing but its own job.

    A worker to which something still refers after a job runs no other job. Most
    likely that is a gevent.Timeout that the job has started and not cancelled: it
    would be raised in a job of another client.
    """

    # Mutable, and touched only in the hub's own thread: all of it.
    __slots__ = (
        '_active',
        '_idle',
        '_jobs',
        '_needless',
        '_next_turn',
        '_releaser',
        '_share',
        '_wake_up',
        'hub',
    )

    def __init__(self, hub: Hub) -> None:
        self.hub = hub
        self._jobs: deque[Job] = deque()
        self._idle: list[_Worker] = []
        # The worker that takes the next job; another takes its place if it blocks.
        self._active: _Worker | None = None
        self._wake_up: Any = None
        self._next_turn: Any = None  # the timer that is the wake-up between two batches
        self._releaser: Any = None
        self._needless = 0  # how many of the idle have stayed so since the releaser looked
        self._share = 0  # jobs that the worker may begin that is taken next

    def submit(self, context: Context, function: Callable[[Any], Any], argument: Any) -> None:
        """Run ``function(argument)`` soon, in a worker.

        :param context: the context variables it sees, in a copy.
        """
        self._jobs.append((context, function, argument))
        if self._wake_up is None:
            self._wake_up = self.hub.loop.run_callback(self._wake)

    def submit_all(
        self, context: Context, function: Callable[[Any], Any], arguments: Iterable[Any]
    ) -> None:
        """:meth:`submit` for each of these arguments; there is at least one."""
        self._jobs.extend(zip(repeat(context), repeat(function), arguments))
        if self._wake_up is None:
            self._wake_up = self.hub.loop.run_callback(self._wake)

    @property
    def has_jobs(self) -> bool:
        """Whether jobs wait to begin."""
        return bool(self._jobs)

    def job_owner(self) -> object:
        """The object whose method is the job that the current greenlet runs; None if there is none.

        A greenlet that the job has spawned runs no job.
        """
        current = getcurrent()
        return getattr(current.function, '__self__', None) if isinstance(current, _Worker) else None

    def _wake(self) -> None:
        """In the hub: have the jobs run, by another worker whenever one blocks."""
        self._wake_up = None
        if self._next_turn is not None:
            self._next_turn.close()
            self._next_turn = None
        jobs = self._jobs
        left = BATCH
        while jobs and left > 0:
            share = len(jobs)
            if share > left:
                share = left
            self._share = share
            self._active = worker = self._take_worker()
            # Comes back when the worker has no more to do, or when its job waits.
            worker.switch()
            # A job that waits is the last of its share.
            left -= share if self._active is None else max(1, share - len(jobs))
            self._active = None
            del worker  # while something refers to a worker it is not used again
        if jobs and self._wake_up is None:
            # Not by a callback: gevent runs fifty of those before it looks at the sockets.
            self._wake_up = self._next_turn = self.hub.loop.timer(0)
            self._next_turn.start(self._wake)

    def _take_worker(self) -> _Worker:
        idle = self._idle
        while idle:
            worker = idle.pop()
            if len(idle) < self._needless:
                self._needless = len(idle)
            if _references(worker) <= worker.references:
                return worker
            worker.needless = True
            worker.switch()
        self._needless = 0
        worker = _Worker(self)
        worker.switch()  # until it is parked like the others, which have run jobs
        worker = idle.pop()
        worker.references = _references(worker)
        return worker

    def _work(self, worker: _Worker) -> bool:
        """In a worker: run its share of the jobs, until one waits.

        :returns: whether the worker may go on to other jobs.
        """
        jobs = self._jobs
        references = _references(worker)
        for _ in range(self._share):
            context, function, argument = jobs.popleft()
            worker.function = function
            try:
                context.copy().run(function, argument)
            except GreenletExit:
                # Somebody killed this greenlet and may wait for its end.
                self._log_error('handler was killed before it finished')
                return False
            except KeyboardInterrupt:
                # Python raised it in this greenlet by chance. It belongs to the main greenlet.
                self.hub.handle_system_error(*sys.exc_info()[:2])
            except BaseException:  # SystemExit, gevent.Timeout: a handler must not end its worker
                if not self._log_error('handler raised a BaseException'):
                    return False
            if self._active is not worker:  # it has waited
                return True
            if _references(worker) > references:
                break
        self._active = None
        return True

    def _log_error(self, message: str) -> bool:
        """Log the exception that is being handled. The log is application code, too.

        :returns: False if the worker was killed meanwhile.
        """
        try:
            enabled(DISPATCHER).exception(message)
        except GreenletExit:
            return False
        except KeyboardInterrupt:  # the main greenlet's
            self.hub.handle_system_error(*sys.exc_info()[:2])
        except BaseException:  # of a filter or a handler of the log: it must not end the worker
            pass
        return True

    def _park(self, worker: _Worker) -> bool:
        """Wait for the next jobs; False if enough workers wait already."""
        worker.function = None  # its connection may be freed
        if len(self._idle) >= MAX_IDLE:
            return False
        self._idle.append(worker)
        if len(self._idle) > MIN_IDLE and self._releaser is None:
            self._needless = 0
            self._releaser = self.hub.loop.timer(IDLE_SECONDS, IDLE_SECONDS, ref=False)
            self._releaser.start(self._release)
        try:
            self.hub.switch()
        except BaseException:  # killed, or a Timeout of an earlier job: not an error
            if worker in self._idle:
                self._idle.remove(worker)
            return False
        return not worker.needless

    def _release(self) -> None:
        """In the hub: end workers that have not been used since the last call, but keep a few."""
        idle = self._idle
        ending = idle[: max(0, min(self._needless, len(idle)) - MIN_IDLE)]
        del idle[: len(ending)]
        self._needless = len(idle)
        if len(idle) <= MIN_IDLE:
            self._releaser.stop()
            self._releaser.close()
            self._releaser = None
        for worker in ending:
            worker.needless = True
            worker.switch()


class _Worker(Greenlet):  # type: ignore[type-arg]  # generic in its stubs alone
    """A greenlet that runs jobs, one after the other."""

    def __init__(self, dispatcher: Dispatcher) -> None:
        super().__init__()
        self._dispatcher = dispatcher
        self.needless = False
        #: References to it while it is parked and no job has left one.
        self.references = 0
        # The function of the job that runs.
        self.function: Callable[[Any], Any] | None = None

    def _run(self) -> None:
        dispatcher = self._dispatcher
        while dispatcher._park(self) and dispatcher._work(self):
            pass


#: The dispatcher of this thread's hub: ``dispatchers.get()``.
dispatchers = PerHub(Dispatcher)

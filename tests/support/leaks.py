"""The look for leaks."""

import contextlib
import gc
import os
import socket
import sys
import weakref
from collections import Counter

import gevent
import gevent.threadpool
import greenlet
import pytest

from engineio_gevent.dispatcher import dispatchers
from engineio_gevent.net import closing
from engineio_gevent.other_threads import inboxes

from .processes import ServerProcess
from .waiting import eventually


def descriptors():
    """The open descriptors of this process: {number: what it is}."""
    found = {}
    folder = '/proc/self/fd' if os.path.isdir('/proc/self/fd') else '/dev/fd'
    for name in os.listdir(folder):
        with contextlib.suppress(OSError):  # the listing's own
            number = int(name)
            os.fstat(number)
            found[number] = os.readlink(f'{folder}/{name}') if 'proc' in folder else '?'
    return found


def greenlets():
    """The greenlets of this process that have not ended, without those that are a thread's own.

    These are hubs, main greenlets, and workers of gevent's pool of threads, which come with the
    need and go when they have had nothing to do for a while. Nor those of a thread that has ended:
    gevent frees no hub, and a hub's loop keeps the greenlets that were to begin.
    """
    return [
        item
        for item in _candidates()
        if isinstance(item, greenlet.greenlet)
        and not item.dead
        and item.parent is not None
        and not isinstance(item, (gevent.hub.Hub, gevent.threadpool._WorkerGreenlet))
        and not (isinstance(item.parent, gevent.hub.Hub) and item.parent.dead)
    ]


def has_libuv():
    """Whether gevent's loop is libuv."""
    return hasattr(gevent.get_hub().loop, 'debug')


def need_destroy():
    """Skip the test if gevent cannot destroy a loop that watches something."""
    if has_libuv():
        pytest.skip('the loop is libuv, and gevent waits until it watches nothing more')


def watchers():
    """How many watchers the loop has that may still call somebody."""
    loop = gevent.get_hub().loop
    if has_libuv():  # it has no count
        inboxes.get()  # the first connection of a hub makes it, and it stays
        return sum(bool(one.active and not one.closing) for one in loop.debug())
    return loop.activecnt


class Leaks:
    """What is open when it is made, to compare with later.

    Whatever a test needs for itself (a server in this process, a warmed-up resolver) is started
    before. Server processes may start at any time: their descriptors do not count.
    """

    def __init__(self):
        gevent.get_hub()
        gevent.sleep(0)
        # Those of earlier tests that wait for their server to close TCP are to go soon.
        eventually(lambda: not closing._closing)
        _collect()
        self._descriptors = _own_descriptors()
        self._greenlets = weakref.WeakSet(greenlets())

    def left(self):
        """A list of what is there now and was not before: texts, empty where nothing is."""
        if texts := self._left():
            _collect()
            texts = self._left()
        return texts

    def _left(self):
        # Numbers are used again, so what counts is how many there are of each kind.
        extra = len(now := _own_descriptors()) - len(self._descriptors)
        texts = []
        if extra > 0:
            new = Counter(map(_kind, now.values()))
            new.subtract(map(_kind, self._descriptors.values()))
            details = [
                f'{number}: {what}{_addresses(number)}'
                for number, what in now.items()
                if self._descriptors.get(number) != what
            ]
            kinds = {kind: count for kind, count in new.items() if count > 0}
            texts.append(f'{extra} descriptors more: {kinds}: {details}')
        # The dispatcher's workers that wait for their next job are no leak.
        known = {*self._greenlets, *dispatchers.get()._idle}
        texts += [f'greenlet {item!r}' for item in greenlets() if item not in known]
        return texts

    def check(self, timeout=5):
        """Wait until nothing is left; fail with a list of what is."""
        assert eventually(lambda: not self.left(), timeout), (
            f'left after {timeout} s:\n' + '\n'.join(self.left())
        )


def _addresses(number):
    """Of a descriptor that is a connected socket."""
    with contextlib.suppress(OSError), socket.socket(fileno=os.dup(number)) as sock:
        return f' {sock.getsockname()} to {sock.getpeername()}'
    return ''


def _own_descriptors():
    """The `descriptors` without those of the server processes."""
    others = set().union(*(server.descriptors for server in ServerProcess.running))
    return {number: what for number, what in descriptors().items() if number not in others}


if sys.implementation.name == 'pypy':
    # A look through all objects takes most of a test's time there: each greenlet is recorded.
    _made = weakref.WeakSet()
    _new = greenlet.greenlet.__new__

    def _record(cls, *args, **kwargs):
        made = _new(cls, *args, **kwargs)
        _made.add(made)
        return made

    greenlet.greenlet.__new__ = _record

    def _candidates():
        return list(_made)
else:
    _candidates = gc.get_objects


def _collect():
    """Elsewhere than in CPython what nobody has any more is open until the next collection."""
    if sys.implementation.name != 'cpython':
        for _ in range(3):  # a finalizer may let go of what has one, too
            gc.collect()


def _kind(target):
    return target.partition(':[')[0]


@contextlib.contextmanager
def no_leaks(timeout=5):
    """Fail where the block leaves open more descriptors or greenlets than there were."""
    before = Leaks()
    yield before
    before.check(timeout)

"""The look for leaks."""

import contextlib
import gc
import os
import sys
import weakref
from collections import Counter

import gevent
import greenlet

from engineio_gevent.dispatcher import get_dispatcher

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
    """The greenlets of this process that have not ended, without hubs and main greenlets."""
    return [item for item in gc.get_objects()
            if isinstance(item, greenlet.greenlet) and not item.dead
            and item.parent is not None and not isinstance(item, gevent.hub.Hub)]


def watchers():
    """How many watchers the loop has that may still call somebody."""
    loop = gevent.get_hub().loop
    if hasattr(loop, 'debug'):  # libuv's has no count
        return sum(bool(one.active and not one.closing) for one in loop.debug())
    return loop.activecnt


class Leaks:
    """What is open when it is made, to compare with later.

    Whatever a test needs for itself (servers, a warmed-up resolver) is started before.
    """

    def __init__(self):
        gevent.get_hub()
        gevent.sleep(0)
        _collect()
        self._descriptors = descriptors()
        self._greenlets = weakref.WeakSet(greenlets())

    def left(self):
        """A list of what is there now and was not before: texts, empty where nothing is."""
        _collect()
        # Numbers are used again, so what counts is how many there are of each kind.
        extra = len(now := descriptors()) - len(self._descriptors)
        texts = []
        if extra > 0:
            new = Counter(map(_kind, now.values()))
            new.subtract(map(_kind, self._descriptors.values()))
            details = [f'{number}: {what}' for number, what in now.items()
                       if self._descriptors.get(number) != what]
            kinds = {kind: count for kind, count in new.items() if count > 0}
            texts.append(f'{extra} descriptors more: {kinds}: {details}')
        # The dispatcher's workers that wait for their next job are no leak.
        known = {*self._greenlets, *get_dispatcher()._idle}
        texts += [f'greenlet {item!r}' for item in greenlets() if item not in known]
        return texts

    def check(self, timeout=5):
        """Wait until nothing is left; fail with a list of what is."""
        assert eventually(lambda: not self.left(), timeout), (
            f'left after {timeout} s:\n' + '\n'.join(self.left()))


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

"""Clients that count what comes, on servers that count what they send."""

import gevent
import gevent.queue
import pytest
from gevent.event import AsyncResult

import engineio_gevent
import support

TIMEOUT = 30
"""Seconds within which anything has to happen that a test waits for, on an idle machine."""


class CountingClient(engineio_gevent.Client):
    """A client that checks the stream "s 0", "s 1", .. of a server and keeps what else comes.

    It sends "<sender> <number>" by `count`, which the server checks (see `ServerProcess.checked`).
    """

    def __init__(self, *args, **kwargs):
        super().__init__(*args, handle_sigint=False, **kwargs)
        #: the messages of the stream that came in order
        self.streamed = 0
        #: those that did not, or came after the end
        self.faults = []
        #: the reasons of the disconnects
        self.reasons = []
        #: other messages
        self.inbox = gevent.queue.Queue()
        #: how many messages each sender has sent
        self.counts = {}
        self._end = AsyncResult()
        self.on('message', self._take)
        self.on('disconnect', self.reasons.append)

    def _take(self, message):
        kind, _, number = message.partition(' ') if isinstance(message, str) else ('', '', '')
        if kind == 's':
            if number == str(self.streamed) and not self._end.ready():
                self.streamed += 1
            elif len(self.faults) < 20:
                self.faults.append(f'{message!r} after {self.streamed}')
        elif kind == 'end':
            self._end.set(int(number))
        else:
            self.inbox.put(message)

    def count(self, sender, padding='', binary=False):
        """Send the next message of this sender."""
        number = self.counts.get(sender, 0)
        self.counts[sender] = number + 1
        message = f'{sender} {number} {padding}'
        self.send(message.encode() if binary else message)

    def end_stream(self):
        """Have the server end its stream; all of it must have come. Returns how much that was."""
        self.send('end')
        count = self._end.get(timeout=support.patience(TIMEOUT))
        assert self.faults == []
        assert self.streamed == count
        return count

    def wait_end(self, timeout=TIMEOUT):
        """`wait()`, with a bound."""
        with gevent.Timeout(support.patience(timeout)):
            self.wait()


@pytest.fixture
def make_client():
    """Make a `CountingClient`, see `support.made_clients`."""
    yield from support.made_clients(CountingClient)


@pytest.fixture
def trusted(certificates, monkeypatch):
    """The `certificates`, with their authority trusted by every client."""
    monkeypatch.setenv('REQUESTS_CA_BUNDLE', certificates.ca)
    return certificates

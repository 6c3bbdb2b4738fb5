"""A fault proxy between clients and real servers, and what each fault has to end in.

Which fault is tested where is told in `test_matrix.py`; what the proxy can do, in `proxy.py`.
"""

import base64
import gc
import json
import sys
import time
import weakref
from collections import Counter
from pathlib import Path
from types import SimpleNamespace
from urllib.parse import quote

import gevent
import gevent.queue
import pytest
from gevent.event import Event

import engineio_gevent
import support
from engineio_gevent.exceptions import ConnectionClosed, ConnectionError, HeartbeatTimeout
from engineio_gevent.heartbeat import Heartbeat
from engineio_gevent.net.stream import Stream
from engineio_gevent.session import Session
from engineio_gevent.transports.polling import Polling
from engineio_gevent.transports.websocket import WebSocket
from engineio_gevent.upgrade import Probe

PROXY = Path(__file__).with_name('proxy.py')

#: Seconds that the end may be late, on an idle machine.
SLACK = 1.5
#: Seconds for what has to happen at once; a heartbeat of the servers below takes far longer.
AT_ONCE = 2
#: Of the servers that are to fall silent, in ms; python-engineio's announces a whole second.
QUICK = {'pingInterval': 300, 'pingTimeout': 400}
#: Seconds that `disconnect()` may take, and with `abort=True`.
DISCONNECT_BOUND, ABORT_BOUND = 5, 0.5

WAYS = {
    'polling': SimpleNamespace(name='polling', tls=False, transports=['polling']),
    'websocket': SimpleNamespace(name='websocket', tls=False, transports=['websocket']),
    'wss': SimpleNamespace(name='wss', tls=True, transports=['websocket']),
    'https': SimpleNamespace(name='https', tls=True, transports=['polling']),
    'upgraded-tls': SimpleNamespace(name='upgraded-tls', tls=True, transports=None),
    'upgraded': SimpleNamespace(name='upgraded', tls=False, transports=None),
}


def pytest_configure(config):
    config.addinivalue_line(
        'markers', 'smoke: of a folder that runs on one Python, what is to run on each'
    )


# -- The proxy ------------------------------------------------------------------------------------


class Lane:
    """A port of the proxy, the server behind it, and the faults between.

    :param mode: 'http', 'opaque' or 'tls'; see `proxy.py`.
    """

    def __init__(self, proxy, server, mode):
        self._proxy = proxy
        opened = self._control('open', target=server.port, mode=mode)
        self._id = opened['id']
        scheme = 'https' if mode == 'tls' or server.options.get('tls') else 'http'
        self.url = f'{scheme}://127.0.0.1:{opened["port"]}'
        self.netloc = f'127.0.0.1:{opened["port"]}'

    def _control(self, name, **arguments):
        return self._proxy.control(f'{name}?{quote(json.dumps(arguments))}')

    def act(self, do, at=None, **details):
        """Do it now, with all connections or those that are `at` one of these moments."""
        self._control(
            'act', lane=self._id, at=[at] if isinstance(at, str) else at, do=do, **details
        )

    def rule(self, on, do, times=1, **details):
        """Do it with the next connections that come to this moment; `times=None`: with all."""
        self._control(
            'rule',
            lane=self._id,
            on=[on] if isinstance(on, str) else on,
            do=do,
            times=times,
            **details,
        )

    def everywhere(self, do, **details):
        """Do it now, and with each new connection."""
        self.act(do, **details)
        self.rule('accept', do, times=None, **details)

    def answer(self, on, data, times=1):
        """Have requests answered with these bytes."""
        self.rule(on, 'answer', times=times, data=base64.b64encode(data).decode())

    def say(self, data, at=None):
        """Send these bytes to the clients, as if the server had."""
        self.act('say', at, data=base64.b64encode(data).decode())

    def lift(self):
        """Take all faults back."""
        self._control('lift', lane=self._id)

    def refuse(self):
        """Take no connections any more, until `lift()`."""
        self._control('listen', lane=self._id, on=False)

    def turn_to(self, server):
        """Lead new connections to another server."""
        self._control('target', lane=self._id, target=server.port)

    @property
    def state(self):
        return self._control('state', lane=self._id)

    def wait_seen(self, moment, count=1):
        """Wait until so many connections have come to this moment; 'cut' is one."""
        assert support.eventually(lambda: self.state['seen'].get(moment, 0) >= count), (
            f'no {moment!r}: {self.state}'
        )

    def wait_open(self, count):
        """Wait until the clients have so many connections through this lane."""
        assert support.eventually(lambda: self.state['open'] == count), self.state

    def close(self):
        self._control('close', lane=self._id)


@pytest.fixture
def proxy(pool, certificates):
    """The process of the proxy."""
    return pool.get(
        PROXY, lambda: support.ServerProcess([sys.executable, PROXY], {'tls': certificates.tls})
    )


@pytest.fixture
def make_lane(proxy):
    """`make_lane(server, mode)`: a `Lane` of its own for this test."""
    lanes = []

    def make(server, mode='http'):
        lanes.append(Lane(proxy, server, mode))
        return lanes[-1]

    yield make
    for lane in lanes:
        lane.close()


# -- Servers --------------------------------------------------------------------------------------


def server_of(make, certificates):
    def get(tls=False, quick=False):
        return make(**(QUICK if quick else {}), **({'tls': certificates.tls} if tls else {}))

    return get


@pytest.fixture
def servers(request, kind, certificates):
    """`servers(tls, quick)`: a server of this kind to share; who suspends it resumes it."""
    return server_of(request.getfixturevalue(f'{kind}_server_with'), certificates)


@pytest.fixture
def mortal(request, kind, certificates):
    """`mortal(tls, quick)`: a server of this kind to kill."""
    return server_of(request.getfixturevalue(f'make_{kind}_server'), certificates)


@pytest.fixture(params=['js', 'python'])
def kind(request):
    """Both real servers; a test for which it does not matter overrides it."""
    return request.param


@pytest.fixture(params=['polling', 'websocket', 'wss', 'upgraded'])
def way(request):
    """How the client is connected."""
    return WAYS[request.param]


# -- Clients --------------------------------------------------------------------------------------


class Subject:
    """A client on a lane, what happens to it, and what has to.

    :param options: the client's.
    """

    def __init__(self, lane, way, **options):
        self.lane = lane
        self.way = way
        self.client = engineio_gevent.Client(
            **{'handle_sigint': False, 'ssl_verify': False, **options}
        )
        self.connects = 0
        self.inbox = gevent.queue.Queue()
        #: for each run of the disconnect handler: its reason, and the state that it saw
        self.ends = []
        self.ended = Event()
        self.on_connect = None
        self.client.on('connect', self._on_connect)
        self.client.on('message', self.inbox.put)
        self.client.on('disconnect', self._on_disconnect)

    def _on_connect(self):
        self.connects += 1
        if self.on_connect is not None:
            self.on_connect()

    def _on_disconnect(self, reason):
        self.ends.append((reason, self.client.state))
        self.ended.set()

    def connect(self):
        """Connect by way of the lane."""
        self.client.connect(self.lane.url, transports=self.way.transports)
        transport = 'polling' if self.way.transports == ['polling'] else 'websocket'
        assert (self.client.state, self.client.transport()) == ('connected', transport)
        return self

    def start_connecting(self):
        """`connect()` in a greenlet of its own."""
        return gevent.spawn(self.client.connect, self.lane.url, transports=self.way.transports)

    def start_failing(self, *arguments):
        """`fails()` in a greenlet of its own."""
        return gevent.spawn(self.fails, *arguments)

    @property
    def patience(self):
        """Seconds of silence that the protocol allows."""
        return self.client.ping_interval + self.client.ping_timeout

    def ask(self, message='hello'):
        """Send a message; the server's echo has to come."""
        self.client.send(message)
        assert self.inbox.get(timeout=support.patience(5)) == message

    def loses(self, kind, within=AT_ONCE, at_least=0.0):
        """The connection ends once, in time, with this cause, which is returned."""
        began = time.monotonic()
        assert self.ended.wait(support.patience(within)), f'no disconnect within {within} s'
        assert time.monotonic() - began >= at_least
        self.client.wait()
        support.settle()  # for a second one, if there were any
        assert self.ends == [('transport error', 'connected')]
        assert (self.client.state, self.client.sid) == ('disconnected', None)
        error = self.client.disconnect_error
        assert isinstance(error, kind), repr(error)
        assert str(error)
        return error

    def falls_silent(self, since=0.0):
        """The heartbeat ends the connection: neither before its time nor much later.

        :param since: seconds for which the server may have been silent already.
        """
        return self.loses(HeartbeatTimeout, self.patience + SLACK, self.patience - since)

    def fails(self, kind, within=AT_ONCE, at_least=0.0):
        """`connect()` raises, in time, with this cause, which is returned."""
        before = self.connects, list(self.ends)
        began = time.monotonic()
        with pytest.raises(ConnectionError) as caught:
            self.client.connect(self.lane.url, transports=self.way.transports)
        assert at_least <= time.monotonic() - began < support.patience(within)
        error, caught = caught.value, None
        assert (self.connects, self.ends) == before  # no handler ran
        assert (self.client.state, self.client.sid) == ('disconnected', None)
        assert isinstance(error.__cause__, kind), repr(error.__cause__)
        assert error.args[0]
        return error.__cause__

    def expires(self):
        """`connect()` raises when the time for the handshake is over."""
        limit = self.client.request_timeout
        return self.fails(ConnectionClosed, limit + SLACK, limit * 0.9)

    def again(self):
        """The same client connects again, once the fault is lifted."""
        self.lane.lift()
        self.ended.clear()
        self.ends.clear()
        self.connects = 0
        while not self.inbox.empty():
            self.inbox.get()
        return self.connect()

    def recovers(self):
        """The same client connects again, once the fault is lifted, and leaves in order."""
        self.again()
        self.ask('again')
        self.leaves()

    def leaves(self, **arguments):
        """`disconnect()` ends it, in time."""
        bound = ABORT_BOUND if arguments.get('abort') else DISCONNECT_BOUND
        began = time.monotonic()
        self.client.disconnect(**arguments)
        assert time.monotonic() - began < support.patience(bound)
        assert self.ends == [('client disconnect', 'disconnecting')]
        assert self.client.state == 'disconnected'

    def keeps_polling(self):
        """The upgrade has failed, and no harm is done."""
        assert (self.client.state, self.client.transport()) == ('connected', 'polling')
        assert (self.connects, self.ends) == (1, [])
        self.ask('by polling')


# -- Leaks ----------------------------------------------------------------------------------------

OWN = (engineio_gevent.Client, Session, Heartbeat, Polling, Probe, Stream, WebSocket)


class Traces:
    """Descriptors, greenlets, watchers, timers and objects of clients: what there is now."""

    def __init__(self):
        self._leaks = support.Leaks()
        self._watching = support.watchers()
        self._own = self._count()

    @staticmethod
    def _count():
        gc.collect()
        return Counter(type(item).__name__ for item in gc.get_objects() if isinstance(item, OWN))

    def left(self):
        """A list of what is there in addition now."""
        texts = self._leaks.left()
        more = support.watchers() - self._watching
        if more > 0:
            texts.append(f'{more} active watchers or timers')
        if not texts and (own := self._count() - self._own):
            texts.append(f'objects: {dict(own)}')
        return texts


@pytest.fixture
def make_subject(make_lane, servers):
    """`make_subject(way, server)`: a `Subject` with a lane of its own.

    At the end of the test, with its lanes still open, all is as it was before the first subject.
    """
    subjects = weakref.WeakSet()
    before = []

    def make(way, server=None, mode=None, quick=False, **options):
        way = WAYS[way] if isinstance(way, str) else way
        # Where the proxy does the TLS it can read requests, and the server has none.
        tls = way.tls and mode != 'tls'
        lane = make_lane(server or servers(tls, quick), mode or ('opaque' if tls else 'http'))
        if not before:
            gevent.sleep(0)
            before.append(Traces())
        subject = Subject(lane, way, **options)
        subjects.add(subject)
        return subject

    yield make
    clean = support.eventually(lambda: not before or not before[0].left(), 2)
    left = [] if clean else before[0].left()
    for subject in subjects:
        subject.client.disconnect(abort=True)
    if left:
        pytest.fail('left:\n' + '\n'.join(left), pytrace=False)

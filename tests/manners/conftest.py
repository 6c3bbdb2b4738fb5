"""A server that stops where it is told to, clients that keep count, programs of their own."""

from pathlib import Path
from socket import MSG_PEEK
from urllib.parse import parse_qs, urlsplit

import gevent
import gevent.event
import gevent.queue
import gevent.select
import pytest

import engineio_gevent
import support

PROGRAMS = Path(__file__).parent / 'programs'

# -- Clients ------------------------------------------------------------------------------------


class Watched(engineio_gevent.Client):
    """A client that counts its connects, and keeps the reasons of its ends and its messages."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **{'handle_sigint': False, 'request_timeout': 30, **kwargs})
        self.connects = 0
        self.reasons = []
        self.on('connect', self._on_connect)
        self.on('disconnect', lambda reason: self.reasons.append(reason))
        self.on('message', lambda data: self.inbox.put(data))
        self.listen_here()

    def listen_here(self):
        """Messages are for this thread: a queue of gevent's belongs to one hub."""
        self.inbox = gevent.queue.Queue()

    def _on_connect(self):
        self.connects += 1

    def ask(self, message):
        """Send a message and wait for the next one."""
        self.send(message)
        return self.inbox.get(timeout=support.patience(10))

    def is_out(self):
        """Whether nothing of a connection is to be seen, and each that came up has ended once."""
        return (self.state, self.sid) == ('disconnected', None) and (
            len(self.reasons) == self.connects
        )

    def check_out(self):
        assert support.eventually(self.is_out), (
            f'{self.state}, {self.connects} connects, disconnect handler: {self.reasons}'
        )


class Remains(support.Leaks):
    """What may be left of clients: descriptors, greenlets, watchers and timers."""

    def __init__(self):
        super().__init__()
        self._active = support.watchers()

    def left(self):
        texts = super().left()
        # The look-up of what is left runs in no callback of the loop: what counts is others'.
        active = support.watchers()
        if active > self._active:
            texts.append(f'{active - self._active} watchers or timers')
        return texts


@pytest.fixture
def make_client():
    """Make a `Watched`, see `support.made_clients`."""
    yield from support.made_clients(Watched, leaks=Remains)


@pytest.fixture
def client(make_client):
    """A `Watched` without options; what else the test needs it asks for before."""
    return make_client()


# -- A server that stops where it is told to ----------------------------------------------------


class StagedServer:
    """An Engine.IO server in this process that echoes, and that can stop at a stage.

    :param stage: where it stops, until `go_on` is set: 'GET of the handshake', 'websocket
                  handshake' (before it is answered), 'open packet' (of a websocket), 'pong of the
                  probe', 'noop' (of the GET in flight when the probe has come), 'POST' (it is not
                  answered), 'frames' (it reads no more of a websocket), 'farewell' (nothing comes
                  after the client's packet 1 and close frame).
    """

    def __init__(self, stage=None):
        self.stage = stage
        #: set when the server stops
        self.reached = gevent.event.Event()
        self.go_on = gevent.event.Event()
        #: the text of all packets that came, in order; pongs of the client are left out
        self.packets = []
        self._sessions = {}
        self._probed = []
        self._getting = gevent.event.Event()
        self._server = support.HostileServer(self._handle)
        self.url = self._server.url
        self.stop = self._server.stop
        self.wait_open = self._server.wait_open

    def _at(self, stage, sock):
        if stage != self.stage or self.go_on.is_set():
            return
        self.reached.set()
        if stage == 'frames':
            self.go_on.wait()  # what comes from here on is not read, the end neither
        else:
            _first_of(self.go_on, sock)

    def _handle(self, sock):
        while True:
            request = support.read_request(sock)
            query = parse_qs(urlsplit(request.target).query)
            outbox = self._sessions.get(query.get('sid', [None])[0])
            if query['transport'] == ['websocket']:
                self._websocket(sock, request, outbox)
                return
            if outbox is None:
                self._at('GET of the handshake', sock)
                sid = f'sid{len(self._sessions)}'
                self._sessions[sid] = gevent.queue.Queue()
                support.respond(sock, support.open_packet(sid=sid, upgrades=['websocket']))
            elif request.method == 'POST':
                self._at('POST', sock)
                for packet in request.body.decode().split('\x1e'):
                    self._take(packet, outbox.put)
                support.respond(sock, 'ok')
            else:
                self._getting.set()
                try:
                    # while a probe is under way any GET is answered at once
                    packet = '6' if outbox in self._probed else _first_of(outbox, sock)
                finally:
                    self._getting.clear()
                if packet == '6':
                    self._at('noop', sock)
                support.respond(sock, packet)

    def _take(self, packet, answer):
        if packet == '2probe':
            answer('3probe')
            return
        self.packets.append(packet)
        if packet[0] == '4':
            answer(packet)

    def _websocket(self, sock, request, outbox):
        self._at('websocket handshake', sock)
        support.accept_websocket(sock, request)
        if outbox is None:
            self._at('open packet', sock)
            support.send_frame(sock, support.open_packet(sid='websocket'))
        else:
            packet = support.read_frame(sock)[1].decode()
            assert packet == '2probe'
            self._at('pong of the probe', sock)
            if self.stage == 'noop':
                self._getting.wait()  # the client begins to poll when the pong takes its time
            self._probed.append(outbox)
            support.send_frame(sock, '3probe')
            if self._getting.is_set():
                outbox.put('6')
        while True:
            self._at('frames', sock)
            opcode, payload = support.read_frame(sock)
            if opcode == support.CLOSE:
                self._at('farewell', sock)
                sock.sendall(support.close_frame())
                return
            self._take(payload.decode(), lambda packet: support.send_frame(sock, packet))


def _first_of(source, sock):
    """Wait for an event or the next item of a queue; `OSError` where the client leaves first."""
    waiting = gevent.spawn(source.get if hasattr(source, 'get') else source.wait)
    leaving = gevent.spawn(_wait_for_end, sock)
    try:
        gevent.wait([waiting, leaving], count=1)
        if not waiting.ready():
            raise ConnectionResetError('the client has left')
        return waiting.get()
    finally:
        gevent.killall([waiting, leaving])


def _wait_for_end(sock):
    try:
        while sock.recv(1, MSG_PEEK):
            gevent.sleep(0.001)  # what comes meanwhile is not ours to read
    except OSError:
        pass


@pytest.fixture
def staged_server():
    """`staged_server(stage)` starts a `StagedServer`."""
    servers = []

    def start(stage=None):
        servers.append(StagedServer(stage))
        return servers[-1]

    yield start
    for server in servers:
        server.stop()


@pytest.fixture
def js_server_tls(js_server_with, certificates):
    """`js_server` by https and wss."""
    return js_server_with(tls=certificates.tls)


# -- Programs -----------------------------------------------------------------------------------


@pytest.fixture
def program():
    """Start one of `programs/`, a `support.Program`: `program('forking.py', url)`."""
    programs = []

    def start(name, *argv, **kwargs):
        programs.append(support.Program(PROGRAMS / name, argv=argv, **kwargs))
        return programs[-1]

    yield start
    for one in programs:
        one.kill()

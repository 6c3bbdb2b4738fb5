"""A log that raises, waits, is killed or uses the client: a connection lives and ends as without.

Loggers, filters and handlers of logging are application code. Nothing of a connection may be half
done while they run.
"""

import itertools
import logging

import gevent
import gevent.select
import pytest
import websocket
from gevent.event import Event
from gevent.queue import Empty, Queue

from engineio_gevent import Client
from engineio_gevent.exceptions import ConnectionError
from engineio_gevent.transports import websocket_options
from support import (
    CLOSE,
    TEXT,
    WAYS,
    accept_websocket,
    eventually,
    frame,
    open_packet,
    patience,
    read_frame,
    read_request,
    respond,
    settle,
)


class Server:
    """A server of one session: polling, websocket, and an upgrade that it may refuse."""

    def __init__(self, refuses='', **changes):
        self.refuses = refuses
        self.open_packet = open_packet(upgrades=['websocket'], **changes)
        self.heard = []
        self._queue = Queue()
        self.sockets = set()
        self._waiting = 0
        self._probed = False

    def say(self, *packets):
        """Send packets together, by the transport in use."""
        self._queue.put(packets)

    def cut(self):
        """Close all sockets without a word, and accept no other."""
        self.refuses = 'everything'
        for sock in list(self.sockets):
            sock.close()

    def __call__(self, sock):
        self.sockets.add(sock)
        try:
            self._serve(sock)
        finally:
            self.sockets.discard(sock)

    def _serve(self, sock):
        while True:
            request = read_request(sock)
            is_websocket = 'transport=websocket' in request.target
            if self.refuses == 'everything' or (self.refuses == 'upgrade' and is_websocket):
                respond(sock, '{"message": "no"}', '400 Bad Request')
            elif is_websocket:
                self._websocket(sock, request)
                return
            elif request.method == 'POST':
                self.heard += request.body.decode().split('\x1e')
                respond(sock, 'ok')
            elif 'sid=' not in request.target:
                respond(sock, self.open_packet)
            elif self._probed:
                respond(sock, '6')
            else:
                self._waiting += 1
                try:
                    packets = self._next(sock)
                finally:
                    self._waiting -= 1
                respond(sock, '\x1e'.join(packets))

    def _next(self, sock):
        """Wait for what to say, as long as the client does."""
        while True:
            try:
                return self._queue.get(timeout=0.01)
            except Empty:
                if sock.closed or gevent.select.select([sock], [], [], 0)[0]:
                    raise ConnectionResetError('the other side has gone') from None

    def _websocket(self, sock, request):
        accept_websocket(sock, request)
        if 'sid=' in request.target:
            assert read_frame(sock) == (TEXT, b'2probe')
            sock.sendall(frame('3probe'))
            self._probed = True  # a GET may come later than the probe
            if self._waiting:
                self.say('6')  # the GET in flight
            assert read_frame(sock) == (TEXT, b'5')
        else:
            sock.sendall(frame(self.open_packet))
        speaking = gevent.spawn(self._speak, sock)
        try:
            while True:
                opcode, data = read_frame(sock)
                if opcode == CLOSE:
                    return
                if opcode == TEXT:
                    self.heard.append(data.decode())
        finally:
            speaking.kill()

    def _speak(self, sock):
        while True:
            packets = self._queue.get()
            sock.sendall(b''.join(map(frame, packets)))


# -- Logs ------------------------------------------------------------------------------------------


class Hostile(logging.Handler):
    """A handler of logging that does something else than to log.

    :param act: called with the client and the text.
    """

    def __init__(self, act):
        super().__init__()
        self.act = act
        self.client = None
        self.lines = []
        self._inside = set()  # greenlets: what it does may be logged, too

    def handle(self, record):  # without the lock, which would be one for all greenlets
        self.emit(record)

    def emit(self, record):
        self.lines.append(record.getMessage())
        me = gevent.getcurrent()
        if me in self._inside:
            return
        self._inside.add(me)
        try:
            self.act(self.client, record.getMessage())
        finally:
            self._inside.discard(me)


def raises(client, text):
    raise ValueError('a log handler fails')


def waits(client, text):
    gevent.sleep(0.001)


def is_killed(client, text):
    gevent.sleep(0)
    raise gevent.GreenletExit


def is_out_of_time(client, text):
    gevent.sleep(0)
    raise gevent.Timeout


def disconnects(client, text):
    if 'MESSAGE' in text:
        client.disconnect()


def sends(client, text):
    if 'by the log' not in text:  # else it would never end
        client.send('by the log')


def connects(client, text):
    if 'Received packet' in text:
        client.connect('http://127.0.0.1:1', transports='websocket')


#: Those that take nothing from the program: they end no greenlet of its own, and no connection.
HARMLESS = {one.__name__: one for one in (raises, waits)}
ACTS = {
    **HARMLESS,
    **{one.__name__: one for one in (is_killed, is_out_of_time, disconnects, sends, connects)},
}


@pytest.fixture
def hostile_log():
    """`hostile_log(act, as_filter=False)`: a logger, and what it has noted."""
    made = []

    def make(act, as_filter=False):
        logger = logging.getLogger(f'test.hostile.{len(made)}.{next(_numbers)}')
        logger.setLevel(logging.DEBUG)
        logger.propagate = False
        handler = Hostile(act)
        if as_filter:
            logger.addHandler(logging.NullHandler())
            logger.addFilter(lambda record: handler.emit(record) or True)
        else:
            logger.addHandler(handler)
        made.append((logger, handler))
        return logger, handler

    yield make
    for logger, _ in made:
        logger.handlers.clear()
        logger.filters.clear()


_numbers = itertools.count()


# -- One connection --------------------------------------------------------------------------------


def outcome_of(function, *arguments, **keywords):
    """Call in a greenlet, as the log may end that; what it raised, or None."""

    def call():
        try:
            function(*arguments, **keywords)
        except BaseException as exc:  # GreenletExit and gevent.Timeout, too
            return exc

    greenlet = gevent.spawn(call)
    greenlet.join(patience(30))
    assert greenlet.ready(), f'{function} does not return'
    return greenlet.value


class Life:
    """One client, and what its handlers have seen.

    :param failing: the event whose handler raises.
    """

    def __init__(self, logger, handler, failing=''):
        self.client = handler.client = Client(
            logger=logger, handle_sigint=False, request_timeout=patience(5)
        )
        self.failing = failing
        self.greeted = 0
        self.messages, self.reasons = [], []
        self.client.on('connect', self._on_connect)
        self.client.on('message', self._on_message)
        self.client.on('disconnect', self._on_disconnect)

    def _fail(self, event):
        if self.failing == event:
            raise LookupError(event)

    def _on_connect(self):
        self._fail('connect')
        self.greeted += 1

    def _on_message(self, data):
        self.messages.append(data)
        self._fail('message')

    def _on_disconnect(self, reason):
        self.reasons.append(reason)
        self._fail('disconnect')

    def is_over(self):
        """Wait for the end, and look whether it is a good one."""
        assert outcome_of(self.client.wait) is None
        assert eventually(lambda: self.client.state == 'disconnected')
        assert eventually(lambda: len(self.reasons) >= self.greeted)
        settle()
        assert len(self.reasons) == self.greeted
        assert self.client.sid is None


def end_by(ending, life, script):
    """Let the connection end, if the log has not ended it."""
    if ending == 'disconnect':
        outcome_of(life.client.disconnect)
    elif ending == 'abort':
        outcome_of(life.client.disconnect, abort=True)
    elif ending == 'close':
        script.say('1')
    elif ending == 'loss':
        script.cut()
    else:
        assert ending == 'silence'


REASONS = {
    'disconnect': 'client disconnect',
    'abort': 'client disconnect',
    'close': 'server disconnect',
    'loss': 'transport error',
    'silence': 'transport error',
}


@pytest.mark.parametrize('as_filter', [False, True], ids=['handler', 'filter'])
@pytest.mark.parametrize('act', ACTS.values(), ids=ACTS)
@pytest.mark.parametrize('ending', REASONS)
@pytest.mark.parametrize('transports', WAYS.values(), ids=WAYS)
def test_a_life(hostile_server, hostile_log, transports, ending, act, as_filter):
    times = {}
    if ending == 'silence':  # not before a connection is there
        seconds = patience(0.2) if act in HARMLESS.values() else 0.1
        times = dict.fromkeys(('pingInterval', 'pingTimeout'), int(1000 * seconds))
    script = Server(**times)
    server = hostile_server(script)
    life = Life(*hostile_log(act, as_filter))
    failed = outcome_of(life.client.connect, server.url, transports=transports)
    if act in HARMLESS.values():
        assert failed is None
        script.say('2beat', '4a', '4b')
        script.say('4c')
        for data in ('x', {'y': 1}, b'z'):
            assert outcome_of(life.client.send, data) is None
        assert eventually(lambda: life.messages == ['a', 'b', 'c'] or life.reasons)
        if ending != 'silence':  # a busy machine may not get so far before
            assert life.messages == ['a', 'b', 'c']
            said = [one for one in ('3beat', '4x', '4{"y":1}') if one in script.heard]
            assert eventually(lambda: {'3beat', '4x', '4{"y":1}'} <= {*script.heard}), said
            assert [one for one in script.heard if one[0] == '4'] == ['4x', '4{"y":1}']
    else:
        script.say('2beat', '4a', '4b')
        outcome_of(life.client.send, 'x')
        settle()
    end_by(ending, life, script)
    life.is_over()
    if act in HARMLESS.values():
        assert life.reasons == [REASONS[ending]]


@pytest.mark.parametrize('as_filter', [False, True], ids=['handler', 'filter'])
@pytest.mark.parametrize('act', ACTS.values(), ids=ACTS)
@pytest.mark.parametrize('failing', ['connect', 'message', 'disconnect'])
@pytest.mark.parametrize('transports', WAYS.values(), ids=WAYS)
def test_a_handler_that_raises(hostile_server, hostile_log, transports, failing, act, as_filter):
    script = Server()
    server = hostile_server(script)
    life = Life(*hostile_log(act, as_filter), failing)
    failed = outcome_of(life.client.connect, server.url, transports=transports)
    if act in HARMLESS.values():
        assert isinstance(failed, ConnectionError if failing == 'connect' else type(None))
        if failing == 'connect':
            assert 'Connect handler failed' in str(failed)
    if life.client.state == 'connected':
        script.say('4a', '4b', '1')
    life.is_over()
    if act in HARMLESS.values() and failing != 'connect':
        assert life.messages == ['a', 'b']
        assert life.reasons == ['server disconnect']


@pytest.mark.parametrize('act', ACTS.values(), ids=ACTS)
@pytest.mark.parametrize('transports', WAYS.values(), ids=WAYS)
def test_a_refusal(hostile_server, hostile_log, transports, act):
    """connect() raises a ConnectionError that says why, or what ended its greenlet."""
    server = hostile_server(Server(refuses='everything'))
    life = Life(*hostile_log(act))
    failed = outcome_of(life.client.connect, server.url, transports=transports)
    if act not in (is_killed, is_out_of_time):
        assert isinstance(failed, ConnectionError)
        assert '400' in str(failed)
    life.is_over()
    assert life.greeted == 0


@pytest.mark.parametrize('act', ACTS.values(), ids=ACTS)
def test_an_upgrade_that_is_refused(hostile_server, hostile_log, act):
    script = Server(refuses='upgrade')
    server = hostile_server(script)
    life = Life(*hostile_log(act))
    failed = outcome_of(life.client.connect, server.url)
    if act in HARMLESS.values():
        assert failed is None
        assert life.client.current_transport == 'polling'
        script.say('4a')
        assert eventually(lambda: life.messages == ['a'])
    outcome_of(life.client.disconnect)
    life.is_over()


@pytest.mark.parametrize('transports', WAYS.values(), ids=WAYS)
def test_disconnect_while_the_log_of_connect_waits(hostile_server, hostile_log, transports):
    """connect() ends as if the disconnect had come just after it, or says what ended it."""
    script = Server()
    server = hostile_server(script)
    logger, handler = hostile_log(waits)
    for number in range(30):
        life = Life(logger, handler)
        connecting = gevent.spawn(
            outcome_of, life.client.connect, server.url, transports=transports
        )
        for _ in range(number):
            gevent.sleep(0.0003)
        outcome_of(life.client.disconnect)
        connecting.join()
        failed = connecting.value
        assert failed is None or type(failed) is ConnectionError
        if failed is not None:
            assert 'disconnect()' in str(failed)
        outcome_of(life.client.disconnect)
        life.is_over()


@pytest.mark.parametrize('transports', WAYS.values(), ids=WAYS)
def test_no_record_can_be_made(hostile_server, hostile_log, transports, monkeypatch):
    """A record factory that raises affects all loggers, this package's own too."""

    def factory(*arguments, **keywords):
        raise ValueError('no record')

    script = Server()
    server = hostile_server(script)
    life = Life(*hostile_log(waits), 'message')
    monkeypatch.setattr(logging, '_logRecordFactory', factory)
    assert outcome_of(life.client.connect, server.url, transports=transports) is None
    script.say('4a', '4b', '1')
    life.is_over()
    assert life.messages == ['a', 'b']


def test_lines_after_one_that_kills_are_logged(hostile_server, hostile_log):
    """Each line gets its turn, though a log handler ends the greenlet that logs."""
    script = Server()
    server = hostile_server(script)
    logger, handler = hostile_log(lambda client, text: None)
    life = Life(logger, handler)
    life.client.connect(server.url, transports='websocket')
    handler.act = lambda client, text: is_killed(client, text) if 'data 1' in text else None
    script.say(*(f'4{number}' for number in range(4)))
    assert eventually(lambda: len(life.messages) == 4)
    expected = [f'Received packet MESSAGE data {number}' for number in range(4)]
    assert eventually(lambda: [one for one in handler.lines if 'MESSAGE' in one] == expected)
    life.client.disconnect()


def test_the_end_does_not_wait_for_the_log(hostile_server, hostile_log):
    """wait() returns although the line about the disconnect handler's error is still written."""
    script = Server()
    server = hostile_server(script)
    may_go_on = Event()
    logger, handler = hostile_log(lambda client, text: may_go_on.wait())
    logger.setLevel(logging.ERROR)
    life = Life(logger, handler, 'disconnect')
    life.client.connect(server.url, transports='websocket')
    script.say('1')
    life.is_over()
    assert eventually(lambda: handler.lines)
    assert handler.lines == ['disconnect handler error']
    may_go_on.set()


class Wordless(Exception):
    """An exception of the application's that cannot be shown."""

    def __str__(self):
        raise ValueError('no words')

    __repr__ = __str__


@pytest.mark.parametrize('transports', WAYS.values(), ids=WAYS)
@pytest.mark.parametrize('failing', ['connect', 'message', 'disconnect'])
def test_an_exception_that_has_no_text(
    hostile_server, hostile_log, transports, failing, monkeypatch
):
    script = Server()
    server = hostile_server(script)
    life = Life(*hostile_log(waits), failing)
    monkeypatch.setattr(Life, '_fail', lambda life, event: _raise_wordless(life, event))
    failed = outcome_of(life.client.connect, server.url, transports=transports)
    if failing == 'connect':
        assert isinstance(failed, ConnectionError)
        assert str(failed) == 'Connect handler failed: Wordless'
    else:
        assert failed is None
        script.say('4a', '4b', '1')
    life.is_over()


def _raise_wordless(life, event):
    if life.failing == event:
        raise Wordless


@pytest.mark.filterwarnings('error')
@pytest.mark.parametrize('transports', WAYS.values(), ids=WAYS)
@pytest.mark.parametrize('option', ['before', 'during'])
def test_a_warning_that_is_an_error(hostile_server, transports, option, monkeypatch, hub_errors):
    """connect() raises it and leaves nothing open; the next connect() does not warn again."""
    monkeypatch.setattr(websocket_options, '_warned', set())

    class Own(websocket.WebSocket):
        def recv_frame(self):
            """Not called after the handshake."""

    server = hostile_server(Server())
    extra = {'fire_cont_frame': True} if option == 'before' else {'class_': Own}
    life = Life(logging.getLogger('test'), Hostile(waits))
    life.client.websocket_extra_options = extra
    failed = outcome_of(life.client.connect, server.url, transports=transports)
    if option == 'before' or transports != ['polling']:
        assert isinstance(failed, RuntimeWarning)
    life.is_over() if life.client.state != 'connected' else life.client.disconnect()
    server.handler = Server()
    assert outcome_of(life.client.connect, server.url, transports=transports) is None
    life.client.disconnect()
    life.is_over()

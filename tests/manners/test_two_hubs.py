"""Native threads, each with a hub of its own: clients that live side by side, and calls across."""

import _thread
import itertools
import threading
import time

import gevent
import gevent.event
import gevent.socket
import pytest

import support
from engineio_gevent import outgoing
from engineio_gevent.exceptions import ConnectionError
from engineio_gevent.net import resolve


class InThread:
    """Runs a function in a native thread, at once.

    :param keep_hub: whether the thread ends as most do, its hub not destroyed; it is `hub` then.
    """

    def __init__(self, function, *args, keep_hub=False):
        self._function = function
        self._args = args
        self._keep_hub = keep_hub
        self._result = self._error = None
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def _run(self):
        try:
            self._result = self._function(*self._args)
        except BaseException as exc:
            self._error = exc
        finally:
            self.hub = gevent._hub_local.get_hub_if_exists()
            if self.hub is not None and not self._keep_hub:
                self.hub.destroy(destroy_loop=True)

    def get(self, timeout=10):
        """Wait for the end, cooperatively; what the function returned or raised."""
        assert support.eventually(lambda: not self.thread.is_alive(), timeout), 'it hangs'
        if self._error is not None:
            raise self._error
        return self._result


def without_hub(function, *args):
    """In a native thread that has no hub, and shall have none."""

    def run():
        result = function(*args)
        assert gevent._hub_local.get_hub_if_exists() is None, 'it has left a hub behind'
        return result

    return InThread(run)


def with_hub(function, *args):
    """In a native thread with a hub, where other greenlets go on meanwhile."""

    def run():
        ticks = []

        def tick():
            while True:
                ticks.append(time.monotonic())
                gevent.sleep(0.005)

        ticking = gevent.spawn(tick)
        gevent.sleep(0)
        try:
            return function(*args)
        finally:
            ticks.append(time.monotonic())
            ticking.kill()
            gaps = [after - before for before, after in itertools.pairwise(ticks)]
            assert max(gaps) < support.patience(0.5), 'the other greenlets stood still'

    return InThread(run)


@pytest.fixture(params=[without_hub, with_hub], ids=['without hub', 'with hub'])
def elsewhere(request):
    """Run a function in another native thread."""
    return request.param


# -- Side by side -------------------------------------------------------------------------------


def test_clients_of_several_threads(js_server, make_client, way):
    """Each in its own hub: its handlers run there, and nobody's messages go astray."""

    def run(client, name):
        places = set()

        @client.on('message')
        def message(data):
            places.add((_thread.get_ident(), gevent.get_hub()))
            client.inbox.put(data)

        client.on(
            'disconnect',
            lambda reason: (
                client.reasons.append(reason),
                places.add((_thread.get_ident(), gevent.get_hub())),
            ),
        )
        client.listen_here()
        client.connect(js_server.url, transports=way)
        answers = [client.ask(f'{name} {number}') for number in range(30)]
        client.disconnect()
        assert places == {(_thread.get_ident(), gevent.get_hub())}
        return answers

    clients = [make_client() for _ in range(4)]
    threads = [InThread(run, *pair) for pair in zip(clients[1:], 'bcd', strict=True)]
    answers = [run(clients[0], 'a'), *(thread.get(20) for thread in threads)]
    assert answers == [[f'{name} {number}' for number in range(30)] for name in 'abcd']
    for client in clients:
        client.check_out()
        assert client.connects == 1


def test_one_client_in_one_thread_after_the_other(js_server, client, way):
    def run():
        client.listen_here()
        client.connect(js_server.url, transports=way)
        answer = client.ask('hello')
        client.disconnect()
        return answer

    assert run() == 'hello'
    for _ in range(2):
        assert InThread(run).get() == 'hello'
        client.disconnect()  # it has been done; the hub that did it is no more
        client.wait()
        client.send('dropped')
    assert run() == 'hello'
    client.check_out()
    assert client.connects == 4


def test_threads_that_connect_to_one_host_name_together(js_server, make_client, way, monkeypatch):
    """While all of them look it up."""
    clients = [make_client() for _ in range(5)]
    monkeypatch.setattr(resolve, '_cache', {})
    monkeypatch.setattr(resolve, 'CACHE_SECONDS', 3600)  # the upgrade does not ask again
    look_up = gevent.socket.getaddrinfo
    all_ask = threading.Barrier(len(clients))

    def getaddrinfo(*arguments):
        all_ask.wait(timeout=support.patience(5))
        return look_up(*arguments)

    monkeypatch.setattr(resolve.socket, 'getaddrinfo', getaddrinfo)
    url = js_server.url.replace('127.0.0.1', 'localhost')
    assert 'localhost' in url

    def run(client):
        client.listen_here()
        client.connect(url, transports=way)
        answer = client.ask('hello')
        client.disconnect()
        return answer

    threads = [InThread(run, client) for client in clients]
    assert [thread.get() for thread in threads] == ['hello'] * len(clients)


# -- Across -------------------------------------------------------------------------------------


def test_send(js_server, client, way, elsewhere):
    """While the connection's own thread sends, too: each one's order is kept."""
    client.connect(js_server.url, transports=way)

    def send(name):
        for number in range(200):
            client.send(f'{name} {number}')

    threads = [elsewhere(send, name) for name in 'bc']
    send('a')
    for thread in threads:
        thread.get()
    answers = [client.inbox.get(timeout=10) for _ in range(600)]
    for name in 'abc':
        assert [answer for answer in answers if answer.startswith(name)] == [
            f'{name} {number}' for number in range(200)
        ]


@pytest.mark.parametrize('abort', [False, True], ids=['orderly', 'abort'])
def test_disconnect(js_server, client, way, elsewhere, abort):
    for _ in range(3):
        client.connect(js_server.url, transports=way)
        sid = client.sid
        elsewhere(client.disconnect, abort).get(timeout=2)
        client.check_out()
        if not abort:
            js_server.close_reason(sid)
    assert client.reasons == ['client disconnect'] * 3


def test_send_then_disconnect(js_server, client, way, elsewhere):
    """What a thread has sent before goes out before."""

    def run():
        for number in range(50):
            client.send(str(number))
        client.disconnect()

    client.connect(js_server.url, transports=way)
    sid = client.sid
    elsewhere(run).get()
    client.check_out()
    js_server.close_reason(sid)
    assert js_server.received(sid) == [str(number) for number in range(50)]


def test_wait(js_server, client, way, elsewhere):
    client.connect(js_server.url, transports=way)
    waiting = elsewhere(client.wait)
    gevent.sleep(0.05)
    assert waiting.thread.is_alive()
    assert client.ask('hello') == 'hello'
    client.disconnect()
    waiting.get(timeout=2)
    client.check_out()


def test_connect_while_connected(js_server, client, way, elsewhere):
    """It is refused as in the connection's own thread, which goes on."""
    client.connect(js_server.url, transports=way)
    with pytest.raises(ValueError, match='not in a disconnected state'):
        elsewhere(client.connect, js_server.url).get()
    assert client.ask('hello') == 'hello'


@pytest.mark.parametrize('transport', ['polling', 'websocket'])
def test_disconnect_while_connecting(staged_server, make_client, elsewhere, transport):
    stage = {'polling': 'GET of the handshake', 'websocket': 'open packet'}[transport]
    server = staged_server(stage)
    client = make_client()
    connecting = gevent.spawn(support.outcome, client.connect, server.url, transports=transport)
    assert server.reached.wait(5)
    elsewhere(client.disconnect).get(timeout=2)
    failure = connecting.get(timeout=2)
    assert isinstance(failure, ConnectionError)
    assert 'disconnect() was called while connecting' in str(failure)
    client.check_out()
    server.wait_open(0)


def test_two_threads_disconnect_at_once(js_server, client, way, elsewhere):
    client.connect(js_server.url, transports=way)
    threads = [elsewhere(client.disconnect) for _ in range(3)]
    client.disconnect()
    for thread in threads:
        thread.get(timeout=2)
    client.check_out()
    assert client.connects == 1


# -- When the connection's thread has ended -----------------------------------------------------


@pytest.fixture(params=[False, True], ids=['hub destroyed', 'hub left'])
def left_behind(request, js_server, client, way):
    """A connected client and its sid; the thread that connected it is no more."""

    def connect():
        client.listen_here()
        client.connect(js_server.url, transports=way)
        assert client.ask('hello') == 'hello'
        return client.sid

    thread = InThread(connect, keep_hub=request.param)
    sid = thread.get()
    client.listen_here()
    yield client, sid
    client.disconnect(abort=True)
    if request.param:
        thread.hub.loop.destroy()


@pytest.mark.parametrize(
    'where', [lambda function, *args: function(*args), None], ids=['here', 'in a thread']
)
def test_send_after_the_thread_has_ended(left_behind, elsewhere, where):
    """One clear error, whoever sends; a new thread may well have the old one's identifier."""
    client, _ = left_behind

    def send():
        for data in ('text', b'bytes'):
            with pytest.raises(RuntimeError, match='thread'):
                client.send(data)

    send() if where else elsewhere(send).get()
    client.disconnect()


def test_wait_after_the_thread_has_ended(left_behind, elsewhere):
    """Nothing can end this connection any more, so nobody waits for it."""
    client, _ = left_behind

    def wait():
        with pytest.raises(RuntimeError, match='thread'):
            client.wait()

    elsewhere(wait).get(timeout=2)
    client.disconnect()


@pytest.mark.parametrize('abort', [False, True], ids=['orderly', 'abort'])
def test_disconnect_after_the_thread_has_ended(js_server, left_behind, elsewhere, way, abort):
    """There is nobody to say goodbye, but it ends: the server sees it, and the client is free."""
    client, sid = left_behind
    elsewhere(client.disconnect, abort).get(timeout=2)
    client.check_out()
    assert client.reasons == ['client disconnect']
    assert 'thread' in str(client.disconnect_error)
    js_server.close_reason(sid)
    client.connect(js_server.url, transports=way)
    assert client.ask('hello') == 'hello'
    assert client.disconnect_error is None


@pytest.mark.parametrize('keep_hub', [False, True], ids=['hub destroyed', 'hub left'])
@pytest.mark.parametrize('together', [False, True], ids=['send', 'send_together'])
def test_send_while_the_thread_ends(js_server, make_client, together, keep_hub):
    """Each send is accepted, or raises the one documented error: from some moment on, always."""
    if not keep_hub:
        support.need_destroy()
    hubs = []

    def own(client, connected):
        client.listen_here()
        client.connect(js_server.url, transports='websocket')
        connected.set()
        gevent.sleep(0.001)

    def send(client, connected):
        connected.wait()
        deadline = time.monotonic() + support.patience(20)
        with pytest.raises(RuntimeError) as caught:
            while time.monotonic() < deadline:
                if together:
                    client._session.send_together(['a', b'b'], wait=True)
                else:
                    client.send('a')
                time.sleep(0.0001)  # a flood would keep the other thread from ending
        for _ in range(3):
            with pytest.raises(RuntimeError) as later:
                client.send('late')
            assert str(later.value) == str(caught.value) == outgoing.THREAD_ENDED

    for _ in range(20):
        client, connected = make_client(), threading.Event()
        senders = [InThread(send, client, connected) for _ in range(3)]
        owner = InThread(own, client, connected, keep_hub=keep_hub)
        owner.get()
        for sender in senders:
            sender.get(timeout=30)
        client.listen_here()
        client.disconnect(abort=True)
        assert client.state == 'disconnected'
        hubs.append(owner.hub)
    for hub in hubs if keep_hub else ():
        hub.loop.destroy()

"""Polling in a process that has no descriptor left: what cannot be sent now is sent later.

A POST needs a connection beside the one of the GET in flight, and so does a GET whose kept
connection was closed.
"""

import gevent
import pytest
from gevent.event import Event

from support import open_packet, patience, read_request, respond

resource = pytest.importorskip('resource', reason='Windows has no limit on descriptors')

CHILD = """
    import sys

    url, through_requests, messages = argv
    if through_requests:
        from gevent import monkey
        monkey.patch_all()

    import resource

    import gevent.event
    import requests

    import engineio_gevent

    attempts = 0
    lost = gevent.event.Event()
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    is_full = False


    def limit_descriptors(count):
        global is_full
        is_full = count < 10
        resource.setrlimit(resource.RLIMIT_NOFILE, (count, most))


    def watch(event, arguments):
        global attempts
        if is_full and event in ('socket.__new__', 'socket.getaddrinfo'):
            attempts += 1


    sys.addaudithook(watch)
    client = engineio_gevent.Client(http_session=requests.Session() if through_requests else None)
    client.on('message', lambda message: say(['message', message]))


    @client.on('disconnect')
    def note(reason):
        say(['disconnect', str(client.disconnect_error)])
        lost.set()


    client.connect(url, transports=['polling'])
    limit_descriptors(3)  # those that are open stay so
    say('no descriptors')
    # one attempt may be two look-ups and a socket
    while attempts <= 3 and not lost.is_set():
        gevent.sleep(0.01)
    for message in messages:
        client.send(message)
    gevent.sleep(0)
    limit_descriptors(200)
    say('descriptors')
    lost.wait()
"""

MESSAGES = [f'message {number}' for number in range(40)]

each_http = pytest.mark.parametrize('through_requests', [False, True], ids=['direct', 'requests'])


class Server:
    """A polling server that answers the second GET when it is told to, and the next ones never.

    :param closes: whether it closes the connection after each answer to a GET.
    """

    def __init__(self, closes):
        self.headers = [('Connection', 'close')] if closes else []
        self.answer = Event()
        self.gets = 0
        self.posted = []
        self.next_get = Event()

    def __call__(self, sock):
        while True:
            request = read_request(sock)
            if request.method == 'POST':
                self.posted += request.body.decode().split('\x1e')
                respond(sock, b'ok')
                continue
            self.gets += 1
            if self.gets == 1:
                respond(sock, open_packet(pingInterval=20_000, pingTimeout=20_000))
                continue
            if self.gets > 2:
                self.next_get.set()
                gevent.sleep(1000)
            self.answer.wait()
            respond(sock, b'2\x1e4hello', headers=self.headers)
            if self.headers:
                return


@each_http
@pytest.mark.parametrize('closes', [False, True], ids=['post', 'get-and-post'])
def test_requests_wait_for_a_descriptor(hostile_server, script, closes, through_requests):
    server = Server(closes)
    child = script(CHILD, hostile_server(server).url, through_requests, MESSAGES)
    assert child.hear() == 'no descriptors'
    server.answer.set()
    assert child.hear() == ['message', 'hello']
    assert child.hear() == 'descriptors'
    assert server.next_get.wait(patience(10))
    while len(server.posted) < 1 + len(MESSAGES):
        gevent.sleep(0.01)
    assert server.posted == ['3', *(f'4{message}' for message in MESSAGES)]
    child.kill()


@each_http
def test_the_connection_lives_on(server_with, script, through_requests):
    server = server_with(pingInterval=300, pingTimeout=20_000)
    child = script(CHILD, server.url, through_requests, MESSAGES)
    assert child.hear() == 'no descriptors'
    assert child.hear() == 'descriptors'
    assert [child.hear() for _ in MESSAGES] == [['message', message] for message in MESSAGES]

"""`probe` with problems: the verdict names the step, the problem and what to try."""

import contextlib
import json
import os
import re
import shlex
import sys

import gevent.server
import pytest
from gevent import subprocess

import support
from engineio_gevent.cli.probing import reach
from engineio_gevent.net.plain import PlainSocket

ERRORS = {
    'code 0': (
        400,
        {'code': 0, 'message': 'Transport unknown'},
        'HTTP 400: the server does not allow a connection to begin with polling',
    ),
    'invalid transport': (400, 'Invalid transport', 'to begin with polling'),
    'version': (
        400,
        {'code': 5, 'message': 'Unsupported protocol version'},
        'does not speak the Engine.IO protocol 4',
    ),
    'forbidden': (403, {'code': 4, 'message': 'No guests'}, 'HTTP 403: forbidden: No guests'),
    'unauthorized': (401, 'No token', 'credentials required: No token. Pass -H'),
    'origin': (
        400,
        'Not an accepted origin.',
        'rejects the Origin header (Not an accepted origin.)',
    ),
    'too many': (429, {'message': 'Slow down'}, 'too many requests: Slow down'),
    'own words': (500, 'Out of coffee', 'HTTP 500: Out of coffee'),
}
FLOOD = """
import socket, sys
import support

listener = socket.create_server(('127.0.0.1', 0))
print(listener.getsockname()[1], flush=True)
sock, _ = listener.accept()
support.accept_websocket(sock)
support.send_frame(sock, support.open_packet(pingInterval=200, pingTimeout=100))
many = bytes.fromhex(sys.argv[1]) * 500_000
while True:
    sock.sendall(many)
"""
PAGE = b'<!DOCTYPE html><html><body>Welcome</body></html>'


def html(body=PAGE, status='200 OK', headers=()):
    return support.response(body, status, headers, content_type='text/html')


@pytest.mark.parametrize(('status', 'body', 'told'), ERRORS.values(), ids=ERRORS)
def test_refused(failed, answering, status, body, told):
    server = answering(lambda request: support.response(json.dumps(body), f'{status} X'))
    assert told in failed('handshake', server.url)


@pytest.mark.parametrize('way', ['polling', 'websocket'])
@pytest.mark.parametrize('status', [401, 403, 404, 503])
def test_real_servers_refuse(failed, make_any_server, way, status):
    server = make_any_server(refuse=status, refuseMessage='Not you')
    step = {'polling': 'handshake', 'websocket': 'websocket'}[way]
    text = failed(step, server.url, '--transports', way)
    # the JavaScript server rejects websocket requests only with 400
    assert f'HTTP {status}' in text or (way == 'websocket' and 'HTTP 400' in text)
    assert 'Not you' in text or status == 404


@pytest.mark.parametrize(
    ('status', 'told'),
    [(502, 'A proxy got an invalid'), (503, 'The server or a proxy is'), (504, 'A proxy got no')],
)
def test_unavailable(failed, answering, status, told):
    """The problem contains the text of the response."""
    server = answering(
        lambda request: support.response(
            json.dumps({'message': 'The database is down'}), f'{status} X'
        )
    )
    text = failed('handshake', server.url)
    assert text.startswith(f'handshake: HTTP {status}: The database is down. {told}')


@pytest.mark.parametrize('way', ['polling', 'websocket'])
@pytest.mark.parametrize(
    ('status', 'value', 'told'),
    [
        (
            '429 Too Many Requests',
            '1200',
            'too many requests: Slow down. Retry-After: 1,200 seconds',
        ),
        ('503 Service Unavailable', '7', 'is overloaded or down. Retry-After: 7 seconds'),
        (
            '503 Service Unavailable',
            'Wed, 21 Oct 2037 07:28:00 GMT',
            'down. Retry-After: Wed, 21 Oct 2037 07:28:00 GMT',
        ),
    ],
)
def test_retry_after(probe, answering, status, value, told, way):
    server = answering(
        lambda request: support.response('Slow down', status, [('Retry-After', value)])
    )
    outcome = probe(server.url, '--transports', way)
    assert outcome.code == 1
    assert outcome.text.endswith(told), outcome
    step = {'polling': 'handshake', 'websocket': 'websocket'}[way]
    assert outcome.facts(step)['headers']['retry-after'] == value


class TestRefusalsAfterTheOpening:
    """A server answers 101, then sends an HTTP response in the place of frames."""

    def test_engine_io(self, probe, node_server):
        """It does so if it cannot make a session id."""
        outcome = probe(node_server('no-id'), '--transports', 'websocket')
        assert (outcome.code, outcome.verdict['step']) == (1, 'handshake'), outcome
        assert outcome.text == (
            'handshake: HTTP 400: Bad request. The server sent this after it had opened the '
            'websocket (HTTP 101)'
        )

    def test_of_an_upgrade(self, probe, hostile_server):
        def handle(sock):
            while True:
                request = support.read_request(sock)
                if 'transport=websocket' in request.target:
                    support.accept_websocket(sock, request)
                    # It may come in any pieces.
                    refusal = support.response('Session ID unknown', '400 Bad Request')
                    for piece in refusal[:1], refusal[1:20], refusal[20:]:
                        sock.sendall(piece)
                        gevent.sleep(0.01)
                    support.read_to_end(sock)
                    return
                support.respond(
                    sock,
                    'ok'
                    if request.method == 'POST'
                    else support.open_packet(upgrades=['websocket']),
                )

        outcome = probe(hostile_server(handle).url)
        assert (outcome.code, outcome.verdict['step']) == (4, 'upgrade'), outcome
        assert 'HTTP 400: unknown sid.' in outcome.text
        assert 'after it had opened the websocket (HTTP 101). Polling works' in outcome.text


@pytest.mark.parametrize('way', ['polling', 'websocket'])
def test_a_server_of_http_2(failed, node_server, way):
    step = {'polling': 'handshake', 'websocket': 'websocket'}[way]
    assert failed(step, node_server('http2'), '--transports', way) == (
        f'{step}: this port speaks only HTTP/2, and this client speaks HTTP/1.1'
    )


@pytest.mark.parametrize('way', ['polling', 'websocket'])
def test_an_alert_of_tls(failed, hostile_server, way):
    """It has seven bytes, and the server waits after it."""

    def handle(sock):
        support.read_request(sock)
        sock.sendall(b'\x15\x03\x01\x00\x02\x02\x16')
        support.read_to_end(sock)

    step = {'polling': 'handshake', 'websocket': 'websocket'}[way]
    text = failed(step, hostile_server(handle).url, '--transports', way)
    assert text.endswith('this port speaks TLS. Try https:// instead of http://')


def test_authenticate(failed, answering):
    server = answering(
        lambda request: support.response(
            '', '401 Unauthorized', [('WWW-Authenticate', 'Digest realm="x"'), ('Server', 'gate/1')]
        )
    )
    assert 'HTTP 401 (from gate/1): credentials required (Digest)' in failed(
        'handshake', server.url
    )


class TestPlaces:
    @pytest.mark.parametrize(
        ('mounted', 'asked'), [('socket.io', 'engine.io'), ('engine.io', 'socket.io')]
    )
    def test_it_is_found_elsewhere(self, probe, make_js_server, mounted, asked):
        server = make_js_server(path=f'/{mounted}/')
        outcome = probe(server.url, '--path', asked)
        assert outcome.code == 1
        assert outcome.text == (
            f'handshake: HTTP 404: no Engine.IO at /{asked}/. '
            f'Engine.IO is at /{mounted}/: use --path {mounted}'
        )
        assert outcome.facts('handshake')['found_at'] == f'/{mounted}/'
        server.wait_count(0)  # the other path was left at once

    def test_nowhere(self, failed, answering):
        server = answering(lambda request: support.response('Not here', '404 Not Found'))
        assert failed('handshake', server.url, '--path', 'x/y').endswith(
            'HTTP 404: no Engine.IO at /x/y/. Check the path (--path)'
        )

    def test_a_page_there_and_engineio_elsewhere(self, failed, answering):
        def answer(request):
            if request.target.startswith('/socket.io/'):
                return support.response('ok' if request.method == 'POST' else support.open_packet())
            return html()

        text = failed('handshake', answering(answer).url)
        assert 'HTTP 200: an HTML page, not Engine.IO' in text
        assert text.endswith('. Engine.IO is at /socket.io/: use --path socket.io')

    @pytest.mark.parametrize(
        ('status', 'location', 'told'),
        [
            (
                '301 Moved',
                'https://elsewhere.test/engine.io/?EIO=4&transport=polling&t=1.5&sid=x',
                ' redirects to https://elsewhere.test/engine.io/. Use https://elsewhere.test (',
            ),
            (
                '302 Found',
                '/login',
                ' redirects to {url}/login/. If Engine.IO is there, use {url} --path login (',
            ),
            (
                '308 Permanent Redirect',
                'https://me:secret@127.0.0.1/',
                ' redirects to https://127.0.0.1/. If Engine.IO is there, use '
                'https://127.0.0.1 --path / (',
            ),
            (
                '302 Found',
                '?EIO=4&transport=polling&t=2',
                ' redirects to the same URL, {url}/engine.io/ (polling follows redirects, ',
            ),
            ('302 Found', 'ftp://elsewhere.test/', ': redirected to'),
        ],
    )
    def test_redirect(self, failed, answering, status, location, told):
        server = answering(lambda request: support.response('', status, [('Location', location)]))
        text = failed('handshake', server.url)
        assert f'HTTP {status[:3]}{told.format(url=server.url)}' in text
        assert 'secret' not in text

    @pytest.mark.parametrize('way', ['polling', 'websocket', 'polling,websocket'])
    @pytest.mark.parametrize('mounted', ['engine.io', 'a place'])
    def test_what_is_said_of_a_redirect_leads_there(
        self, probe, answering, make_js_server, mounted, way
    ):
        there = make_js_server(path=f'/{mounted.replace(" ", "%20")}/')

        def answer(request):
            query = request.target.partition('?')[2]
            where = f'{there.url}/{mounted.replace(" ", "%20")}/?{query}'
            return support.response('', '302 Found', [('Location', where)])

        first = probe(f'{answering(answer).url}/?token=a%26b', '--transports', way)
        assert first.code == 1, first
        given = re.search(r' [Uu]se (\S.*) \(polling', first.text)[1]
        then = probe(*shlex.split(given), '--transports', way)
        assert then.code == 0, then
        requests = there.requests(then.facts('handshake')['sid'])
        assert all('?token=a%26b&' in request['url'] for request in requests)


class TestBodies:
    @pytest.mark.parametrize(
        ('body', 'told'),
        [
            (PAGE, 'HTTP 200: an HTML page, not Engine.IO'),
            (b'', 'HTTP 200: an empty body, not Engine.IO'),
            (b'hello', "HTTP 200: not Engine.IO, the body begins b'hello'"),
            (b'4hello', "HTTP 200: not Engine.IO, the body begins b'4hello'"),
            (b'\xff\xfe', "HTTP 200: not Engine.IO, the body begins b'\\xff\\xfe'"),
            (b'97:0{"sid":"x","upgrades":[]}2:40', 'the server speaks Engine.IO 3 (Socket.IO 2)'),
            (b'\x00\x09\x07\xff0{"sid":"x"}', 'the server speaks Engine.IO 3 (Socket.IO 2)'),
            (b'0{}', "OPEN packet: 'sid' must be a non-empty string"),
            (b'0nonsense', 'OPEN packet is not valid JSON'),
            (support.open_packet(pingInterval='soon').encode(), "'pingInterval' must be a number"),
            (b'0' + b'[' * 100_000, 'handshake: OPEN packet '),
        ],
    )
    def test_no_open_packet(self, failed, answering, body, told):
        server = answering(lambda request: html(body) if body == PAGE else support.response(body))
        assert told in failed('handshake', server.url)

    def test_a_page_in_place_of_a_websocket(self, failed, answering):
        server = answering(lambda request: html())
        assert 'HTTP 200: an HTML page, not Engine.IO' in failed(
            'websocket', server.url, '--transports', 'websocket'
        )

    def test_of_a_bad_gateway(self, failed, answering):
        server = answering(
            lambda request: html(
                b'<html>Bad gateway</html>', '502 Bad Gateway', [('Server', 'nginx/1.22.1')]
            )
        )
        text = failed('handshake', server.url)
        assert (
            'HTTP 502 (from nginx/1.22.1). A proxy got an invalid response from the server '
            'behind it'
        ) in text
        assert '<html>' not in text

    def test_gzip_that_is_none(self, failed, answering):
        server = answering(
            lambda request: support.response(b'nothing', headers=[('Content-Encoding', 'gzip')])
        )
        assert 'not Engine.IO, the body begins' in failed('handshake', server.url)


class TestConnections:
    def test_unknown_host(self, failed):
        assert failed('dns', 'http://nobody.invalid').startswith(
            'dns: host nobody.invalid not found: '
        )

    def test_nobody_listens(self, failed):
        port = support.free_port()
        assert failed('tcp', f'http://127.0.0.1:{port}') == (
            f'tcp: connection refused: no server listens at 127.0.0.1 port {port}'
        )

    def test_no_answer_to_tcp(self, probe, silent_address):
        host, port = silent_address
        outcome = probe(f'http://{host}:{port}', '--timeout', 0.5)
        assert (outcome.code, outcome.verdict['step']) == (1, 'tcp'), outcome
        assert 'did not answer. Check the address, and whether a firewall' in outcome.text
        assert outcome.facts('tcp')['refused_by'] == [
            {'address': host, 'problem': 'no answer within 0.5 seconds'}
        ]

    def test_a_silent_address_of_two(self, probe, shown, monkeypatch):
        """The next one is tried beside it (RFC 8305), and the silent one is named."""

        def serve(sock, address):
            with contextlib.suppress(OSError):  # the client closes the connection
                while True:
                    posted = support.read_request(sock).method == 'POST'
                    support.respond(sock, 'ok' if posted else support.open_packet())

        begun = []
        begin = PlainSocket.begin_to_connect

        def begin_to_connect(self, address):
            begun.append(address[0])
            return begin(self, address)

        server = gevent.server.StreamServer(('127.0.0.1', 0), serve)
        server.start()
        host, port = '127.0.0.2', server.server_port
        found = [(2, 1, 6, '', (address, port)) for address in (host, '127.0.0.1')]
        monkeypatch.setattr(reach.socket, 'getaddrinfo', lambda *arguments: found)
        try:
            with support.swallowing(host, port):
                with monkeypatch.context() as patch:
                    patch.setattr(PlainSocket, 'begin_to_connect', begin_to_connect)
                    outcome = probe(f'http://two.test:{port}')
                text = shown(f'http://two.test:{port}')[1]
        finally:
            server.stop()
        assert outcome.code == 4, outcome
        assert outcome.facts('tcp')['address'] == '127.0.0.1'
        (silent,) = outcome.facts('tcp')['refused_by']
        assert silent['address'] == host
        assert silent['problem'].startswith('no answer within ')
        assert outcome.text.startswith(
            f'tcp: {host} cannot be reached. The first connection of each process loses '
        )
        # The second connection goes to the address that answered.
        assert begun[:2] == [host, '127.0.0.1']
        assert set(begun[2:]) == {'127.0.0.1'}
        assert f'{host} port {port}: no answer within' in text

    def test_one_address_of_two(self, probe, monkeypatch, js_server):
        found = [(2, 1, 6, '', ('127.0.0.1', js_server.port))]
        refusing = [(2, 1, 6, '', ('127.0.0.2', js_server.port))]
        monkeypatch.setattr(reach.socket, 'getaddrinfo', lambda *arguments: [*refusing, *found])
        url = f'http://two.test:{js_server.port}'
        outcome = probe(url)
        assert outcome.code == 0, outcome  # the failed address cost no time
        assert outcome.facts('dns')['addresses'] == ['127.0.0.2', '127.0.0.1']
        assert outcome.facts('tcp')['address'] == '127.0.0.1'
        assert outcome.facts('tcp')['refused_by'] == [
            {'address': '127.0.0.2', 'problem': 'Connection refused'}
        ]

        monkeypatch.setattr(reach, 'SLOW', 0)
        outcome = probe(url)
        assert outcome.code == 4
        assert outcome.text.startswith('tcp: 127.0.0.2 cannot be reached. The first')

        monkeypatch.setattr(reach.socket, 'getaddrinfo', lambda *arguments: refusing * 2)
        outcome = probe(url)
        assert outcome.text.startswith('tcp: connection refused: no server listens at port ')

    def test_accepts_and_says_nothing(self, failed, hostile_server):
        server = hostile_server(support.read_to_end)
        text = failed('handshake', server.url, '--timeout', 0.3)
        assert text.endswith(
            'no response within 0.3 seconds. The server may be busy (try a longer --timeout), or '
            'the port may not speak HTTP'
        )
        server.wait_open(0)

    def test_says_nothing_to_a_websocket(self, failed, hostile_server):
        server = hostile_server(support.read_to_end)
        text = failed('websocket', server.url, '--timeout', 0.3, '--transports', 'websocket')
        assert 'The server may be busy (try a longer --timeout)' in text

    def test_trickles(self, failed, hostile_server):
        import gevent

        def handle(sock):
            support.read_request(sock)
            sock.sendall(b'HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n')
            while True:
                sock.sendall(b'0')
                gevent.sleep(0.05)

        assert 'no response within 0.5 seconds' in failed(
            'handshake', hostile_server(handle).url, '--timeout', 0.5
        )

    def test_closes(self, failed, hostile_server):
        text = failed('handshake', hostile_server(support.read_request).url)
        assert 'the server closed the connection without a response' in text
        assert 'The port may not speak HTTP' in text

    def test_resets(self, failed, hostile_server):
        def handle(sock):
            support.read_request(sock)
            support.reset(sock)

        assert 'connection lost' in failed('handshake', hostile_server(handle).url)

    @pytest.mark.parametrize('way', ['polling', 'websocket'])
    @pytest.mark.parametrize(
        ('banner', 'told'),
        [
            (b'SSH-2.0-OpenSSH_9.2\r\n', "it begins 'SSH-2.0-OpenSSH_9.2'"),
            (b'J\0\0\0\n8.0.36\0', "it begins 'J\\x00\\x00\\x00'"),
        ],
        ids=['ssh', 'mysql'],
    )
    def test_speaks_first_and_not_http(self, failed, hostile_server, banner, told, way):
        """Such a server waits for an answer. `probe` does not wait."""

        def handle(sock):
            sock.sendall(banner)
            support.read_to_end(sock)

        step = {'polling': 'handshake', 'websocket': 'websocket'}[way]
        text = failed(step, hostile_server(handle).url, '--transports', way)
        assert text == f'{step}: not an HTTP response: {told}'

    def test_too_large(self, failed, answering):
        server = answering(lambda request: support.response(b'0' * (2 << 20)))
        assert 'larger than 1048576 bytes' in failed('handshake', server.url)


class TestWithinASession:
    def server(self, answering, post=None, upgrade=None, upgrades=('websocket',)):
        """A server that works except for the given responses."""

        def answer(request):
            if 'transport=websocket' in request.target:
                return upgrade
            if request.method == 'POST':
                return post or support.response('ok')
            return support.response(support.open_packet(upgrades=list(upgrades)))

        return answering(answer)

    @pytest.mark.parametrize(
        'body', ['{"code":1,"message":"Session ID unknown"}', '"Invalid session the-sid"']
    )
    def test_sticky_sessions_are_missing(self, failed, answering, body):
        server = self.server(answering, support.response(body, '400 Bad Request'))
        text = failed('polling', server.url)
        assert 'unknown sid' in text
        assert 'sticky sessions' in text

    def test_another_status(self, failed, answering):
        server = self.server(answering, support.response('Too Large', '413 X'))
        assert failed('polling', server.url) == 'polling: HTTP 413: Too Large'

    @pytest.mark.parametrize(
        ('upgrade', 'told'),
        [
            (
                support.response('Bad Request', '400 Bad Request', [('Server', 'old-proxy')]),
                'HTTP 400 (from old-proxy): Bad Request. A proxy may not forward the Upgrade',
            ),
            (
                support.response('{"code":3,"message":"Bad request"}', '400 Bad Request'),
                'without its Upgrade header',
            ),
            (
                support.response('"Invalid transport"', '400 Bad Request'),
                'without its Upgrade header',
            ),
            (support.response('', '426 Upgrade Required'), 'without its Upgrade header'),
            (html(b'<html>404</html>', '404 Not Found'), 'sends websockets to another server'),
            (html(b'<html>502</html>', '502 Bad Gateway'), 'A proxy got an invalid response'),
            (html(), 'HTTP 200 instead of 101'),
            (support.response('Session ID unknown', '400 Bad Request'), 'sticky sessions'),
            (
                support.response('"Not an accepted origin."', '400 Bad Request'),
                'rejects the Origin header',
            ),
            (
                support.response('', '302 Found', [('Location', 'http://b.test/')]),
                'redirects to http://b.test/',
            ),
            (support.response('Go', '403 Forbidden'), 'HTTP 403: forbidden: Go'),
            (
                b'HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\n\r\n',
                'response without the header Upgrade',
            ),
            (b'nonsense\r\n\r\n', 'not an HTTP response'),
            (None, 'A proxy or firewall may block websockets'),
        ],
    )
    def test_no_upgrade(self, probe, answering, upgrade, told):
        outcome = probe(self.server(answering, upgrade=upgrade).url)
        assert outcome.code == 4, outcome
        assert outcome.verdict['status'] == 'warning'
        assert outcome.verdict['step'] == 'upgrade'
        assert told in outcome.text
        assert outcome.text.endswith('. Polling works')
        assert outcome.steps['leave']['status'] == 'ok'

    def websockets(self, hostile_server, then):
        """A server that calls `then(sock)` for each accepted websocket."""

        def handle(sock):
            while True:
                request = support.read_request(sock)
                if 'transport=websocket' in request.target:
                    support.accept_websocket(sock, request)
                    return then(sock)
                support.respond(
                    sock,
                    'ok'
                    if request.method == 'POST'
                    else support.open_packet(upgrades=['websocket']),
                )

        return hostile_server(handle)

    @pytest.mark.parametrize(
        ('then', 'told'),
        [
            (
                support.read_to_end,
                'no PONG for the probe came within 0.5 seconds. A proxy may hold frames back',
            ),
            (lambda sock: None, 'was lost before the PONG for the probe'),
            (
                lambda sock: sock.sendall(support.close_frame(1008, 'policy')),
                'closed the websocket with code 1008: policy',
            ),
            (
                lambda sock: (support.send_frame(sock, '4hi'), support.read_to_end(sock)),
                'a MESSAGE packet instead of the PONG for the probe',
            ),
            (
                lambda sock: (sock.sendall(b'\xff' * 40), support.read_to_end(sock)),
                'was lost before the PONG for the probe',
            ),
        ],
    )
    def test_websockets_that_fail_later(self, probe, hostile_server, then, told):
        outcome = probe(self.websockets(hostile_server, then).url, '--timeout', 0.5)
        assert outcome.code == 4, outcome
        assert outcome.verdict['step'] == 'upgrade'
        assert told in outcome.text

    def test_a_websocket_that_failed_is_closed_at_once(self, probe, hostile_server):
        events = []

        def handle(sock):
            while True:
                request = support.read_request(sock)
                if 'transport=websocket' in request.target:
                    support.accept_websocket(sock, request)
                    support.read_to_end(sock)
                    events.append('closed')
                    return
                if request.body == b'1':
                    support.eventually(lambda: events, 10)
                support.respond(
                    sock,
                    'ok'
                    if request.method == 'POST'
                    else support.open_packet(upgrades=['websocket']),
                )

        outcome = probe(hostile_server(handle).url, '--timeout', 1)
        assert outcome.steps['leave']['status'] == 'ok', outcome
        assert events == ['closed']

    def test_a_request_for_a_websocket_that_is_not_answered(self, probe, hostile_server):
        def handle(sock):
            while True:
                request = support.read_request(sock)
                if 'transport=websocket' in request.target:
                    support.read_to_end(sock)
                    return
                support.respond(
                    sock,
                    'ok'
                    if request.method == 'POST'
                    else support.open_packet(upgrades=['websocket']),
                )

        outcome = probe(hostile_server(handle).url, '--timeout', 0.5)
        assert outcome.code == 4, outcome
        assert 'A proxy may hold the request back' in outcome.text

    def test_no_ping(self, failed, answering):
        def answer(request):
            if request.method == 'POST':
                return support.response('ok')
            if 'sid=' in request.target:
                return support.response('6')
            return support.response(support.open_packet(pingInterval=200, pingTimeout=100))

        text = failed('ping', answering(answer).url, '--wait-ping')
        assert 'no PING from the server within 0.3 seconds' in text

    @pytest.mark.parametrize(
        'endless', [support.frame('4x'), support.frame('', support.PONG)], ids=['messages', 'pongs']
    )
    def test_no_ping_but_others_without_end(self, failed, endless):
        """The server is in another process, so that there are always bytes to read."""
        with subprocess.Popen(
            [sys.executable, '-c', FLOOD, endless.hex()],
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, 'PYTHONPATH': str(support.TESTS)},
        ) as server:
            try:
                url = f'http://127.0.0.1:{server.stdout.readline().strip()}'
                text = failed('ping', url, '--wait-ping', '--transports', 'websocket')
            finally:
                server.kill()
        assert 'no PING from the server within 0.3 seconds' in text

    def test_a_session_that_ends(self, failed, answering):
        def answer(request):
            if request.method == 'POST':
                return support.response('ok')
            return support.response('1' if 'sid=' in request.target else support.open_packet())

        text = failed('ping', answering(answer).url, '--wait-ping')
        assert 'the server closed the connection before its first PING' in text

    def test_no_farewell(self, probe, answering):
        posts = []

        def answer(request):
            if request.method == 'POST':
                posts.append(request.body)
                return support.response('ok') if request.body == b'3' else None
            return support.response(support.open_packet())

        outcome = probe(answering(answer).url)
        assert posts == [b'3', b'1']
        assert outcome.code == 4
        assert outcome.verdict['step'] == 'leave'


class TestPollingIsDisabled:
    def test_and_a_websocket_works(self, probe, make_any_server):
        server = make_any_server(transports=['websocket'])
        outcome = probe(server.url)
        assert outcome.code == 1  # as the client would fail
        assert 'but a websocket works: use --transports websocket' in outcome.text
        assert outcome.facts('handshake')['works_by'] == 'websocket'
        server.wait_count(0)
        assert probe(server.url, '--transports', 'websocket').code == 0

    def test_and_websockets_too(self, failed, make_any_server):
        server = make_any_server(transports=['polling'])
        assert failed('websocket', server.url, '--transports', 'websocket')


class TestHostileText:
    SEQUENCE = '\x1b]0;owned\x07\x1b[2J\x9b31m\u202e'

    def test_in_headers_and_body(self, shown, answering):
        server = answering(
            lambda request: support.response(
                f'"{json.dumps(self.SEQUENCE)[1:-1]}"',
                '500 X',
                [('Server', 'a\x1b[31mb\x9b1m'), ('Via', '\x07')],
            )
        )
        code, text = shown(server.url)
        assert code == 1
        assert '\\x1b[31m' in text
        assert not set(text) & set('\x1b\x07\x9b\u202e')

    def test_in_the_sid_and_cookies(self, shown, answering):
        server = answering(
            lambda request: support.response(
                support.open_packet(sid='a\u202eb[bold]x[/bold]'),
                headers=[('Set-Cookie', 'a\x1b[1m=x; \x1b[2mHttpOnly')],
            )
        )
        _, text = shown(server.url)
        assert '\\u202e' in text
        assert '[bold]x[/bold]' in text  # not interpreted as markup
        assert not set(text) & set('\x1b\u202e')

    def test_in_the_report(self, shown, answering):
        server = answering(
            lambda request: support.response(
                self.SEQUENCE, '500 X', [('Server', self.SEQUENCE.encode().decode('latin-1'))]
            )
        )
        _, text = shown(server.url, '--json')
        assert text.isascii()
        assert '\x1b' not in text
        assert json.loads(text)

    def test_in_a_close_frame(self, shown, hostile_server):
        def handle(sock):
            support.accept_websocket(sock)
            sock.sendall(support.close_frame(1008, 'go\x1b[2Jaway\nnow'))
            support.read_to_end(sock)

        _, text = shown(hostile_server(handle).url, '--transports', 'websocket')
        assert 'go\\x1b[2Jaway\\nnow' in text
        assert '\x1b' not in text


def test_a_count_with_failures(probe, shown, answering):
    """The worst run decides, and the report contains all runs."""
    number = 0

    def answer(request):
        nonlocal number
        if request.method == 'POST':
            return support.response('ok')
        number += 1
        return (
            support.response('', '503 Busy')
            if number % 3 == 0
            else support.response(support.open_packet())
        )

    server = answering(answer)
    outcome = probe(server.url, '--count', 4)
    assert outcome.code == 1
    assert [run['verdict']['status'] for run in outcome.report['runs']] == [
        'ok',
        'ok',
        'failed',
        'ok',
    ]
    assert outcome.report['times']['handshake']['count'] == 3
    number = 0
    code, text = shown(server.url, '--count', 4)
    assert code == 1
    assert '(1 of 4 runs)' in text

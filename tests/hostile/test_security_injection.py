"""What would end a line of a request's header is refused before a byte goes out."""

import pytest
import requests

from engineio_gevent import Client
from engineio_gevent.exceptions import ConnectionError
from support import NativeServer, eventually, open_packet, read_request, respond

# requests blocks this thread
pytestmark = pytest.mark.filterwarnings('ignore::RuntimeWarning')

ENDS = {'crlf': '\r\n', 'lf': '\n', 'cr': '\r', 'nul': '\x00', 'folded': '\r\n '}

BAD = {name: f'a{end}X-Injected: 1' for name, end in ENDS.items()}

each_end = pytest.mark.parametrize('bad', BAD.values(), ids=BAD)


@pytest.fixture
def refused(hostile_server, witness):
    """`refused(change)`: the connect that `change` has a part in is a ValueError, and no more."""

    def connect(transport, url='', options=(), **arguments):
        def answer(sock):
            respond(sock, open_packet())

        server = hostile_server(answer)
        one = witness(**dict(options))
        with pytest.raises(ValueError, match=r'header|control|host|URL|cookie'):
            one.client.connect(server.url + url, transports=transport, **arguments)
        assert server.accepted == 0
        assert one.client.state == 'disconnected'
        assert one.ends == []

    return connect


every_transport = pytest.mark.parametrize('transport', ['polling', 'websocket'])


@each_end
@every_transport
def test_headers(refused, transport, bad):
    refused(transport, headers={'X-Mine': bad})
    refused(transport, headers={bad: 'x'})
    refused(transport, headers={'Authorization': bad, 'X': 'x'})
    refused(transport, headers={'Cookie': bad})
    refused(transport, headers={'X-Mine': bad.encode()})


@each_end
@every_transport
def test_path_and_query(refused, transport, bad):
    refused(transport, url=f'/?q={bad}')
    refused(transport, url=f'/{bad}')
    refused(transport, engineio_path=bad)
    refused(transport, engineio_path=f'sub/{bad}/')


@each_end
@every_transport
def test_user_and_password(refused, transport, bad):
    """Quoted, they are no line ends: in base64 nothing is."""
    client = Client(handle_sigint=False)
    with pytest.raises(ValueError, match=r'header|control|host|URL|cookie'):
        client.connect(f'http://user:{bad}@127.0.0.1:9/', transports=transport)


@each_end
@pytest.mark.parametrize('option', ['cookie', 'host', 'origin', 'subprotocols', 'header', 'lines'])
def test_options_of_the_websocket(refused, option, bad):
    value = {'subprotocols': [bad], 'header': {'X-Mine': bad}, 'lines': [f'X-Mine: {bad}']}
    options = {option if option != 'lines' else 'header': value.get(option, bad)}
    refused('websocket', options={'websocket_extra_options': options})


@each_end
def test_cookies_of_a_session(refused, bad):
    """Whatever put it into the jar, it does not go out by the websocket."""
    with requests.Session() as session:
        session.cookies.set('a', bad)
        refused('websocket', options={'http_session': session})


@pytest.mark.parametrize('by', ['own', 'websocket-client'])
@pytest.mark.parametrize('cookie', ['x\n folded', 'x\x00', 'x\x0by', 'x\x1b[2J', 'x\x7f'])
def test_cookies_that_a_server_put_into_the_jar_of_a_session(cookie, by):
    """requests takes them from the answers of polling, and the handshake of the upgrade leaves them
    out.
    """
    sent = []

    def answer(sock):
        request = read_request(sock)
        if 'sec-websocket-key' not in request.headers:
            headers = [('Set-Cookie', 'good=1'), ('Set-Cookie', f'a={cookie}')]
            respond(sock, open_packet(upgrades=['websocket']), headers=headers)
            request = read_request(sock)
        if 'sec-websocket-key' in request.headers:
            sent.append(request.headers.get('cookie'))

    server = NativeServer(answer)
    options = None if by == 'own' else {'header': {'X-Mine': 'x'}}
    try:
        with requests.Session() as session:
            client = Client(
                http_session=session, handle_sigint=False, websocket_extra_options=options
            )
            client.connect(server.url)
            assert eventually(lambda: sent)
            client.disconnect(abort=True)
    finally:
        server.stop()
    assert sent == ['good=1']


class Auth:
    """An auth object whose header may come from elsewhere, such as a token."""

    def __init__(self, name, value):
        self.name, self.value = name, value

    def __call__(self, request):
        request.headers[self.name] = self.value
        return request


@pytest.mark.parametrize('by', ['own', 'websocket-client'])
@each_end
def test_headers_of_an_auth_object(hostile_server, witness, bad, by):
    options = None if by == 'own' else {'header': {'X-Mine': 'x'}}
    for name, value in ('X-Mine', bad), (bad, 'x'), ('X-Mine', bad.encode()), ('X ', 'x'):
        server = hostile_server(read_request)
        with requests.Session() as session:
            session.auth = Auth(name, value)
            one = witness(http_session=session, websocket_extra_options=options)
            with pytest.raises(ConnectionError, match=r'invalid (header name|value for header)'):
                one.client.connect(server.url, transports='websocket')
        assert server.accepted == 0


@pytest.mark.parametrize('by', ['own', 'websocket-client'])
def test_a_number_of_an_auth_object(hostile_server, witness, by):
    seen = []

    def answer(sock):
        request = read_request(sock)
        seen.append(request.headers.get('x-time'))
        respond(sock, 'no', '403 Forbidden')

    options = None if by == 'own' else {'header': {'X-Other': 'x'}}
    with requests.Session() as session:
        session.auth = Auth('X-Time', 17)
        one = witness(http_session=session, websocket_extra_options=options)
        with pytest.raises(ConnectionError, match='403'):
            one.client.connect(hostile_server(answer).url, transports='websocket')
    assert seen == ['17']


@pytest.mark.parametrize(
    'sid',
    [
        'a\r\nX-Injected: 1',
        'a\nb',
        'a b',
        'a&transport=x',
        'a#b',
        'a?b',
        '../..',
        'é',
        '%0d%0a',
        '\u2028',
    ],
)
def test_a_session_id_of_the_server_stays_a_parameter(hostile_server, witness, sid):
    seen = []

    def answer(sock):
        while True:
            request = read_request(sock)
            seen.append(request)
            respond(sock, open_packet(sid=sid) if len(seen) == 1 else '1')

    server = hostile_server(answer)
    one = witness()
    if any(ord(char) < 32 for char in sid):
        one.fails_to_connect(server)
        assert len(seen) == 1
        return
    one.connect(server)
    one.loses('server disconnect', 'disconnecting')
    assert len(seen) == 2
    path, _, query = seen[1].target.partition('?')
    assert path == '/engine.io/'
    assert [part.partition('=')[0] for part in query.split('&')] == ['transport', 'EIO', 'sid', 't']
    assert 'x-injected' not in seen[1].headers

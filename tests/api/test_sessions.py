"""The option `http_session`: sessions of several kinds, with the servers of npm and of PyPI.

Each runs in a process of its own, whose sockets are patched.
"""

import pytest
import requests

import support
from engineio_gevent.exceptions import ConnectionError, HTTPError

BEGIN = """
    from gevent import monkey
    monkey.patch_all()
    import functools
    import warnings
    import requests
    from requests.adapters import HTTPAdapter
    from requests.auth import AuthBase
    import engineio_gevent

    # what requests leaves of a request that is killed, it leaves to the garbage collector
    warnings.simplefilter('ignore', ResourceWarning)
    warnings.filterwarnings('ignore', 'Unverified HTTPS request')
    url, *rest = argv


    def ask(session, transports, *messages, url=url, **options):
        client = engineio_gevent.Client(http_session=session, **options)
        inbox = client.create_queue()
        client.on('message', inbox.put)
        client.connect(url, {'X-Own': 'x'}, transports=transports)
        answers = []
        for message in messages:
            client.send(message)
            answers.append(inbox.get(timeout=20))
        transport = client.current_transport
        client.disconnect()
        return transport, answers
"""

KINDS = """

    class Fewer(requests.Session):
        'A session as somebody once wrote it, for what he needed.'

        def request(self, method, url, data=None, headers=None):
            return super().request(method, url, data=data, headers=headers)


    class Other(requests.Session):
        'Takes everything, by a signature of its own.'

        def request(self, *args, **kwargs):
            return super().request(*args, **kwargs)


    class Wrapper:
        'Has the interface of a session, and is none.'

        def __init__(self):
            self.cookies = requests.cookies.RequestsCookieJar()
            self.calls = []

        def request(self, method, url, headers=None, **options):
            self.calls.append([method, sorted(options)])
            with requests.Session() as session:
                session.cookies = self.cookies
                return session.request(method, url, headers=headers, **options)


    class Partial:
        'Without cookies, and with a request() that is no method.'

        def __init__(self):
            self.request = functools.partial(requests.request, timeout=20)


    kinds = {'session': requests.Session, 'fewer': Fewer, 'other': Other, 'wrapper': Wrapper,
             'partial': Partial}
    kind = kinds[rest[0]]
    for transports in (['polling'], ['websocket'], None):
        for session in (kind(), kind, lambda: kind()):
            transport, answers = ask(session, transports, 'hello', 'headers')
            say([transport, answers[0],
                 [[one['method'], one['headers']['x-own'], one['headers'].get('user-agent', '')]
                  for one in answers[1]]])
    try:
        ask(kind(), None, url='http://127.0.0.1:1')
    except engineio_gevent.exceptions.ConnectionError as exc:
        say(str(exc))
"""


@pytest.mark.parametrize('kind', ['session', 'fewer', 'other', 'wrapper', 'partial'])
def test_kinds_of_sessions(js_server, script, kind):
    """As an object, as a class, and made by a function."""
    *lines, refused = script(BEGIN + KINDS, js_server.url, kind).result()
    for transport, (used, hello, seen) in zip(
        ('polling', 'websocket', 'websocket'),
        (lines[at] for at in (0, 3, 6)),
        strict=True,
    ):
        assert (used, hello) == (transport, 'hello')
        polled = [agent for method, own, agent in seen if own == 'x' and 'requests' in agent]
        assert len(polled) == len(seen) - (transport == 'websocket'), seen
    methods = [[sorted({method for method, _, _ in line[2]}), *line[:2]] for line in lines]
    for at in (0, 3, 6):
        assert methods[at] == methods[at + 1] == methods[at + 2]
    assert '127.0.0.1:1' in refused


SETTINGS = """

    class Signed(AuthBase):
        def __call__(self, request):
            request.headers['X-Signed'] = request.path_url.partition('?')[0]
            return request


    class Counting(HTTPAdapter):
        sent = 0

        def send(self, request, **options):
            self.sent += 1
            return super().send(request, **options)


    for transports in (['polling'], ['websocket'], None):
        session = requests.Session()
        session.auth = Signed()
        session.headers['X-Session'] = 's'
        session.cookies.set('mine', '1')
        session.max_redirects = 3
        seen = []
        session.hooks['response'].append(lambda response, **options: seen.append(response.url))
        mounted, unused = Counting(), Counting()
        session.mount('http://', unused)
        session.mount(url, mounted)
        transport, (requests_seen,) = ask(session, transports, 'headers')
        say([transport,
             [[one['method'], one['headers'].get('x-signed'), one['headers'].get('x-session'),
               one['headers'].get('cookie')] for one in requests_seen],
             mounted.sent, unused.sent, len(seen), sorted(session.cookies.keys())])
        session.close()
"""


def test_what_is_set_on_a_session(server_with, script):
    """Auth, headers, cookies, hooks and adapters."""
    lines = script(BEGIN + SETTINGS, server_with(cookie='io').url).result()
    for transport, (used, seen, mounted, unused, hooked, cookies) in zip(
        ('polling', 'websocket', 'websocket'), lines, strict=True
    ):
        assert used == transport
        for _, signed, header, cookie in seen:
            assert (signed, header) == ('/engine.io/', 's')
            assert 'mine=1' in cookie
        polled = len(seen) - (used == 'websocket')
        assert mounted >= polled
        assert unused == 0
        assert hooked == mounted
        if polled:
            assert cookies == ['io', 'mine']
            assert all('io=' in cookie for _, _, _, cookie in seen[1:])


TLS = """
    ca, wrong, certificate = rest


    def outcome(session, **options):
        found = []
        for transports in (['polling'], ['websocket'], None):
            try:
                found.append(ask(session(), transports, 'hello', **options)[1])
            except engineio_gevent.exceptions.ConnectionError as exc:
                found.append('certificate' in str(exc).lower())
        say(found)


    def session(**settings):
        made = requests.Session()
        for name, value in settings.items():
            setattr(made, name, value)
        return made


    outcome(lambda: session(verify=ca, cert=certificate))
    outcome(lambda: session(verify=False, cert=certificate))
    outcome(lambda: session(cert=certificate), ssl_verify=ca)
    outcome(lambda: session(), ssl_verify=ca, ssl_cert=certificate)
    outcome(lambda: session(verify=wrong), ssl_verify=False, ssl_cert=certificate)
    outcome(lambda: session(cert=certificate))
    outcome(lambda: session(verify=ca, cert=certificate), ssl_verify=wrong)
"""


def test_certificates_of_a_session_and_of_the_client(
    js_server_with, certificates, script, monkeypatch
):
    """What the client says goes first. The server wants a certificate of the client."""
    for name in ('REQUESTS_CA_BUNDLE', 'CURL_CA_BUNDLE'):
        monkeypatch.delenv(name, raising=False)  # to requests, it goes before Session.verify
    server = js_server_with(tls=certificates.mutual_tls)
    lines = script(
        BEGIN + TLS, server.url, certificates.ca, certificates.client_cert, certificates.client_pem
    ).result()
    hello = [['hello']] * 3
    assert lines == [hello, hello, hello, hello, hello, [True] * 3, [True] * 3]


# Timeouts: requests takes a pair, for connecting and for reading


@pytest.mark.parametrize(
    ('given', 'handshake', 'post', 'connecting'),
    [
        (5, 5, 5, None),
        ((3, 5), (3, 5), (3, 5), 3),
        ((3, None), (3, None), (3, None), 3),
        ((None, 5), (None, 5), (None, 5), None),
        (None, None, None, None),
    ],
)
def test_a_pair_of_timeouts_reaches_the_session(
    js_server_with, script, given, handshake, post, connecting
):
    """And a GET that waits for messages may last as long as the heartbeat."""
    source = """

    class Recording(requests.Session):
        def request(self, method, url, **options):
            timeouts.append([method, options['timeout']])
            return super().request(method, url, **options)


    timeouts = []
    timeout = tuple(rest[0]) if isinstance(rest[0], list) else rest[0]
    ask(Recording(), 'polling', 'hello', request_timeout=timeout)
    say(timeouts)
    """
    server = js_server_with(pingInterval=25000, pingTimeout=20000)
    ((first, *others),) = script(BEGIN + source, server.url, given).result()

    def shown(timeout):
        return list(timeout) if isinstance(timeout, tuple) else timeout

    assert first == ['GET', shown(handshake)]
    silence = 50.0
    waiting = [connecting, silence] if isinstance(given, tuple) else silence
    assert {str(timeout) for method, timeout in others if method == 'GET'} == {str(waiting)}
    # The last POST is that of disconnect(), which may have a bound of its own.
    assert next(timeout for method, timeout in others if method == 'POST') == shown(post)


@pytest.mark.parametrize('given', [(3, 5), (None, 5), (0.5, None), 8, None])
def test_a_pair_of_timeouts_without_a_session(js_server, make_client, way, given):
    client = make_client(request_timeout=given)
    client.connect(js_server.url, transports=way)
    assert client.ask('hello') == 'hello'


def test_the_sum_of_two_timeouts_is_that_of_the_handshake(hostile_server, make_client, transport):
    server = hostile_server(support.read_to_end)
    with pytest.raises(ConnectionError, match=r'within 0\.3 seconds \(request_timeout\)'):
        make_client(request_timeout=(0.1, 0.2)).connect(server.url, transports=transport)


# What the server said


@pytest.mark.parametrize('session', [None, requests.Session], ids=['own', 'session'])
def test_the_headers_of_a_refusal(script, hostile_server, transport, session):
    def refuse(sock):
        support.read_request(sock)
        support.respond(
            sock,
            b'<html>busy',
            '503 Service Unavailable',
            [('Retry-After', '120'), ('SERVER', 'small/1'), ('Connection', 'close')],
        )

    source = """
    try:
        ask(requests.Session() if rest[1] else None, rest[0], url=url)
    except engineio_gevent.exceptions.ConnectionError as exc:
        cause = exc.__cause__
        say([type(cause).__name__, cause.status, cause.body, exc.args[1:],
             {name: cause.headers.get(name) for name in ('retry-after', 'server', 'location')}])
    """
    lines = script(
        BEGIN + source, hostile_server(refuse).url, transport, session is not None
    ).result()
    headers = {'retry-after': '120', 'server': 'small/1', 'location': None}
    assert lines == [['HTTPError', 503, None, [None], headers]]


def test_names_of_headers_are_in_lower_case():
    error = HTTPError('no', 429, headers={'Retry-After': '5', 'X-A': '1'})
    assert error.headers == {'retry-after': '5', 'x-a': '1'}
    assert HTTPError('no', 429).headers == {}

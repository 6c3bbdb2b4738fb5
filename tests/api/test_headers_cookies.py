"""Headers, cookies and other options: what the server sees of them, on every request."""

import copy
import json
import logging

import gevent
import pytest
import requests

import support
from engineio_gevent.net import unpatched
from engineio_gevent.transports.requests_session import SessionHTTP
from engineio_gevent.transports.route import Route

HEADERS = {'Authorization': 'Bearer abc', 'X-Custom': 'some value', 'User-Agent': 'mine/1.0'}

CHANGES = {'sec-websocket-key'}
"""What differs from one connect to the next."""


def described(request):
    """A request without what is new at each connect."""
    headers = [[name, value] for name, value in request['raw'] if name.lower() not in CHANGES]
    return request['method'], headers


def test_headers_go_with_every_request(any_server, client, way):
    client.connect(any_server.url, HEADERS, transports=way)
    assert client.ask('hello') == 'hello'
    requests = any_server.requests(client.sid)
    assert len(requests) >= {'polling': 2, 'websocket': 1}.get(way and way[0], 2)
    for request in requests:
        for name, value in HEADERS.items():
            assert request['headers'][name.lower()] == value, request
            assert [key.lower() for key, _ in request['raw']].count(name.lower()) == 1, request


def test_second_connect_sends_what_the_first_did(any_server, make_client, way):
    options = {'header': {'X-Socket': 'one'}, 'origin': 'http://origin.test'}
    headers = {**HEADERS, 'Cookie': 'mine=1'}
    before = copy.deepcopy((options, headers))
    client = make_client(websocket_extra_options=options)
    seen = []
    for _ in range(3):
        client.connect(any_server.url, headers, transports=way)
        assert client.ask('hello') == 'hello'
        requests = any_server.requests(client.sid)
        client.disconnect()
        # how many GETs there are is a matter of time
        polled = [
            described(request) for request in requests if 'transport=polling' in request['url']
        ]
        assert all(one in polled[:1] for one in polled if one[0] == 'GET')
        seen.append(
            [
                *polled[:1],
                *(one for one in polled if one[0] == 'POST'),
                *(
                    described(request)
                    for request in requests
                    if 'transport=websocket' in request['url']
                ),
            ]
        )
    assert len(seen[0]) == (1 if way == ['websocket'] else 2)
    assert seen[1:] == [seen[0]] * 2
    assert (options, headers) == before


def test_websocket_extra_options(any_server, make_client):
    client = make_client(
        websocket_extra_options={
            'header': ['X-List: a: b'],
            'origin': 'http://origin.test',
            'host': 'host.test',
            'cookie': 'own=1',
        }
    )
    client.connect(any_server.url, {'X-Both': 'c'}, transports='websocket')
    headers = any_server.requests(client.sid)[0]['headers']
    wanted = {
        'x-list': 'a: b',
        'x-both': 'c',
        'origin': 'http://origin.test',
        'host': 'host.test',
        'cookie': 'own=1',
    }
    assert {name: headers.get(name) for name in wanted} == wanted


def test_extra_header_wins_over_header(any_server, make_client):
    client = make_client(websocket_extra_options={'header': {'X-Custom': 'extra'}})
    client.connect(any_server.url, {'X-Custom': 'usual'})
    polled, socket = any_server.requests(client.sid)
    assert polled['headers']['x-custom'] == 'usual'
    assert socket['headers']['x-custom'] == 'extra'


def test_cookie_of_the_server(server_with, make_client, way):
    server = server_with(cookie='io')
    client = make_client()
    client.connect(server.url, {'Cookie': 'mine=1'}, transports=way)
    assert client.ask('hello') == 'hello'
    first, *others = server.requests(client.sid)
    assert first['headers']['cookie'] == 'mine=1'
    assert all(
        sorted(request['headers']['cookie'].split('; ')) == [f'io={client.sid}', 'mine=1']
        for request in others
    ), others
    assert bool(others) == (way != ['websocket'])
    if way != ['websocket']:
        assert {cookie.name: cookie.value for cookie in client.http.cookies} == {'io': client.sid}


def test_cookies_end_with_their_connection(server_with, make_client, way):
    server = server_with(cookie='io')
    client = make_client()
    for _ in range(2):
        client.connect(server.url, transports=way)
        first = server.requests(client.sid)[0]
        assert 'cookie' not in first['headers']
        client.disconnect()


def test_cookies_of_the_server_join_the_callers_through_a_session(js_server_with, monkeypatch):
    monkeypatch.setattr(unpatched, '_warned', True)  # the warning is others' to test
    server = js_server_with(cookie={'name': 'sticky', 'path': '/'})
    before = len(server.requests())
    with requests.Session() as session:
        route = Route(server.url, {'Cookie': 'mine=1'}, http_session=session)
        http = SessionHTTP(route, session, None)
        for _ in range(2):
            http.get(route.target('polling'), 5)
    first, second = (one['headers']['cookie'] for one in server.requests()[before:])
    assert first == 'mine=1'
    assert second.startswith('mine=1; sticky=')


def test_cookie_for_another_path_stays_away(server_with, make_client):
    server = server_with(cookie={'name': 'io', 'path': '/elsewhere'})
    client = make_client()
    client.connect(server.url)
    assert client.ask('hello') == 'hello'
    assert all('cookie' not in request['headers'] for request in server.requests(client.sid))


@pytest.mark.parametrize('wanted', [True, False])
def test_timestamp_requests(any_server, make_client, way, wanted):
    client = make_client(timestamp_requests=wanted)
    client.connect(any_server.url, transports=way)
    assert client.ask('hello') == 'hello'
    requests = any_server.requests(client.sid)
    assert all(('&t=' in request['url']) == wanted for request in requests), requests


def test_credentials_of_the_url(any_server, client, way):
    client.connect(f'http://user:p%40ss@{any_server.netloc}', transports=way)
    assert client.ask('hello') == 'hello'
    for request in any_server.requests(client.sid):
        assert request['headers']['authorization'] == 'Basic dXNlcjpwQHNz'
        assert request['headers']['host'] == any_server.netloc


def test_posts_are_text(any_server, client):
    client.connect(any_server.url, transports='polling')
    assert client.ask('hello') == 'hello'
    posts = [request for request in any_server.requests(client.sid) if request['method'] == 'POST']
    assert [request['headers']['content-type'] for request in posts] == ['text/plain;charset=UTF-8']


def test_bytes_as_header_values(any_server, client, way):
    client.connect(any_server.url, {'X-Bytes': b'some bytes'}, transports=way)
    for request in any_server.requests(client.sid):
        assert request['headers']['x-bytes'] == 'some bytes'


# A requests.Session, in a process whose sockets are patched

HTTP_SESSION = """
    from gevent import monkey
    monkey.patch_all()
    import warnings
    import requests
    import engineio_gevent

    # what requests leaves of a request that is killed, it leaves to the garbage collector
    warnings.simplefilter('ignore', ResourceWarning)
    url, how = argv
    sessions = []

    def make():
        session = requests.Session()
        session.headers['X-Session'] = 'from the session'
        session.cookies['from'] = 'the jar'
        session.auth = ('user', 'secret')
        sessions.append(session)
        return session

    client = engineio_gevent.Client(http_session=make if how == 'factory' else make())
    inbox = client.create_queue()
    client.on('message', inbox.put)
    for transports in ['polling', 'websocket', None]:
        client.connect(url, {'X-Custom': 'mine'}, transports=transports)
        client.send('headers')
        say([transports, client.transport(), inbox.get(timeout=10),
             client.http is sessions[-1] is not None, len(sessions)])
        client.disconnect()
        assert sessions[-1].get(url + '/nowhere').status_code == 404  # not closed by the client
        assert client.state == 'disconnected'
    for session in sessions:
        session.close()
"""


@pytest.mark.parametrize('how', ['instance', 'factory'])
def test_http_session(any_server, script, how):
    lines = script(HTTP_SESSION, any_server.url, how).result()
    assert [line[:2] for line in lines] == [
        ['polling', 'polling'],
        ['websocket', 'websocket'],
        [None, 'websocket'],
    ]
    assert all(line[3] for line in lines)
    assert [line[4] for line in lines] == ([1, 1, 1] if how == 'instance' else [1, 2, 3])
    for line in lines:
        assert line[2]
        for request in line[2]:
            headers = request['headers']
            assert headers['x-session'] == 'from the session'
            assert headers['x-custom'] == 'mine'
            assert headers['cookie'] == 'from=the jar' or headers['cookie'] == 'from="the jar"'
            assert headers['authorization'] == 'Basic dXNlcjpzZWNyZXQ='


def test_http_session_of_another_type(any_server, make_client):
    client = make_client(http_session='https://proxy')
    with pytest.raises(ValueError, match='http_session'):
        client.connect(any_server.url)
    assert client.state == 'disconnected'


def test_http_session_refused(server_with, script):
    server = server_with(refuse=403)
    lines = script(
        """
        from gevent import monkey
        monkey.patch_all()
        import requests
        import engineio_gevent

        with requests.Session() as session:
            client = engineio_gevent.Client(http_session=session)
            for url in argv:
                try:
                    client.connect(url)
                except engineio_gevent.exceptions.ConnectionError as exc:
                    say([str(exc.args[0]), *exc.args[1:], exc.__cause__ is not None])
    """,
        server.url,
        'http://127.0.0.1:1',
    ).result()
    (refused, body, caused), (nobody, nobody_caused) = lines
    assert '403' in refused
    assert body['message'] == 'Refused by the test server'
    assert '127.0.0.1' in nobody
    assert caused
    assert nobody_caused


def test_unpatched_http_session_warns_once(any_server, script):
    lines = script(
        """
        import warnings
        import requests
        import engineio_gevent

        with requests.Session() as session, warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter('always')
            for _ in range(2):
                client = engineio_gevent.Client(http_session=session)
                client.connect(argv[0])
                client.disconnect()
            say([[warning.category.__name__, str(warning.message)] for warning in caught])
    """,
        any_server.url,
    ).result()
    ([[category, text]],) = lines
    assert category == 'RuntimeWarning'
    assert 'patch_all' in text


def test_http_session_can_be_read_before_a_connect(make_client):
    session = requests.Session()
    assert make_client(http_session=session).http is session


def test_logger_sees_packets(any_server, make_client, caplog):
    quiet = make_client()
    quiet.connect(any_server.url)
    quiet.ask('the message')
    quiet.disconnect()
    assert not caplog.text
    with caplog.at_level('INFO', 'engineio_gevent.client'):  # and as it was after that
        client = make_client(logger=True)
        client.connect(any_server.url)
        client.ask('the message')
        client.disconnect()
    assert 'Sending packet MESSAGE data the message' in caplog.text
    assert 'Received packet MESSAGE data the message' in caplog.text


class SlowHandler(logging.Handler):
    """A log handler that waits, as one that writes to a socket does."""

    def __init__(self):
        super().__init__()
        self.records = []

    def emit(self, record):
        gevent.sleep(0.001)
        self.records.append(record.getMessage())


def test_a_log_handler_that_waits_costs_nothing_but_time(js_server, make_client, transport):
    handler = SlowHandler()
    logger = logging.Logger('of.the.application', logging.INFO)
    logger.addHandler(handler)
    client = make_client(logger=logger)
    client.connect(js_server.url, transports=transport)
    client.send('numbers 20')
    assert client.take(20) == [str(number) for number in range(20)]
    client.disconnect()
    assert support.eventually(lambda: any('data 19' in record for record in handler.records))


def test_the_callers_logger_gets_the_errors_of_handlers(js_server, make_client):
    handler = SlowHandler()
    logger = logging.Logger('of.the.application', logging.ERROR)
    logger.addHandler(handler)
    client = make_client(logger=logger)
    client.on('message', lambda data: 1 / 0)
    client.on('disconnect', lambda reason: 1 / 0)
    client.connect(js_server.url)
    client.send('x')
    assert support.eventually(lambda: handler.records == ['message handler error'])
    client.disconnect()  # which does not wait for a slow log
    assert support.eventually(
        lambda: handler.records == ['message handler error', 'disconnect handler error']
    )


def test_own_json_module_is_the_clients_own(any_server, make_client):
    class Loud:
        """A JSON module that shouts."""

        @staticmethod
        def dumps(value, **kwargs):
            return json.dumps(value, **kwargs).upper()

        @staticmethod
        def loads(text):
            return ['loaded', json.loads(text)]

    usual, loud = make_client(), make_client(json=Loud)
    for client in (usual, loud):
        client.connect(any_server.url)
        client.send({'key': ['value']})
    assert usual.next() == {'key': ['value']}
    assert loud.next() == ['loaded', {'KEY': ['VALUE']}]
    assert any_server.received(usual.sid) == ['{"key":["value"]}']
    assert any_server.received(loud.sid) == ['{"KEY":["VALUE"]}']

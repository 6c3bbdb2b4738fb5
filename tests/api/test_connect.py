"""connect(): where to, by which transport, what the server sees, and how it fails."""

import gevent
import pytest
import requests

import engineio_gevent
import support
from engineio_gevent.exceptions import ConnectionError, HTTPError

WAYS = ['polling', 'websocket', None]

# -- Where to -----------------------------------------------------------------------------------


@pytest.mark.parametrize('scheme', ['http', 'ws'])
def test_scheme_does_not_choose_the_transport(any_server, client, scheme, transport):
    for suffix in ['', '/', '/engine.io', '/engine.io/']:
        client.connect(f'{scheme}://{any_server.netloc}{suffix}', transports=transport)
        assert client.ask('transport') == client.transport() == transport
        client.disconnect()


@pytest.mark.parametrize('path', ['/socket.io/', '/socket.io', '/a/engine.io/', '/engine.io/x'])
def test_another_path_in_the_url(any_server, client, path):
    """It is not dropped: the error names the option, which takes it."""
    with pytest.raises(ValueError, match='engineio_path') as caught:
        client.connect(f'{any_server.url}{path}?token=s3cret')
    assert f'engineio_path={path.strip("/")!r}' in str(caught.value)
    assert 's3cret' not in str(caught.value)
    assert client.state == 'disconnected'


def test_the_path_in_the_url_and_in_the_option(server_with, client, way):
    server = server_with(path='/a/b/')
    for url in (server.url, f'{server.url}/a/b', f'{server.url}/a/b/'):
        for path in ('a/b', '/a/b/'):
            client.connect(url, transports=way, engineio_path=path)
            assert client.ask('hello') == 'hello'
            client.disconnect()


def test_a_pasted_query(any_server, client, way):
    """The names that are the client's own are sent once, and the others as they were written."""
    pasted = 'b=2&EIO=3&a=%20x&transport=pigeon&sid=old&a=1&t=5&&c&%45IO=2&=&d=a+b'
    client.connect(f'{any_server.url}/engine.io/?{pasted}', transports=way)
    assert client.ask('hello') == 'hello'
    requests = any_server.requests(client.sid)
    assert {request['method'] for request in requests} == (
        {'GET', 'POST'} if way == ['polling'] else {'GET'}
    )
    for first, request in zip([True] + [False] * len(requests), requests, strict=False):
        path, _, query = request['url'].partition('?')
        assert path == '/engine.io/'
        transport = 'websocket' if 'sec-websocket-key' in request['headers'] else 'polling'
        sid = '' if first else f'&sid={client.sid}'
        own, _, time = query.rpartition('&t=')
        assert own == f'b=2&a=%20x&a=1&c&=&d=a+b&transport={transport}&EIO=4{sid}'
        assert float(time) > 1e9


def test_default_is_polling_and_the_upgrade(any_server, client):
    client.connect(any_server.url)
    assert client.transport() == 'websocket'
    assert client.ask('transport') == 'websocket'
    assert [request['method'] for request in any_server.requests(client.sid)] == ['GET', 'GET']


@pytest.mark.skipif(not support.has_ipv6(), reason='no IPv6')
def test_ipv6(server_with, make_client):
    server = server_with(host='::1')
    client = make_client()
    for way in WAYS:
        client.connect(server.url, transports=way)
        assert client.ask('over IPv6') == 'over IPv6'
        hosts = {request['headers']['host'] for request in server.requests(client.sid)}
        assert hosts == {f'[::1]:{server.port}'}
        client.disconnect()


def test_query_string_goes_with_every_request(any_server, client, way):
    client.connect(f'{any_server.url}?token=a%20b%26c&x=1&x=2', transports=way)
    assert client.ask('hello') == 'hello'
    urls = [request['url'] for request in any_server.requests(client.sid)]
    assert urls
    assert all('/engine.io/?token=a%20b%26c&x=1&x=2&transport=' in url for url in urls), urls


def test_engineio_path(server_with, make_client):
    server = server_with(path='/custom/path/')
    client = make_client()
    for given in ['custom/path', '/custom/path/']:
        for way in WAYS:
            client.connect(server.url, transports=way, engineio_path=given)
            assert client.ask('hello') == 'hello'
            client.disconnect()


def test_wrong_engineio_path(any_server, client, transport):
    with pytest.raises(ConnectionError, match='404') as caught:
        client.connect(any_server.url, transports=transport, engineio_path='elsewhere')
    assert set(caught.value.args[1]) >= {'message'}


@pytest.mark.parametrize(
    'url',
    [
        '',
        'localhost:5000',
        '//localhost:5000',
        'ftp://localhost',
        'http://',
        'http://:5000',
        'http://localhost:port',
        'http://localhost:65536',
        'http://local host',
        'http://localhost/\r\nInjected: yes',
        'http://localhost/?a=\r\nb',
        'http://localhost\n',
    ],
)
def test_invalid_url(client, url):
    with pytest.raises(ValueError, match=r'.'):
        client.connect(url)
    assert client.state == 'disconnected'


def test_invalid_header(any_server, client, transport):
    for headers in [
        {'X-Evil': 'a\r\nInjected: yes'},
        {'X-Evil': 'a\nb'},
        {'X-Evil\r\nInjected': 'yes'},
        {'X-Evil:': 'a'},
        {'': 'a'},
        {'X-Evil': 'a\x00b'},
        {'X-Evil': 5},
        {'X-Evil': 'not in Latin-1: \u20ac'},
    ]:
        with pytest.raises(ValueError, match='header'):
            client.connect(any_server.url, headers, transport)
        assert client.state == 'disconnected'
    client.connect(any_server.url, {'X-Good': 'yes'}, transport)
    assert client.ask('hello') == 'hello'


def test_invalid_engineio_path(client):
    with pytest.raises(ValueError, match='control character'):
        client.connect('http://localhost', engineio_path='a\r\nb')


@pytest.mark.parametrize('headers', [{'X-Evil': 'a\r\nB: c'}, ['X-Evil: a\r\nB: c']])
def test_invalid_header_of_the_websocket(any_server, make_client, headers):
    client = make_client(websocket_extra_options={'header': headers})
    with pytest.raises(ValueError, match='header'):
        client.connect(any_server.url, transports='websocket')


# -- By which transport -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ('given', 'chosen', 'used'),
    [
        ('polling', ['polling'], 'polling'),
        ('websocket', ['websocket'], 'websocket'),
        (['polling'], ['polling'], 'polling'),
        (('websocket',), ['websocket'], 'websocket'),
        (['websocket', 'polling'], ['websocket', 'polling'], 'websocket'),
        (['polling', 'websocket'], ['polling', 'websocket'], 'websocket'),
        (['pigeon', 'polling', 'flashsocket'], ['polling'], 'polling'),
        (None, ['polling', 'websocket'], 'websocket'),
    ],
)
def test_transports(any_server, client, given, chosen, used):
    client.connect(any_server.url, transports=given)
    assert client.transports == chosen
    assert client.transport() == used
    first = any_server.requests(client.sid)[0]['url']
    assert f'transport={chosen[0]}&' in first
    assert client.ask('transport') == used


@pytest.mark.parametrize('given', ['pigeon', ['pigeon', 'flashsocket'], [], ''])
def test_no_transport_is_left(any_server, client, given):
    with pytest.raises(ValueError, match='No valid transports provided'):
        client.connect(any_server.url, transports=given)
    assert client.state == 'disconnected'


def test_server_without_polling(server_with, make_client):
    server = server_with(transports=['websocket'])
    client = make_client()
    with pytest.raises(ConnectionError) as caught:
        client.connect(server.url)
    assert caught.value.__cause__.status == 400
    assert caught.value.args[1]
    client.connect(server.url, transports='websocket')
    assert client.ask('hello') == 'hello'


def test_server_without_websocket(server_with, make_client):
    server = server_with(transports=['polling'])
    client = make_client()
    client.connect(server.url)  # python-engineio offers the upgrade all the same
    assert client.transport() == client.ask('transport') == 'polling'
    client.disconnect()
    with pytest.raises(ConnectionError) as caught:
        client.connect(server.url, transports='websocket')
    assert isinstance(caught.value.__cause__, HTTPError)
    assert caught.value.__cause__.status == 400


def test_server_without_upgrades(server_with, make_client):
    server = server_with(allowUpgrades=False)
    client = make_client()
    client.connect(server.url)
    assert client.upgrades == []
    assert client.transport() == client.ask('transport') == 'polling'
    assert not any(
        'transport=websocket' in request['url'] for request in server.requests(client.sid)
    )


@pytest.mark.parametrize(
    ('offered', 'wanted'),
    [
        ('websocket', ['polling', 'websocket']),
        ('polling', ['websocket', 'polling']),
    ],
)
def test_try_all_transports(server_with, make_client, offered, wanted):
    server = server_with(transports=[offered])
    client = make_client()
    with pytest.raises(ConnectionError):
        client.connect(server.url, transports=wanted)
    client = make_client(try_all_transports=True)
    client.connect(server.url, transports=wanted)
    assert client.transport() == client.ask('transport') == offered
    assert client.events[0] == ('connect', None)
    assert [event for event, _ in client.events] == ['connect', 'message']


def test_try_all_transports_reports_the_first_failure(any_server, make_client):
    client = make_client(try_all_transports=True)
    with pytest.raises(ConnectionError) as caught:
        client.connect(any_server.url, engineio_path='elsewhere')
    assert 'GET' in str(caught.value)
    assert caught.value.args[1] == {'message': 'Not here'}
    urls = [request['url'] for request in any_server.requests()[-2:]]
    assert ['transport=polling' in url for url in urls] == [True, False]


def test_remember_upgrade(any_server, make_client):
    def transports_used(client):
        client.connect(any_server.url)
        assert client.transport() == 'websocket'
        used = [
            url.partition('transport=')[2].partition('&')[0]
            for url in (request['url'] for request in any_server.requests(client.sid))
        ]
        client.disconnect()
        return used

    forgetful, mindful = make_client(), make_client(remember_upgrade=True)
    assert transports_used(forgetful) == transports_used(forgetful) == ['polling', 'websocket']
    assert transports_used(mindful) == ['polling', 'websocket']
    for _ in range(3):
        assert transports_used(mindful) == ['websocket']


def test_remember_upgrade_only_where_websocket_is_wanted(any_server, make_client):
    client = make_client(remember_upgrade=True)
    client.connect(any_server.url)
    client.disconnect()
    client.connect(any_server.url, transports='polling')
    assert client.transport() == client.ask('transport') == 'polling'


# -- Refused ------------------------------------------------------------------------------------


def test_nobody_listens(client, transport):
    port = support.free_port()
    with pytest.raises(ConnectionError, match=f'127.0.0.1:{port}') as caught:
        client.connect(f'http://127.0.0.1:{port}', transports=transport)
    causes = []
    cause = caught.value
    while cause := cause.__cause__:
        causes.append(type(cause))
    assert ConnectionRefusedError in causes
    assert client.events == []
    assert (client.state, client.sid, client.transport()) == ('disconnected', None, None)


@pytest.mark.parametrize('status', [401, 403, 503])
def test_refused_with_json(server_with, make_client, status, transport):
    server = server_with(refuse=status, refuseMessage='not you')
    client = make_client()
    if 'js' in server.command[-1] and status == 403 and transport == 'websocket':
        # so answers engine.io there, and with plain text
        status, body = 400, None
    elif 'python' in server.command[-1] and status == 401:
        body = 'not you'
    else:
        body = {'code': 4, 'message': 'not you'}
    with pytest.raises(ConnectionError, match=f'status code {status}') as caught:
        client.connect(server.url, transports=transport)
    assert caught.value.args[1:] == (body,)
    assert isinstance(caught.value.__cause__, HTTPError)
    assert caught.value.__cause__.status == status
    assert client.events == []
    assert client.state == 'disconnected'
    assert server.count() == 0


def test_connection_error_is_of_the_package():
    assert engineio_gevent.exceptions.ConnectionError is ConnectionError
    assert issubclass(ConnectionError, engineio_gevent.exceptions.EngineIOError)
    assert not issubclass(ConnectionError, OSError)  # it is not the built-in of this name


def test_request_timeout_bounds_the_handshake(server_with, make_client, transport):
    server = server_with()
    before = set(server.control('clients')['ids'])
    client = make_client(request_timeout=0.2)
    server.suspend()
    try:
        with pytest.raises(ConnectionError, match=r'0\.2 seconds|timed out'):
            client.connect(server.url, transports=transport)
    finally:
        server.resume()
    assert client.state == 'disconnected'
    if transport == 'websocket':  # over polling nobody can tell the server
        assert support.eventually(lambda: set(server.control('clients')['ids']) <= before)


def test_timeout_of_the_caller_ends_connect(server_with, make_client, transport):
    server = server_with()
    client = make_client()
    server.suspend()
    try:
        with pytest.raises(gevent.Timeout), gevent.Timeout(0.1):
            client.connect(server.url, transports=transport)
    finally:
        server.resume()
    assert client.state == 'disconnected'
    client.connect(server.url)
    assert client.ask('hello') == 'hello'


def test_killed_while_connecting(server_with, make_client, transport):
    server = server_with()
    client = make_client()
    server.suspend()
    try:
        greenlet = gevent.spawn(client.connect, server.url, transports=transport)
        gevent.sleep(0.05)
        assert not greenlet.ready()
        greenlet.kill()
    finally:
        server.resume()
    assert client.state == 'disconnected'
    assert client.events == []
    client.connect(server.url)
    assert client.ask('hello') == 'hello'


# -- The state of a client ----------------------------------------------------------------------


def test_connected_already(any_server, client, way):
    client.connect(any_server.url, transports=way)
    sid = client.sid
    with pytest.raises(ValueError, match=r'not in a disconnected .* hold a lock'):
        client.connect(any_server.url, transports=way)
    assert client.sid == sid
    assert client.ask('hello') == 'hello'
    assert len(client.events) == 2


def test_connecting_already(any_server, client, way):
    other = gevent.spawn(client.connect, any_server.url, transports=way)
    gevent.sleep(0)
    with pytest.raises(ValueError, match=r'not in a disconnected .* hold a lock'):
        client.connect(any_server.url, transports=way)
    other.get()
    assert client.ask('hello') == 'hello'


def test_two_connects_and_a_session_that_takes_its_time(js_server, make_client):
    def make():
        gevent.sleep(0.01)
        return requests.Session()

    client = make_client(http_session=make)
    both = [
        gevent.spawn(support.outcome, client.connect, js_server.url, transports='websocket')
        for _ in range(2)
    ]
    outcomes = [one.get(timeout=support.patience(5)) for one in both]
    assert outcomes.count(None) == 1
    assert any(isinstance(one, ValueError) for one in outcomes)


def test_attributes(server_with, make_client, way):
    server = server_with(pingInterval=7000, pingTimeout=1500)
    client = make_client()
    names = [
        'sid',
        'upgrades',
        'ping_interval',
        'ping_timeout',
        'transports',
        'current_transport',
        'base_url',
        'http',
        'disconnect_error',
    ]
    assert client.state == 'disconnected'
    assert {name: getattr(client, name) for name in names} == dict.fromkeys(names)
    assert client.transport() is None
    assert set(client.handlers) == {'connect', 'message', 'disconnect'}
    assert client.logger.name == 'engineio_gevent.client'

    during = {}

    @client.on('connect')
    def connect():
        during.update({name: getattr(client, name) for name in ['state', *names]})
        during['transport'] = client.transport()

    client.connect(server.url, transports=way)
    first = 'websocket' if way == ['websocket'] else 'polling'
    last = 'polling' if way == ['polling'] else 'websocket'
    assert during['state'] == client.state == 'connected'
    assert during['sid'] == client.sid in server.control('clients')['ids']
    assert during['ping_interval'] == client.ping_interval == 7
    assert during['ping_timeout'] == client.ping_timeout == 1.5
    assert client.upgrades == ([] if first == 'websocket' else ['websocket'])
    assert client.transports == (way or ['polling', 'websocket'])
    assert during['current_transport'] == during['transport'] == first
    assert client.current_transport == client.transport() == last
    scheme = 'http' if first == 'polling' else 'ws'
    assert client.base_url.startswith(f'{scheme}://{server.netloc}/engine.io/?transport={first}&')
    assert 'EIO=4' in client.base_url
    if first == 'polling':
        assert f'sid={client.sid}' in client.base_url
        assert during['http'] is client.http is not None
    assert client.disconnect_error is None

    client.disconnect()
    assert client.state == 'disconnected'
    assert client.sid is None
    assert client.disconnect_error is None
    assert client.ping_interval == 7


def test_a_client_connects_again(any_server, client, way):
    sids = []
    for number in range(5):
        client.connect(any_server.url, transports=way)
        sids.append(client.sid)
        assert client.ask(f'round {number}') == f'round {number}'
        client.disconnect()
    assert len(set(sids)) == 5
    assert [event for event, _ in client.events] == ['connect', 'message', 'disconnect'] * 5
    for sid in sids:
        any_server.close_reason(sid)


def test_context_manager(any_server, make_client, way):
    with make_client() as client:
        client.connect(any_server.url, transports=way)
        sid = client.sid
        assert client.ask('hello') == 'hello'
    assert client.state == 'disconnected'
    assert client.reasons == ['client disconnect']
    any_server.close_reason(sid)


def test_context_manager_lets_exceptions_through(any_server, make_client):
    with pytest.raises(ZeroDivisionError), make_client() as client:
        client.connect(any_server.url)
        sid = client.sid
        raise ZeroDivisionError
    assert client.reasons == ['client disconnect']
    any_server.close_reason(sid)


def test_context_manager_without_a_connection(make_client):
    with make_client() as client:
        pass
    assert client.events == []


# -- The connect handler ------------------------------------------------------------------------


def test_connect_handler_that_raises(any_server, make_client, way):
    client = make_client()
    sids = []

    @client.on('connect')
    def connect():
        sids.append(client.sid)
        raise ZeroDivisionError('no, thanks')

    for _ in range(3):
        with pytest.raises(ConnectionError, match='no, thanks') as caught:
            client.connect(any_server.url, transports=way)
        assert isinstance(caught.value.__cause__, ZeroDivisionError)
        assert (client.state, client.sid) == ('disconnected', None)
    assert client.events == []  # it was never connected, so it does not disconnect
    for sid in sids:
        any_server.close_reason(sid)

    client.on('connect', lambda: None)
    client.connect(any_server.url, transports=way)
    assert client.ask('hello') == 'hello'


@pytest.mark.parametrize('error', [gevent.GreenletExit, gevent.Timeout(1), SystemExit])
def test_connect_handler_that_is_ended(any_server, make_client, way, error):
    client = make_client()
    sids = []

    @client.on('connect')
    def connect():
        sids.append(client.sid)
        raise error

    with pytest.raises(BaseException) as caught:  # noqa: PT011 - compared below
        client.connect(any_server.url, transports=way)
    assert caught.value is error or type(caught.value) is error
    assert client.state == 'disconnected'
    any_server.close_reason(sids[0])


def test_connect_handler_may_take_its_time(server_with, make_client):
    server = server_with(pingInterval=200, pingTimeout=200)

    def connect(client, way):
        @client.on('connect')
        def handler():
            client.send('early')
            gevent.sleep(0.7)  # past the server's first deadline for a pong
            client.send('late')

        client.connect(server.url, transports=way)
        assert client.take(2) == ['early', 'late']
        assert client.state == 'connected'

    clients = [(make_client(), way) for way in WAYS]  # a look for leaks may take long
    gevent.joinall([gevent.spawn(connect, *one) for one in clients], raise_error=True)

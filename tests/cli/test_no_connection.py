"""The error of `connect` and `load` without a connection is the verdict of `probe`."""

import json
import shlex

import pytest

import support
from engineio_gevent.cli.screen import one_line

COMMANDS = {
    'connect': ['connect', '-x', 'hello'],
    'load': ['load', '--clients', '3', '--duration', '1'],
}
#: The response of engine.io 3.6 to the first polling request. It ignores EIO in the query.
VERSION_3 = (
    b'97:0{"sid":"qMkwEZp-KsVPOoRzAAAA","upgrades":["websocket"],"pingInterval":25000,'
    b'"pingTimeout":5000}2:40'
)
#: The response of python-engineio 3.14.
VERSION_3_PYTHON = (
    '"The client is using an unsupported version of the Socket.IO or Engine.IO protocols"'
)


@pytest.fixture(params=COMMANDS)
def failing(request, cli, one_error):
    """`failing(url, ...)`: the part of the error between the URL and the hint."""

    def run(url, *arguments, hint=None):
        error = one_error(cli(*COMMANDS[request.param], url, *arguments))
        start, end = (
            f'cannot connect to {url}: ',
            hint or f'. Run "engineio-gevent probe {url}" for a diagnosis.',
        )
        assert error.startswith(start)
        assert error.endswith(end), error
        assert error.count('cannot connect') == error.count('probe') == 1
        return error.removeprefix(start).removesuffix(end)

    return run


def with_options(url):
    return f'. Run "engineio-gevent probe {url}" with the same options for a diagnosis.'


def test_a_closed_port(failing):
    port = support.free_port()
    assert failing(f'http://127.0.0.1:{port}') == (
        f'connection refused: no server listens at 127.0.0.1 port {port}'
    )


@pytest.mark.parametrize('way', ['polling', 'websocket'])
def test_a_wrong_path(failing, js_server, way):
    arguments = ['--path', 'chat', '--transports', way]
    text = failing(js_server.url, *arguments, hint=with_options(js_server.url))
    assert text == (
        'HTTP 404: no Engine.IO at /chat/. Engine.IO is at /engine.io/: use --path engine.io'
    )


def test_a_path_without_engine_io_anywhere(failing, native_server):
    def handle(sock):
        support.read_request(sock)
        support.respond(sock, 'Not here', '404 Not Found', [('Connection', 'close')])

    assert failing(native_server(handle).url) == (
        'HTTP 404: no Engine.IO at /engine.io/. Check the path (--path)'
    )


@pytest.mark.parametrize('way', ['polling', 'websocket'])
def test_a_socket_io_server(failing, make_js_server, way):
    server = make_js_server(path='/socket.io/')
    text = failing(server.url, '--transports', way, hint=with_options(server.url))
    assert text == (
        'HTTP 404: no Engine.IO at /engine.io/. Engine.IO is at /socket.io/: use --path socket.io'
    )


@pytest.mark.parametrize('way', ['polling', 'websocket'])
def test_a_socket_io_server_that_ignores_other_paths(failing, native_server, way):
    """The JavaScript server does so without a web framework. It closes other websockets."""

    def handle(sock):
        request = support.read_request(sock)
        if request.target.startswith('/socket.io/'):
            support.respond(sock, support.open_packet(), headers=[('Connection', 'close')])
        elif 'transport=polling' in request.target:
            support.read_to_end(sock)

    url = native_server(handle).url
    text = failing(url, '--timeout', '1', '--transports', way, hint=with_options(url))
    problem = {
        'polling': 'no response within 1 seconds',
        'websocket': 'the server closed the connection without a response',
    }[way]
    assert text == f'{problem}. Engine.IO is at /socket.io/: use --path socket.io'


@pytest.mark.parametrize('way', ['polling', 'websocket'])
def test_tls_to_a_plain_port(failing, any_server, way):
    url = any_server.url.replace('http:', 'https:')
    assert failing(url, '--transports', way, hint=with_options(url)) == (
        'the server does not speak TLS on this port. Try http:// instead of https://'
    )


@pytest.mark.parametrize('way', ['polling', 'websocket'])
def test_plain_http_to_a_tls_port(failing, make_any_server, certificates, way):
    url = make_any_server(tls=certificates.tls).url.replace('https:', 'http:')
    assert failing(url, '--transports', way, hint=with_options(url)) == (
        'this port speaks TLS. Try https:// instead of http://'
    )


@pytest.mark.parametrize('body', [VERSION_3, VERSION_3_PYTHON], ids=['JavaScript', 'Python'])
def test_engine_io_3(failing, native_server, body):
    def handle(sock):
        support.read_request(sock)
        status = '200 OK' if body is VERSION_3 else '400 Bad Request'
        support.respond(sock, body, status, [('Connection', 'close')])

    text = failing(native_server(handle).url)
    assert 'this client supports only protocol 4' in text
    assert 'Engine.IO 3 (Socket.IO 2)' in text


def test_a_certificate_of_an_unknown_ca(failing, make_js_server, certificates):
    assert 'Pass --ca FILE to trust another CA' in failing(make_js_server(tls=certificates.tls).url)


def test_an_unknown_host(failing):
    assert failing('http://nobody.invalid').startswith('host nobody.invalid not found: ')


def test_a_silent_server(failing, native_server):
    """The error contains the seconds of the option. The second attempt waits less."""
    url = native_server(support.read_to_end).url
    assert failing(url, '--timeout', '2.5', hint=with_options(url)) == (
        'no response within 2.5 seconds. The server may be busy (try a longer --timeout), or the '
        'port may not speak HTTP'
    )


def test_a_server_that_is_well_again(cli, native_server, one_error):
    """If the second attempt succeeds, the error is that of the first."""
    requests = []

    def handle(sock):
        request = support.read_request(sock)
        requests.append(request)
        if len(requests) == 1:
            support.respond(sock, 'Too early', '503 Busy', [('Connection', 'close')])
        else:
            support.respond(sock, support.open_packet(), headers=[('Connection', 'close')])

    url = native_server(handle).url
    assert one_error(cli('connect', '-x', 'hello', url)) == (
        f'cannot connect to {url}: Unexpected status code 503 in server response to GET '
        f'{url}/engine.io/. Run "engineio-gevent probe {url}" for a diagnosis.'
    )
    assert requests[-1].body == b'1'  # the second connection was closed


def test_the_command_that_is_named_runs(cli, one_error):
    url = f'http://me:secret@127.0.0.1:{support.free_port()}/?a=1&b=2'
    error = one_error(cli('connect', '-x', 'hello', url))
    assert 'secret' not in error
    command, _, rest = error.partition('Run "')[2].rpartition('"')
    assert rest == ' with the same options for a diagnosis.'
    name, *arguments = shlex.split(command)
    assert name == 'engineio-gevent'
    assert 'connection refused' in cli(*arguments).out


def test_it_says_what_probe_says(cli, one_error):
    url = f'http://127.0.0.1:{support.free_port()}'
    report = json.loads(cli('probe', url, '--json').out)
    (problem,) = [step['problem'] for step in report['runs'][0]['steps'] if step['problem']]
    for arguments in COMMANDS.values():
        assert one_line(problem) in one_error(cli(*arguments, url))

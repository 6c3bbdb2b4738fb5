"""`probe --resolve` and `probe --unix-socket`: the steps go to that address, and say so."""

import socket

import pytest

import support
from engineio_gevent.cli import main

TRANSPORTS = ['polling', 'websocket', 'polling,websocket']
STEPS = {
    'polling': ['handshake', 'polling', 'leave'],
    'websocket': ['websocket', 'handshake', 'leave'],
    'polling,websocket': ['handshake', 'polling', 'upgrade', 'leave'],
}


@pytest.fixture
def refused(capsys, environment):
    """`refused(url, ...)`: the last line of the error of invalid arguments."""

    def run(*arguments):
        assert main(['probe', *map(str, arguments)]) == 2
        return capsys.readouterr().err.splitlines()[-1]

    return run


class TestResolve:
    @pytest.mark.parametrize('transports', TRANSPORTS)
    def test_well(self, probe, shown, js_server, transports):
        url = f'http://pinned.test:{js_server.port}'
        pin = f'pinned.test:{js_server.port}:127.0.0.1'
        arguments = url, '--resolve', pin, '--transports', transports
        outcome = probe(*arguments)
        assert outcome.code == 0, outcome
        assert list(outcome.steps) == ['dns', 'tcp', *STEPS[transports]]
        assert outcome.facts('dns') == {
            'host': 'pinned.test',
            'of': 'server',
            'addresses': ['127.0.0.1'],
            'pinned': True,
        }
        assert outcome.facts('tcp')['address'] == '127.0.0.1'
        requests = js_server.requests(outcome.facts('handshake')['sid'])
        assert {request['headers']['host'] for request in requests} == {url.partition('//')[2]}
        assert 'pinned.test: 127.0.0.1, set by --resolve: no lookup' in shown(*arguments)[1]

    def test_the_certificate_has_the_name(self, probe, failed, js_server_with, certificates):
        port = js_server_with(tls=certificates.tls).port
        ca = '--ca', certificates.ca
        outcome = probe(
            f'https://localhost:{port}', '--resolve', f'LocalHost:{port}:127.0.0.1', *ca
        )
        assert outcome.code == 0, outcome
        assert outcome.facts('tls')['verified']
        pin = f'pinned.test:{port}:127.0.0.1'
        text = failed('tls', f'https://pinned.test:{port}', '--resolve', pin, *ca)
        assert text.endswith(', not for pinned.test')

    @pytest.mark.skipif(not support.has_ipv6(), reason='no IPv6 here')
    @pytest.mark.parametrize('address', ['::1', '[::1]'])
    def test_ipv6(self, probe, make_python_server, address):
        port = make_python_server(host='::1').port
        outcome = probe(f'http://pinned.test:{port}', '--resolve', f'pinned.test:{port}:{address}')
        assert outcome.code == 0, outcome
        assert outcome.facts('tcp')['address'] == '::1'

    def test_of_an_address(self, probe, js_server):
        port = js_server.port
        pin = f'[2001:db8::1]:{port}:127.0.0.1'
        assert probe(f'http://[2001:db8::1]:{port}', '--resolve', pin).code == 0

    def test_one_of_several(self, probe, js_server):
        port = js_server.port
        pins = f'other.test:{port}:192.0.2.1', f'pinned.test:{port}:127.0.0.1'
        outcome = probe(f'http://pinned.test:{port}', '--resolve', pins[0], '--resolve', pins[1])
        assert outcome.code == 0, outcome

    def test_of_the_proxy(self, probe, environment, hostile_server, refused):
        """The proxy looks up the server."""

        def handle(sock):
            support.read_request(sock)
            support.respond(sock, 'no', '503 Busy')

        port = hostile_server(handle).port
        proxy = '--proxy', f'http://proxy.test:{port}'
        pin = f'proxy.test:{port}:127.0.0.1'
        outcome = probe('http://server.test', *proxy, '--resolve', pin)
        assert outcome.facts('dns')['of'] == 'proxy'
        assert outcome.facts('dns')['pinned']
        assert outcome.verdict['step'] == 'handshake'
        assert refused('http://server.test', *proxy, '--resolve', 'server.test:80:127.0.0.1') == (
            'Error: --resolve server.test:80 has no effect: the connection goes to a proxy, which '
            f'looks up the server. Use --resolve proxy.test:{port}:ADDR'
        )

    def test_nobody_there(self, failed):
        port = support.free_port()
        text = failed('tcp', f'http://a.test:{port}', '--resolve', f'a.test:{port}:127.0.0.9')
        assert text.endswith(f'no server listens at 127.0.0.9 port {port}')

    @pytest.mark.parametrize(
        ('value', 'told'),
        [
            ('a.test', "'a.test' is not of the form HOST:PORT:ADDR, such as example.com:443:"),
            ('a.test:127.0.0.1', "'a.test:127.0.0.1' is not of the form HOST:PORT:ADDR"),
            ('a.test:http:127.0.0.1', 'is not of the form HOST:PORT:ADDR'),
            ('::1:80:127.0.0.1', 'is not of the form HOST:PORT:ADDR'),
            ('a.test:0:127.0.0.1', 'the port must be a number from 1 to 65535'),
            ('a.test:80:b.test', "'b.test' is not an IP address"),
            ('a.test:80:127.0.0.1,127.0.0.2', "'127.0.0.1,127.0.0.2' is not an IP address"),
            ('a.test:80:[127.0.0.1', "'[127.0.0.1' is not an IP address"),
            ('a b:80:127.0.0.1', "invalid host name: 'a b'"),
        ],
    )
    def test_values_that_are_none(self, refused, value, told):
        error = refused('http://a.test', '--resolve', value)
        assert error.startswith("Error: Invalid value for '--resolve': ")
        assert told in error

    def test_twice(self, refused):
        error = refused(
            'http://a.test', '--resolve', 'a.test:80:127.0.0.1', '--resolve', 'a.test:80:127.0.0.2'
        )
        assert error.endswith('a.test:80 is given twice')

    def test_of_another_port(self, refused):
        assert refused('https://a.test', '--resolve', 'a.test:80:127.0.0.1') == (
            'Error: --resolve a.test:80 has no effect: the connection goes to the server. '
            'Use --resolve a.test:443:ADDR'
        )


class TestUnixSocket:
    @pytest.fixture
    def path(self, tmp_path):
        return str(tmp_path / 'server.sock')

    @pytest.mark.parametrize('transports', TRANSPORTS)
    def test_well(self, probe, shown, make_js_server, path, transports):
        server = make_js_server(socket=path)
        arguments = 'http://any.test', '--unix-socket', path, '--transports', transports
        outcome = probe(*arguments)
        assert outcome.code == 0, outcome
        assert list(outcome.steps) == ['unix', *STEPS[transports]]
        assert outcome.facts('unix') == {'path': path}
        requests = server.requests(outcome.facts('handshake')['sid'])
        assert {request['headers']['host'] for request in requests} == {'any.test'}
        assert f'UNIX socket {path}\n' in shown(*arguments)[1]

    def test_tls(self, probe, failed, make_js_server, path, certificates):
        make_js_server(socket=path, tls=certificates.tls)
        arguments = '--unix-socket', path, '--ca', certificates.ca
        outcome = probe('https://localhost', *arguments)
        assert outcome.code == 0, outcome
        assert list(outcome.steps) == ['unix', 'tls', *STEPS['polling,websocket']]
        assert outcome.facts('tls')['verified']
        assert failed('tls', 'https://any.test', *arguments).endswith('not for any.test')

    def test_without_the_proxy_of_the_environment(self, probe, environment, make_js_server, path):
        environment.setenv('http_proxy', 'http://127.0.0.1:9')
        make_js_server(socket=path)
        outcome = probe('http://any.test', '--unix-socket', path)
        assert outcome.code == 0, outcome
        assert 'proxy' not in outcome.steps

    def test_nothing_there(self, failed, tmp_path):
        path = tmp_path / 'none'
        assert failed('unix', 'http://any.test', '--unix-socket', path) == (
            f'unix: there is no UNIX socket {path}. Check the path, and whether the server runs'
        )

    def test_nobody_listens(self, failed, tmp_path):
        path = tmp_path / 'left'
        with socket.socket(socket.AF_UNIX) as sock:
            sock.bind(str(path))
        assert failed('unix', 'http://any.test', '--unix-socket', path) == (
            f'unix: connection refused: no server listens at the UNIX socket {path}'
        )

    @pytest.mark.parametrize(
        ('arguments', 'told'),
        [
            (['--unix-socket', ''], "'--unix-socket': not the path of a UNIX socket: ''"),
            (['--unix-socket', '/x' * 60], 'the path of a UNIX socket must be shorter than 1'),
            (
                ['--unix-socket', 'a', '--proxy', 'http://127.0.0.1:9'],
                '--unix-socket and --proxy cannot be used together',
            ),
            (
                ['--unix-socket', 'a', '--resolve', 'any.test:80:127.0.0.1'],
                '--unix-socket and --resolve cannot be used together',
            ),
        ],
    )
    def test_values_that_are_none(self, refused, arguments, told):
        assert told in refused('http://any.test', *arguments)

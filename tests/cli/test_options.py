"""The connection options with real servers, checked by the requests that arrive there."""

import importlib.util
import json
import os
import select
import shlex
import signal
import socket
import subprocess
import sys

import pytest

import support

WAYS = ['polling', 'websocket', 'polling,websocket']


class TunnelProxy(support.NativeServer):
    """A CONNECT proxy in native threads, since the tests wait for processes."""

    def __init__(self, answer=None):
        #: the requested targets
        self.trips = []
        self._answer = answer
        super().__init__(self._tunnel)

    def _tunnel(self, sock):
        request = support.read_request(sock)
        self.trips.append(f'{request.method} {request.target}')
        if self._answer is not None:
            sock.sendall(support.response(b'no', self._answer))
            return
        host, port = request.target.rsplit(':', 1)
        with socket.create_connection((host, int(port))) as other:
            sock.sendall(b'HTTP/1.1 200 Connection established\r\n\r\n')
            ends = {sock: other, other: sock}
            while True:
                for ready in select.select(list(ends), [], [], 20)[0]:
                    data = ready.recv(65536)
                    if not data:
                        return
                    ends[ready].sendall(data)


@pytest.fixture
def native():
    """`native(handler)`, `native(kind=TunnelProxy)`: a server in native threads."""
    servers = []

    def start(*arguments, kind=support.NativeServer, **options):
        servers.append(kind(*arguments, **options))
        return servers[-1]

    yield start
    for server in servers:
        server.stop()


@pytest.fixture
def proxy(native):
    return native(kind=TunnelProxy)


@pytest.fixture
def tls_server(js_server_with, certificates):
    return js_server_with(tls=certificates.tls)


@pytest.fixture
def mutual_server(js_server_with, certificates):
    """A server that requires a client certificate."""
    return js_server_with(tls=certificates.mutual_tls)


def need_socksio():
    if importlib.util.find_spec('socksio') is None:
        support.missing('socksio', 'pip install "engineio-gevent[socks]"')


def sent_at_once(cli, url, *arguments, **options):
    """A message and its answer, then the server closes the connection."""
    return cli(
        'connect', url, '-x', 'hello', '-x', 'close', '-w', '-1', '--json', *arguments, **options
    )


def was_answered(result):
    # By polling, the server's end may overtake the confirmation of the POST: that is code 3.
    return result.code in (0, 3) and answers(result) == ['hello']


def answers(result):
    return [event['data'] for event in result.events if event['event'] == 'message']


# -- Certificates -------------------------------------------------------------------------------


@pytest.mark.parametrize('transports', WAYS)
def test_a_client_certificate_through_a_proxy(cli, mutual_server, certificates, proxy, transports):
    first = support.converse(
        cli.start(
            'connect',
            mutual_server.url,
            '--ca',
            certificates.ca,
            '--cert',
            certificates.client_cert,
            '--key',
            certificates.client_key,
            '--proxy',
            proxy.url,
            '--transports',
            transports,
            '-w',
            '0',
        )
    )
    assert ('by polling' in first) == (transports == 'polling')
    assert set(proxy.trips) == {f'CONNECT {mutual_server.netloc}'}


def test_a_certificate_with_its_key_in_one_file(cli, mutual_server, certificates):
    done = sent_at_once(
        cli, mutual_server.url, '--ca', certificates.ca, '--cert', certificates.client_pem
    )
    assert was_answered(done), done


@pytest.mark.parametrize('transports', WAYS)
def test_verification(cli, mutual_server, certificates, transports, one_error):
    """By the client's own connections, for each transport."""
    own = '--cert', certificates.client_pem
    for how in ['--no-verify'], ['--ca', certificates.ca]:
        done = sent_at_once(cli, mutual_server.url, *own, *how, '--transports', transports)
        assert was_answered(done), done
        connected = done.events[0]
        assert connected['transport'] == transports.rpartition(',')[2]
    error = one_error(sent_at_once(cli, mutual_server.url, *own, '--transports', transports))
    assert 'which is not in the CA bundle' in error


def test_without_the_certificate_the_server_refuses(cli, mutual_server, certificates, one_error):
    done = sent_at_once(cli, mutual_server.url, '--ca', certificates.ca)
    assert 'requires a client certificate' in one_error(done)


@pytest.mark.parametrize('transports', WAYS)
def test_files_that_are_no_certificates(cli, mutual_server, certificates, tmp_path, transports):
    nonsense = tmp_path / 'nonsense.pem'
    nonsense.write_text('this is no certificate')
    pair = certificates.client_cert, certificates.server_key
    for how, told in (
        (['--ca', nonsense], f'{nonsense} is not a valid CA bundle in PEM format: '),
        (
            ['--ca', certificates.ca, '--cert', nonsense],
            f'{nonsense} is not a valid client certificate in PEM format with its key: ',
        ),
        (
            ['--ca', certificates.ca, '--cert', pair[0], '--key', pair[1]],
            f'{pair[0]} with the key {pair[1]} is not a valid client certificate',
        ),
    ):
        # A redirect may lead from http:// to https://.
        for url in mutual_server.url, 'http://127.0.0.1:1':
            done = sent_at_once(cli, url, *how, '--transports', transports)
            assert done.code == 2, done
            assert told in done.err


def test_ca_goes_before_the_environment(cli, tls_server, certificates):
    variables = dict.fromkeys(
        ('REQUESTS_CA_BUNDLE', 'CURL_CA_BUNDLE', 'SSL_CERT_FILE', 'WEBSOCKET_CLIENT_CA_BUNDLE'),
        certificates.client_cert,
    )
    for transports in WAYS:
        done = sent_at_once(
            cli, tls_server.url, '--ca', certificates.ca, '--transports', transports, env=variables
        )
        assert answers(done) == ['hello'], done


def test_authorities_of_the_environment(cli, tls_server, certificates):
    done = sent_at_once(cli, tls_server.url, env={'REQUESTS_CA_BUNDLE': certificates.ca})
    assert answers(done) == ['hello'], done


# -- Proxies ------------------------------------------------------------------------------------


@pytest.mark.parametrize('transports', WAYS)
@pytest.mark.parametrize('given', ['option', 'environment'])
def test_a_proxy(cli, tls_server, certificates, proxy, given, transports):
    how = ['--proxy', proxy.url] if given == 'option' else []
    env = {} if how else {'https_proxy': proxy.url}
    support.converse(
        cli.start(
            'connect',
            tls_server.url,
            '--ca',
            certificates.ca,
            *how,
            '-w',
            '0',
            '--transports',
            transports,
            env=env,
        )
    )
    assert set(proxy.trips) == {f'CONNECT {tls_server.netloc}'}


@pytest.mark.parametrize(
    'way',
    [
        (['--proxy', ''], {'https_proxy': 'PROXY', 'ALL_PROXY': 'PROXY'}),
        ([], {'https_proxy': 'PROXY', 'no_proxy': '127.0.0.1'}),
    ],
    ids=['option', 'no_proxy'],
)
def test_past_the_proxy(cli, tls_server, certificates, proxy, way):
    how, env = way
    env = {name: value.replace('PROXY', proxy.url) for name, value in env.items()}
    done = sent_at_once(cli, tls_server.url, '--ca', certificates.ca, *how, env=env)
    assert answers(done) == ['hello'], done
    assert proxy.trips == []


def test_the_option_goes_before_no_proxy(cli, tls_server, certificates, proxy):
    done = sent_at_once(
        cli, tls_server.url, '--ca', certificates.ca, '--proxy', proxy.url, env={'no_proxy': '*'}
    )
    assert answers(done) == ['hello'], done
    assert proxy.trips


@pytest.mark.parametrize('transports', WAYS)
def test_a_proxy_that_refuses(cli, tls_server, native, one_error, transports):
    proxy = native('403 Forbidden', kind=TunnelProxy)
    url = proxy.url.replace('://', '://somebody:secret@')
    error = one_error(sent_at_once(cli, tls_server.url, '--proxy', url, '--transports', transports))
    assert '403' in error
    assert 'secret' not in error
    assert proxy.trips


@pytest.mark.parametrize('kind', ['http://somebody:secret@', '', 'socks5h://somebody:secret@'])
@pytest.mark.parametrize('transports', WAYS)
def test_a_proxy_that_is_not_there(cli, one_error, kind, transports):
    if 'socks' in kind:
        need_socksio()
    proxy = f'127.0.0.1:{support.free_port()}'
    for command in ('connect', '-x', 'a'), ('load', '--clients', 2):
        done = cli(
            *command, 'http://127.0.0.1:1', '--proxy', f'{kind}{proxy}', '--transports', transports
        )
        host, _, port = proxy.partition(':')
        reason = f'connection refused: no proxy listens at {host} port {port}'
        assert done.code == 1, done
        assert done.err.splitlines()[-1] == (
            f'engineio-gevent: cannot connect to http://127.0.0.1:1: {reason}. '
            'Run "engineio-gevent probe http://127.0.0.1:1" with the same options for a diagnosis.'
        )


@pytest.mark.parametrize('transports', ['polling', 'websocket'])
def test_a_socks_proxy_that_cannot_reach_the_server(cli, native, one_error, transports):
    need_socksio()

    def refuse(sock):
        support.read_exactly(sock, 3)
        sock.sendall(b'\x05\x00')
        support.read_exactly(sock, 10)
        sock.sendall(b'\x05\x05\x00\x01' + bytes(6))  # RFC 1928, section 6
        support.read_to_end(sock)

    proxy = native(refuse)
    error = one_error(
        cli(
            'connect',
            'http://127.0.0.1:1',
            '-x',
            'a',
            '--transports',
            transports,
            '--proxy',
            f'socks5://127.0.0.1:{proxy.port}',
        )
    )
    assert (
        f': 127.0.0.1:1 via proxy 127.0.0.1:{proxy.port}: '
        'the SOCKS proxy refused: connection refused. '
    ) in error


NO_PROXIES = {
    'foo://127.0.0.1:1': 'the scheme must be one of http, https, socks4, socks4a, socks5, socks5h',
    'http://127.0.0.1:secret': 'the port must be a number from 1 to 65535',
    'http://127.0.0.1:0': 'the port must be a number from 1 to 65535',
    ':99999': 'the port must be a number from 1 to 65535',
    '::': 'the port must be a number from 1 to 65535',
    'http://[::1': 'invalid host',
    'http://': 'no host',
    'socks5h://somebody:secret@': 'no host',
}


@pytest.mark.parametrize(('proxy', 'why'), NO_PROXIES.items(), ids=NO_PROXIES)
def test_proxies_that_are_none(cli, one_error, proxy, why):
    done = cli('probe', 'http://127.0.0.1:1', '--proxy', proxy)
    assert done.code == 2, done
    assert done.err.endswith(
        f"Error: Invalid value for '--proxy': not a valid proxy URL: {why}\n"
    ), done
    assert 'secret' not in done.err
    error = one_error(cli('connect', 'http://127.0.0.1:1', '-x', 'a', env={'HTTP_PROXY': proxy}))
    assert error == (
        f'cannot connect to http://127.0.0.1:1: HTTP_PROXY: not a valid proxy URL: {why}. '
        'Run "engineio-gevent probe http://127.0.0.1:1" for a diagnosis.'
    )


# -- Path, timeout, headers, URL -----------------------------------------------------------------


@pytest.mark.parametrize('transports', WAYS)
def test_timeout(cli, native, one_error, transports):
    server = native(support.read_to_end)
    done = sent_at_once(cli, server.url, '--timeout', '0.3', '--transports', transports)
    assert 'no response within 0.3 seconds' in one_error(done)


@pytest.mark.parametrize('path', ['elsewhere', '/elsewhere', 'elsewhere/', '/elsewhere/'])
def test_path(cli, make_js_server, path):
    server = make_js_server(path='/elsewhere/')
    assert answers(sent_at_once(cli, server.url, '--path', path)) == ['hello']


def test_headers_of_both_transports(cli, make_js_server):
    server = make_js_server()
    done = cli(
        'connect',
        server.url,
        '-H',
        'Authorization:Bearer a:b',
        '-H',
        'Cookie: one=1',
        '--json',
        '-x',
        'headers',
        '-x',
        'close',
        '-w',
        '-1',
    )
    requests = json.loads(answers(done)[0])
    assert {'upgrade' in request['headers'] for request in requests} == {True, False}
    for request in requests:
        assert request['headers']['authorization'] == 'Bearer a:b'
        assert request['headers']['cookie'].split('; ')[0] == 'one=1'


@pytest.mark.parametrize('header', ['A\x01b: c', 'A b: c', 'A: b\x7f'])
def test_headers_that_are_none(cli, header):
    done = cli('connect', 'http://127.0.0.1:1', '-H', header, '-x', 'a')
    assert done.code == 2, done
    assert 'header' in done.err.splitlines()[-1]
    assert '\x01' not in done.err
    assert '\x7f' not in done.err


def test_headers_of_one_name_are_joined(cli, make_js_server):
    server = make_js_server()
    done = cli(
        'connect',
        server.url,
        '-H',
        'X-One: 1',
        '-H',
        'Cookie: a=1',
        '-H',
        'x-one: 2',
        '-H',
        'cookie: b=2',
        '--json',
        '-x',
        'headers',
        '-x',
        'close',
        '-w',
        '-1',
    )
    requests = json.loads(answers(done)[0])
    assert {'upgrade' in request['headers'] for request in requests} == {True, False}
    for request in requests:
        assert request['headers']['x-one'] == '1, 2'
        assert request['headers']['cookie'].split('; ')[:2] == ['a=1', 'b=2']


@pytest.mark.parametrize('name', ['Authorization', 'host', 'USER-AGENT'])
def test_headers_that_cannot_be_joined(cli, name):
    done = cli('connect', 'http://127.0.0.1:1', '-H', f'{name}: a', '-H', f'{name.title()}: b')
    assert done.code == 2, done
    assert done.err.endswith(f'{name.title()} is given twice, but can have only one value\n')


def test_credentials_of_the_url_are_not_told(cli, one_error):
    port = support.free_port()
    error = one_error(cli('connect', f'http://me:secret@127.0.0.1:{port}', '-x', 'a'))
    assert error.startswith(f'cannot connect to http://127.0.0.1:{port}: ')
    assert 'secret' not in error


@pytest.mark.parametrize('url', ['127.0.0.1:5000/?next=http://a', '//127.0.0.1', 'localhost'])
def test_a_url_without_a_scheme(cli, url):
    done = cli('connect', url)
    assert done.code == 2
    assert f'Did you mean http://{url}?' in done.err


@pytest.mark.parametrize(
    ('url', 'told'),
    [
        ('', 'the URL is empty'),
        (' ', 'the URL is empty'),
        ('http://127.0.0.1:99999', "URL has no valid host and port: 'http://127.0.0.1:99999'"),
        ('http://me:secret@a.test:b', "URL has no valid host and port: 'http://...@a.test:b'"),
        ('http://[::1', "URL has no valid host and port: 'http://[::1'"),
    ],
)
def test_a_url_that_is_none(cli, url, told):
    done = cli('connect', url)
    assert done.code == 2, done
    assert done.err.endswith(f'Error: {told}\n')


@pytest.mark.parametrize('command', ['connect', 'probe', 'load', 'demo'])
def test_help_has_bounds_where_there_are_any(cli, command):
    shown = cli(command, '--help').out
    assert 'None' not in shown
    if command != 'demo':
        assert 'x>0]' in shown


@pytest.mark.parametrize('transports', WAYS)
def test_a_unix_socket(cli, make_js_server, tmp_path, transports):
    path = tmp_path / 'server.sock'
    make_js_server(socket=str(path))
    done = sent_at_once(
        cli, 'http://any.test', '--unix-socket', path, '--transports', transports,
        env={'http_proxy': 'http://127.0.0.1:9'},
    )  # fmt: skip
    assert was_answered(done), done


def test_no_unix_socket(cli, tmp_path, one_error):
    """The error says what probe says, and probe needs the same options for it."""
    path = tmp_path / 'none'
    assert one_error(cli('connect', 'http://any.test', '--unix-socket', path, '-x', 'a')) == (
        f'cannot connect to http://any.test: there is no UNIX socket {path}. Check the path, and '
        'whether the server runs. Run "engineio-gevent probe http://any.test" with the same '
        'options for a diagnosis.'
    )


@pytest.mark.parametrize('transports', WAYS)
def test_a_pinned_host(cli, tls_server, certificates, transports):
    """The certificate has the name of the URL."""
    port = tls_server.port
    done = sent_at_once(
        cli, f'https://localhost:{port}', '--ca', certificates.ca, '--transports', transports,
        '--resolve', f'localhost:{port}:127.0.0.1',
    )  # fmt: skip
    assert was_answered(done), done


@pytest.mark.parametrize('transports', WAYS)
def test_a_pinned_proxy(cli, tls_server, certificates, proxy, transports):
    done = sent_at_once(
        cli, tls_server.url, '--ca', certificates.ca, '--transports', transports,
        '--proxy', f'http://proxy.test:{proxy.port}',
        '--resolve', f'proxy.test:{proxy.port}:127.0.0.1',
    )  # fmt: skip
    assert was_answered(done), done
    assert set(proxy.trips) == {f'CONNECT {tls_server.netloc}'}


def test_no_server_at_the_pinned_address(cli, one_error):
    port = support.free_port()
    error = one_error(
        cli('connect', f'http://a.test:{port}', '--resolve', f'a.test:{port}:127.0.0.9', '-x', 'a')
    )
    assert f': connection refused: no server listens at 127.0.0.9 port {port}. ' in error


def test_a_path_in_the_url_of_the_demo(cli):
    done = cli('demo', '--url', 'http://127.0.0.1:1/socket.io/')
    assert done.code == 2, done
    assert done.err.endswith(
        'Error: the URL has the path /socket.io. Remove it: the demo uses /engine.io/\n'
    )


@pytest.mark.parametrize('command', ['connect', 'probe', 'load'])
@pytest.mark.parametrize('path', ['socket.io', 'a b'])
def test_a_path_in_the_url(cli, command, path):
    """It is not dropped without a word. The error names the option of the command."""
    done = cli(command, f'http://127.0.0.1:1/{path}/?a=b')
    assert done.code == 2, done
    assert done.err.splitlines()[-1] == (
        f'Error: the URL has the path /{path}, but Engine.IO is at --path engine.io. Remove the '
        f'path from the URL. If Engine.IO is there, use --path {shlex.quote(path)}'
    )


@pytest.mark.parametrize('command', ['connect', 'probe', 'load'])
@pytest.mark.parametrize('rest', ['s3cret/s3cret@', '1/s3cret@', '1?s3cret@', '1#s3cret@'])
def test_a_password_that_is_not_quoted_is_not_shown(cli, command, rest):
    done = cli(command, f'http://ann:{rest}127.0.0.1:1/')
    assert done.code == 2, done
    assert 'Error: ' in done.err
    assert 's3cret' not in done.out + done.err
    done = cli(command, 'http://127.0.0.1:1', '--proxy', f'http://ann:{rest}127.0.0.1:1/')
    assert done.code == 2, done
    assert 'not a valid proxy URL: ' in done.err
    assert 's3cret' not in done.out + done.err


def test_the_path_of_the_option_in_the_url(cli, make_js_server):
    server = make_js_server(path='/elsewhere/')
    url = f'{server.url}/elsewhere/'
    assert answers(sent_at_once(cli, url, '--path', 'elsewhere')) == ['hello']


# -- Files of the current directory, prompts and Ctrl-C with a client certificate -----------------


def test_it_imports_nothing_from_the_current_directory(cli, certificates, tmp_path):
    """The script does not, but `python -c` would."""
    script = tmp_path / 'bin' / 'engineio-gevent'
    script.parent.mkdir()
    script.write_text('import sys\nfrom engineio_gevent.cli import main\nsys.exit(main())\n')
    for name in ('gevent', 'click', 'ssl', 'engineio_gevent', 'requests'):
        (tmp_path / f'{name}.py').write_text('print("imported from here")\nraise SystemExit(77)\n')
    done = subprocess.run(
        [
            sys.executable,
            script,
            'connect',
            f'https://127.0.0.1:{support.free_port()}',
            '--cert',
            certificates.client_pem,
            '-x',
            'a',
        ],
        check=False,
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env=cli.environment,
    )
    assert (done.returncode, done.stdout) == (1, '')
    assert done.stderr.startswith('engineio-gevent: cannot connect to ')


@pytest.mark.parametrize('transports', ['polling', 'websocket'])
def test_a_prompt_with_a_client_certificate(cli, mutual_server, certificates, transports):
    terminal = cli.terminal(
        'connect',
        mutual_server.url,
        '--ca',
        certificates.ca,
        '--cert',
        certificates.client_pem,
        '--transports',
        transports,
    )
    terminal.until(lambda text: text.endswith('\n>'))
    for text in ('one', 'two'):
        terminal.type(f'{text}\r')
        terminal.until(lambda shown, text=text: f' < {text}' in shown and shown.endswith('\n>'))
    terminal.type('\x04')
    assert terminal.end() == 0
    assert 'disconnected: client disconnect' in terminal.text


def test_ctrl_c_with_a_client_certificate(cli, mutual_server, certificates):
    process = cli.start(
        'connect',
        mutual_server.url,
        '--ca',
        certificates.ca,
        '--cert',
        certificates.client_pem,
        '--transports',
        'polling',
        '--json',
    )
    sid = json.loads(process.stdout.readline())['sid']
    os.kill(process.pid, signal.SIGINT)
    assert process.wait(20) == 130
    assert process.stderr.read() == ''
    assert mutual_server.close_reason(sid) == 'transport close'

"""The first connect of a process that has few descriptors left: whatever step lacks one.

Each attempt is made by a new process, forked before anything was opened, imported or looked up.
With one descriptor more than the last time, it gets one step further.
"""

import sys

import pytest

import support

pytest.importorskip('resource', reason='Windows has no limit on descriptors')

pytestmark = pytest.mark.skipif(sys.platform != 'linux', reason='it counts in /proc')

CHILD = """
    import os
    import resource
    import sys
    import traceback

    import gevent

    import engineio_gevent

    url, transports, options, most = argv
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)


    def connect_with(limit):
        # The transport, or the error.
        resource.setrlimit(resource.RLIMIT_NOFILE, (limit, hard))
        client = engineio_gevent.Client(request_timeout=20, **options)
        try:
            client.connect(url, transports=transports)
        except engineio_gevent.exceptions.ConnectionError as error:
            return 'failed: ' + str(error)
        else:
            return client.transport()
        finally:
            client.disconnect(abort=True)


    def attempt(few):
        os.closerange(3, 64)
        # gevent aborts the process if its hub or its first native thread has none.
        gevent.get_hub().threadpool.apply(len, ((),))
        used = len(os.listdir('/proc/self/fd')) - 1
        return [connect_with(used + few), connect_with(200)]


    for few in range(most):
        reader, writer = os.pipe()
        if os.fork() == 0:
            os.dup2(writer, 1)
            try:
                say(attempt(few))
            except BaseException:  # of any kind: it is reported
                say(['crash', traceback.format_exc()])
            os._exit(0)
        os.close(writer)
        with open(reader) as pipe:
            print(pipe.read().strip(), flush=True)
        os.wait()
"""


@pytest.fixture
def sweep(script, monkeypatch, tmp_path, certificates):
    """`sweep(url, transports)`: the outcomes with 0, 1, 2.. descriptors."""
    netrc = tmp_path / 'netrc'
    netrc.write_text('machine elsewhere.test login a password b\n')
    netrc.chmod(0o600)
    monkeypatch.setenv('NETRC', str(netrc))
    monkeypatch.setenv('REQUESTS_CA_BUNDLE', certificates.ca)

    def run(url, transports, most=5, **options):
        return script(CHILD, url, transports, options, most).result()

    return run


def check(outcomes, way):
    last = 'polling' if way == ['polling'] else 'websocket'
    for first, recovered in outcomes:
        assert first != 'crash', recovered
        assert recovered == last
        assert first in {'polling', 'websocket'} or first.startswith('failed: ')
    assert outcomes[0][0].startswith('failed: ')
    assert outcomes[-1][0] == last, outcomes


def test_http(sweep, js_server, way):
    check(sweep(f'http://localhost:{js_server.port}', way), way)


def test_tls(sweep, js_server_with, certificates, way):
    server = js_server_with(tls=certificates.tls)
    check(sweep(f'https://localhost:{server.port}', way), way)


@pytest.mark.parametrize('scheme', ['http', 'https', 'socks5h'])
def test_a_proxy(sweep, js_server, monkeypatch, transport, scheme):
    """There is none: `connect()` fails in any case, but with the right exception."""
    monkeypatch.setenv('ALL_PROXY', f'{scheme}://127.0.0.1:{support.free_port()}')
    outcomes = sweep(js_server.url, [transport])
    assert all('Connection refused' in last for first, last in outcomes), outcomes
    assert all(first.startswith('failed: ') for first, _ in outcomes)
    assert 'Too many open files' in outcomes[0][0]


UPGRADE = """
    import os
    import resource

    import engineio_gevent

    (url,) = argv
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    client = engineio_gevent.Client(request_timeout=20)


    @client.on('connect')
    def on_connect():
        resource.setrlimit(resource.RLIMIT_NOFILE, (3, hard))


    client.on('message', say)
    client.connect(url)
    say(client.transport())
    client.send('hello')
    resource.setrlimit(resource.RLIMIT_NOFILE, (200, hard))
    client.wait()
"""


@pytest.mark.parametrize('tls', [False, True], ids=['http', 'https'])
def test_an_upgrade(script, js_server_with, certificates, monkeypatch, tls):
    """Without a descriptor there is none, and polling goes on."""
    monkeypatch.setenv('REQUESTS_CA_BUNDLE', certificates.ca)
    server = js_server_with(**({'tls': certificates.tls} if tls else {}))
    program = script(UPGRADE, server.url)
    assert [program.hear(), program.hear()] == ['polling', 'hello']

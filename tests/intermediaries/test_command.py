"""`engineio-gevent` through proxies: by the proxy alone, and nothing waits for a GET."""

import json
import os
import signal
import sys
from pathlib import Path

import gevent.event
import pytest
from gevent import subprocess

import engineio_gevent
import support

PROJECT = Path(engineio_gevent.__file__).parents[1]

TRANSPORTS = {'polling': 'polling', 'websocket': 'websocket', 'upgraded': 'polling,websocket'}


@pytest.fixture
def command():
    """Start `engineio-gevent` with pipes."""
    started = []

    def start(*arguments, env=()):
        environment = {**os.environ, 'PYTHONPATH': str(PROJECT), **dict(env)}
        process = subprocess.Popen(
            [sys.executable, '-m', 'engineio_gevent', *map(str, arguments)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=environment,
            cwd='/',
            bufsize=1,
        )
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


@pytest.fixture
def talk(command):
    """Start `engineio-gevent connect` with pipes."""
    return lambda url, *arguments, env=(): command('connect', url, '-w', '0', *arguments, env=env)


@pytest.mark.parametrize('given', ['option', 'environment'])
# Not polling: tinyproxy drops kept connections, which ends a polling client's now and then.
@pytest.mark.parametrize('way', ['websocket', 'upgraded'])
def test_an_http_proxy(talk, http_proxy, js_server, way, given):
    how = ['--proxy', http_proxy.url] if given == 'option' else []
    env = {} if how else {'http_proxy': http_proxy.url, 'no_proxy': ''}
    support.converse(talk(js_server.url, *how, '--transports', TRANSPORTS[way], env=env))
    assert http_proxy.trips()


def test_a_socks_proxy(talk, socks_proxy, js_server, way):
    support.converse(
        talk(js_server.url, '--proxy', socks_proxy.url, '--transports', TRANSPORTS[way])
    )
    assert set(socks_proxy.trips()) == {js_server.netloc}


def test_no_proxy(talk, http_proxy, js_server, way):
    support.converse(
        talk(
            js_server.url,
            '--proxy',
            '',
            '--transports',
            TRANSPORTS[way],
            env={'http_proxy': http_proxy.url},
        )
    )
    assert http_proxy.trips() == []


def test_a_proxy_that_wants_credentials(talk, guarded_http_proxy, js_server):
    process = talk(js_server.url, '--proxy', guarded_http_proxy.url_for(None))
    out, err = process.communicate(timeout=20)
    assert (process.returncode, out) == (1, '')
    assert err.startswith(f'engineio-gevent: cannot connect to {js_server.url}: ')
    assert err.count('\n') == 1
    assert '407' in err


# -- All commands, through each kind of proxy ---------------------------------------------------


@pytest.fixture(params=['http', 'https', 'socks'])
def kind(request):
    """The kind of proxy."""
    return request.param


@pytest.fixture
def through(kind, request, certificates):
    """The options of the command for a proxy, and the proxy whose `trips()` count."""
    proxy = request.getfixturevalue(f'{"http" if kind == "https" else kind}_proxy')
    url = request.getfixturevalue(f'{kind}_proxy').url
    return ['--proxy', url, '--ca', certificates.ca], proxy


def passed(proxy, server):
    """All connections to the server were made through the proxy."""
    trips = {trip[1] if isinstance(trip, tuple) else trip for trip in proxy.trips()}
    return trips == {server.netloc}


@pytest.mark.parametrize('way', ['polling', 'websocket', 'upgraded'])
class TestCommands:
    """To a server with TLS, so that tinyproxy only copies bytes. It drops kept HTTP connections."""

    def test_connect(self, talk, through, tls_server, way):
        options, proxy = through
        support.converse(talk(tls_server.url, *options, '--transports', TRANSPORTS[way]))
        assert passed(proxy, tls_server)

    def test_probe(self, command, through, tls_server, way):
        options, proxy = through
        process = command(
            'probe', tls_server.url, '--json', *options, '--transports', TRANSPORTS[way]
        )
        out, err = process.communicate(timeout=support.patience(40))
        assert (process.returncode, err) == (0, '')
        steps = [step['name'] for step in json.loads(out)['runs'][0]['steps']]
        assert 'proxy' in steps
        assert passed(proxy, tls_server)

    def test_load(self, command, through, tls_server, way):
        """Each client waits for its messages. If one of them blocked, the others would be late."""
        options, proxy = through
        process = command(
            'load', tls_server.url, '--clients', 8, '--rate', 5, '--duration', 2, '--json',
            *options, '--transports', TRANSPORTS[way],
        )  # fmt: skip
        out, err = process.communicate(timeout=support.patience(60))
        assert process.returncode == 0, err
        found = json.loads(out)
        assert (found['connected'], found['answered'], found['unsent']) == (8, 80, 0)
        assert found['transports'] == {'polling' if way == 'polling' else 'websocket': 8}
        assert passed(proxy, tls_server)


def output_of(process):
    """The output of a process, while the servers of this process run.

    It is one of gevent's: gevent's loop may take the exit codes of the standard library's.
    """
    assert support.eventually(lambda: process.poll() is not None, 30)
    return process.communicate()[0]


@pytest.mark.parametrize('scheme', ['http', 'socks5', 'https'])
def test_a_silent_proxy_is_given_up_in_time(command, hostile_server, certificates, scheme):
    """Timers run while the command waits for the proxy."""
    tls = {'ssl_context': certificates.server_context()} if scheme == 'https' else {}
    proxy = hostile_server(support.read_to_end, **tls)
    process = command(
        'probe', 'https://127.0.0.1:1', '--timeout', '2', '--ca', certificates.ca,
        '--proxy', f'{scheme}://127.0.0.1:{proxy.port}',
    )  # fmt: skip
    out = output_of(process)
    assert process.returncode == 1
    assert out.rstrip().endswith(
        f'proxy: 127.0.0.1:1 via proxy 127.0.0.1:{proxy.port}: no answer within 2 seconds'
    )


@pytest.mark.parametrize('name', ['SIGINT', 'SIGTERM'])
def test_signals_while_it_waits_for_a_silent_proxy(command, hostile_server, name):
    asked = gevent.event.Event()

    def handle(sock):
        support.read_request(sock)
        asked.set()
        support.read_to_end(sock)

    proxy = hostile_server(handle)
    process = command(
        'connect', 'https://127.0.0.1:1', '--timeout', '50', '--proxy', proxy.url, '-x', 'a',
    )  # fmt: skip
    assert asked.wait(support.patience(20))
    process.send_signal(getattr(signal, name))
    output_of(process)
    assert process.returncode == {'SIGINT': 130, 'SIGTERM': 143}[name]

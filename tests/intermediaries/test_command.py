"""`engineio-gevent connect --proxy`: through the proxy alone, and nothing waits for a GET."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

import engineio_gevent
import support

PROJECT = Path(engineio_gevent.__file__).parents[1]

TRANSPORTS = {'polling': 'polling', 'websocket': 'websocket', 'upgraded': 'polling,websocket'}


@pytest.fixture
def talk():
    """Start `engineio-gevent connect` with pipes."""
    started = []

    def start(url, *arguments, env=()):
        environment = {**os.environ, 'PYTHONPATH': str(PROJECT), **dict(env)}
        process = subprocess.Popen(
            [sys.executable, '-m', 'engineio_gevent', 'connect', url, '-w', '0', *arguments],
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

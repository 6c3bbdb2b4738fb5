"""What a connect imports: requests and websocket-client come when they have something to do."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import engineio_gevent
import support

#: of the environment, what requests has rules for
NAMES = re.compile('(?i).*_proxy|REQUESTS_CA_BUNDLE|CURL_CA_BUNDLE|NETRC')

PROGRAM = """
import sys
import engineio_gevent

client = engineio_gevent.Client(handle_sigint=False, {options})
before = set(sys.modules)
try:
    client.connect(sys.argv[1], transports={transports!r})
    client.send('hello')
    client.disconnect()
except engineio_gevent.exceptions.ConnectionError as exc:
    print('failed', exc.__cause__)
foreign = ('requests', 'urllib3', 'certifi', 'websocket', 'socks', 'idna', 'charset_normalizer')
print(*[name for name in foreign if name in sys.modules])
"""


@pytest.mark.parametrize(
    ('options', 'more', 'tls', 'imported'),
    [
        ('', {}, False, ''),
        ('ssl_verify=sys.argv[2]', {}, True, ''),
        ('', {}, True, 'failed certifi'),
        ('', {'REQUESTS_CA_BUNDLE': 'the authority'}, True, ''),
        ('', {'http_proxy': 'http://127.0.0.1:1', 'no_proxy': '127.0.0.1'}, False, 'requests'),
        ('', {'NETRC': 'the authority'}, False, 'requests'),
    ],
    ids=['plain', 'own-ca', 'tls', 'bundle', 'proxy', 'netrc'],
)
@pytest.mark.parametrize('transports', [['polling'], ['websocket'], None], ids=str)
def test_a_plain_connect_imports_neither(
    js_server_with, certificates, options, more, tls, imported, transports
):
    """requests takes 60 ms of a program's start, and comes when it has something to decide."""
    server = js_server_with(**({'tls': certificates.tls} if tls else {}))
    clean = {name: value for name, value in os.environ.items() if not NAMES.fullmatch(name)}
    more = {
        name: certificates.ca if value == 'the authority' else value for name, value in more.items()
    }
    root = Path(engineio_gevent.__file__).parents[1]
    done = subprocess.run(
        [
            sys.executable,
            '-c',
            PROGRAM.format(options=options, transports=transports),
            server.url,
            certificates.ca,
        ],
        env={**clean, **more, 'PYTHONPATH': str(root), 'HOME': str(root / 'nowhere')},
        capture_output=True,
        text=True,
        timeout=support.patience(30),
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found = done.stdout.split()
    assert found[:1] == ['failed'] or 'failed' not in found
    if imported == 'requests':
        assert 'requests' in found
        assert 'websocket' not in found
    else:
        assert [word for word in found if word in ('failed', 'certifi', 'requests', 'urllib3')] == (
            imported.split()
        ), done.stdout
        assert 'websocket' not in found

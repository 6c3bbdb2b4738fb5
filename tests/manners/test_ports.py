"""A client that comes and goes does not use up the ports of its machine.

The side that closes TCP first keeps its port for a minute (TIME_WAIT), and an upgrade leaves a
polling connection to close.
"""

import sys

import pytest

import support

COUNT = 150
"""Connections, three times as many as there are ports."""

pytestmark = pytest.mark.skipif(sys.platform != 'linux', reason='namespaces are Linux only')


@pytest.mark.parametrize(
    ('transports', 'message'),
    [('websocket', None), ('websocket', 'close'), (None, None), (None, 'drop')],
    ids=['websocket-disconnect', 'websocket-close', 'upgrade-disconnect', 'upgrade-drop'],
)
@pytest.mark.parametrize('server', ['js', 'js tls', 'python'])
def test_connections_leave_their_ports_to_the_next(program, request, server, transports, message):
    kind, _, tls = server.partition(' ')
    server_options = {'tls': request.getfixturevalue('certificates').tls} if tls else {}
    options = {'ssl_verify': False} if tls else {}
    arguments = (kind, server_options, options, transports, message, COUNT)
    one = program('ports.py', *arguments, options=())
    if (reason := one.hear()) is not None:
        support.missing(
            f'a network namespace of its own ({reason})', 'run as root, or allow user namespaces'
        )
    assert one.result() == [[COUNT, None]]

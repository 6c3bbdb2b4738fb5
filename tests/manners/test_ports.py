"""A client that comes and goes does not use up the ports of its machine.

The side that closes TCP first keeps its port for a minute (TIME_WAIT).
"""

import sys

import pytest

import support

COUNT = 300
"""Connections, three times as many as there are ports."""

pytestmark = pytest.mark.skipif(sys.platform != 'linux', reason='namespaces are Linux only')


@pytest.mark.parametrize('who', ['client', 'server'])
@pytest.mark.parametrize('server', ['js', 'js tls', 'python'])
def test_websockets_leave_their_ports_to_the_next(program, request, server, who):
    kind, _, tls = server.partition(' ')
    server_options = {'tls': request.getfixturevalue('certificates').tls} if tls else {}
    client_options = {'ssl_verify': False} if tls else {}
    one = program('ports.py', kind, server_options, client_options, who, COUNT, options=())
    if (reason := one.hear()) is not None:
        support.missing(
            f'a network namespace of its own ({reason})', 'run as root, or allow user namespaces'
        )
    assert one.result() == [[COUNT, None]]

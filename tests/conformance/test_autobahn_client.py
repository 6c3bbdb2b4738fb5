"""The driver of the Autobahn cases, against a server of our own that speaks their protocol."""

from __future__ import annotations

import pytest
from conformance.autobahn_client import Suite, echo, main, run_all
from conformance.case_server import CASES, Case, CaseServer

from support import BINARY, CLOSE, PING, PONG, TEXT, close_frame, frame


@pytest.fixture
def start(hostile_server):
    """`start(cases)`: the handler, and the URL for the driver."""

    def begin(cases=CASES):
        handler = CaseServer(cases)
        return handler, hostile_server(handler).url.replace('http', 'ws')

    return begin


def test_every_case(start, leaks):
    """One test, as it is one run of the driver."""
    handler, url = start()
    with leaks():
        verdicts = run_all(Suite(url, 'agent of the test'))
    assert len(verdicts) == len(CASES) == len({case.name for case in CASES})
    assert {name: what for name, what in verdicts.items() if what != 'OK'} == {}
    assert handler.reports == 1
    assert handler.agents == {'agent of the test'}


def test_the_command(start, capsys):
    cases = [case for case in CASES if case.name in ('1.1.1', '2.2', '7.3.1')]
    handler, url = start(cases)
    assert main([url]) == 0
    assert handler.reports == 1
    said = capsys.readouterr().out
    assert '1: 1 OK' in said
    assert '3 cases' in said


@pytest.mark.parametrize(
    'fault',
    [
        lambda connection, opcode, payload: None,
        lambda connection, opcode, payload: echo(connection, TEXT, 'another'),
        lambda connection, opcode, payload: [echo(connection, opcode, payload) for _ in range(2)],
        lambda connection, opcode, payload: echo(connection, BINARY, payload),
    ],
    ids=['silent', 'wrong', 'twice', 'type'],
)
def test_an_echo_that_is_wrong_fails(start, fault):
    handler, url = start([case for case in CASES if case.name == '1.1.2'])
    assert run_all(Suite(url, on_message=fault)) == {'1.1.2': 'FAILED'}
    assert handler.got[-1] == (CLOSE, 1000)


def test_the_command_says_what_is_bad(start, capsys):
    hello = frame(b'Hello') + close_frame(1000)
    _, url = start(
        [
            Case('9.9.9', hello, [(TEXT, b'something else'), (CLOSE, 1000)]),
            Case('12.1.1', hello, []),
        ]
    )
    assert main([url]) == 1
    said = capsys.readouterr().out
    assert 'bad: 9.9.9 FAILED' in said
    assert '12' not in said.replace('1 cases', '')  # compression is left out


def test_a_server_that_is_gone(start):
    """A case that cannot even be opened is one that failed, and the next goes on."""
    handler, url = start(
        [Case('2.2', frame(b'x', PING) + close_frame(1000), [(PONG, b'x'), (CLOSE, 1000)])] * 2
    )
    original = handler._run
    handler._run = lambda case, sock: sock.close()
    suite = Suite(url)
    assert suite.run(1) == 'FAILED'
    handler._run = original
    assert suite.run(2) == 'OK'

"""`engineio-gevent connect` on a terminal: real keys, and the screen."""

import re
import shlex
import signal
import sys

import pytest

import support

UP = '\x1b[A'
CTRL_C, CTRL_D = '\x03', '\x04'


@pytest.fixture
def talk(cli, js_server):
    """Connect; returns a `Terminal` with the prompt on it."""

    def start(*arguments, url=js_server.url, **options):
        terminal = cli.terminal('connect', url, *arguments, **options)
        terminal.until(lambda text: text.endswith('\n>'))
        return terminal

    return start


def test_a_line_is_sent_and_the_answer_appears_above_the_prompt(talk):
    terminal = talk()
    terminal.type('hello\r')
    terminal.until(lambda text: ' < hello' in text and text.endswith('\n>'))
    connected, hint, typed, answer, prompt = terminal.text.splitlines()
    assert ' * connected by websocket' in connected
    assert hint.endswith(' * Type a message and press Enter to send it. Ctrl-D disconnects.')
    assert typed == '> hello'
    assert answer.endswith(' < hello')
    assert prompt == '>'


def test_what_arrives_does_not_break_the_line_that_is_typed(talk, make_js_server):
    server = make_js_server()
    terminal = talk(url=f'{server.url}/?stream=300&check=1')
    terminal.type('half a li')
    terminal.until(' < s 1')
    terminal.until(lambda text: ' < s 3' in text and text.endswith('\n> half a li'))
    terminal.type('ne')
    terminal.until(lambda text: text.endswith('> half a line'))
    terminal.type(CTRL_C)
    assert terminal.end() == 130


def test_json_is_laid_out_in_colours(talk):
    terminal = talk()
    terminal.type('{"a": [1, null]}\r')
    terminal.until(lambda text: ' < {' in text and text.endswith('\n>'))
    *_, head, opened, one, null, closed, end, prompt = terminal.text.splitlines()
    assert head.endswith(' < {')
    indent = ' ' * head.index('{')
    lines = [f'{indent}{line}' for line in ('  "a": [', '    1,', '    null', '  ]', '}')]
    assert [opened, one, null, closed, end, prompt] == [*lines, '>']
    assert '\x1b[38;5;30m"a"' in terminal.raw


def test_no_color(talk):
    terminal = talk(env={'NO_COLOR': '1'})
    terminal.type('{"a": 1}\r')
    terminal.until('"a": 1')
    assert not re.search(r'\x1b\[[0-9;]*3[1-7]m', terminal.raw.split(' < ')[-1])


def test_the_history_is_kept(talk):
    terminal = talk()
    terminal.type('remember me\r')
    terminal.until(' < remember me')
    terminal.type(CTRL_D)
    assert terminal.end() == 0
    again = talk()
    again.type(UP)
    again.until(lambda text: text.endswith('> remember me'))
    again.type('!\r')
    again.until(' < remember me!')


def test_the_hint_is_no_event(talk, cli, js_server):
    """It is printed for a person at a terminal, not with --json and not in a pipe."""
    terminal = talk('--json')
    assert 'Ctrl-D' not in terminal.text
    assert 'Ctrl-D' not in cli('connect', js_server.url, '-w', '0').out


def test_ctrl_d_leaves(talk, js_server):
    terminal = talk()
    sid = re.search(r'sid (\S+)', terminal.text)[1]
    terminal.type(CTRL_D)
    assert terminal.end() == 0
    assert 'disconnected: client disconnect' in terminal.text
    assert js_server.close_reason(sid) == 'transport close'


def test_ctrl_c_leaves(talk):
    terminal = talk()
    terminal.type('not sent')
    terminal.until('> not sent')
    terminal.type(CTRL_C)
    assert terminal.end() == 130
    assert 'Traceback' not in terminal.text
    assert ' < not sent' not in terminal.text


def test_the_prompt_goes_with_the_connection(talk):
    terminal = talk()
    terminal.type('drop\r')
    assert terminal.end() == 3
    assert 'disconnected: transport error' in terminal.text
    assert not terminal.text.endswith('>')


def test_the_server_closes(talk, python_server):
    terminal = talk(url=python_server.url)
    terminal.type('close\r')
    assert terminal.end() == 0
    _, _, typed, last = terminal.text.splitlines()
    assert typed == '> close'
    assert 'disconnected: server disconnect' in last


def test_what_cannot_be_sent_is_told_and_the_prompt_stays(talk):
    terminal = talk('--hex')
    terminal.type('no hex\r')
    terminal.until('not sent: ')
    terminal.type('ff\r')
    terminal.until('1 bytes')


def test_nothing_that_arrives_is_a_control_sequence(talk, make_js_server):
    terminal = talk()
    terminal.type('numbers 1\r')
    terminal.until(' < 0')
    terminal.type('{"a": "\\u001b[2J\\u009b31m"}\r')
    terminal.until(lambda text: ' < {' in text and text.endswith('\n>'))
    assert ' < 0' in terminal.text  # the screen has not been cleared
    assert '\\u001b[2J' in terminal.text


def test_sigint_from_elsewhere(talk):
    terminal = talk()
    terminal.signal(signal.SIGINT)
    assert terminal.end() == 130


def test_sigterm_leaves_the_terminal_as_it_was(talk):
    terminal = talk()
    terminal.type('half a line')
    terminal.until('> half a line')
    terminal.signal(signal.SIGTERM)
    assert terminal.end() == 143
    # bracketed paste was turned off
    assert terminal.raw.rindex('\x1b[?2004l') > terminal.raw.rindex('\x1b[?2004h')


def test_lines_that_are_pasted_are_one_message(talk):
    terminal = talk('--json')
    terminal.type('\x1b[200~one\ntwo\x1b[201~\r')
    terminal.until(r'"one\ntwo"')


def test_the_server_is_killed_while_a_line_is_typed(talk, make_js_server):
    server = make_js_server()
    terminal = talk(url=server.url)
    terminal.type('half a line')
    terminal.until('> half a line')
    server.kill()
    assert terminal.end() == 3
    assert 'disconnected: transport error' in terminal.text
    assert '\n> half a line\n' in terminal.text


def test_ctrl_z_and_fg(cli, js_server):
    """The shell receives no answers to terminal queries, and the line can be continued."""
    shell = cli.terminal(command=['bash', '--norc', '--noprofile', '-i'], env={'PS1': 'shell$ '})
    shell.until('shell$')
    shell.type(f'{shlex.quote(sys.executable)} -m engineio_gevent connect {js_server.url}\r')
    shell.until(lambda text: text.endswith('\n>'))
    shell.type('half a ')
    shell.until('> half a')
    shell.type('\x1a')
    shell.until(lambda text: 'Stopped' in text and text.endswith('\nshell$'))
    shell.type('echo nothing b""efore\r')
    shell.until('\nnothing before')
    assert '\nshell$ echo nothing' in shell.text
    shell.type('fg\r')
    shell.until(lambda text: text.endswith('\n> half a'))
    shell.type('line\r')
    shell.until(' < half a line')


def test_no_server_on_a_terminal(cli):
    url = f'http://127.0.0.1:{support.free_port()}'
    terminal = cli.terminal('connect', url)
    assert terminal.end() == 1
    assert terminal.text.startswith(f'engineio-gevent: cannot connect to {url}: ')


def test_json_that_would_do_something_to_a_terminal(talk):
    terminal = talk()
    terminal.type('{"a": "\\u009b2J\\u202e\\ud800", "b": 1.00}\r')
    terminal.until(lambda text: ' < {' in text and text.endswith('\n>'))
    *_, name, number, _, _ = terminal.text.splitlines()
    assert name == ' ' * 15 + r'  "a": "\u009b2J\u202e\ud800",'  # unchanged
    assert number == ' ' * 15 + '  "b": 1.00'


def test_a_terminal_without_cursor_movement(cli, js_server):
    terminal = cli.terminal('connect', js_server.url, env={'TERM': 'dumb'})
    terminal.until(' * connected by websocket')
    terminal.type('hello\r')
    terminal.until(' < hello')
    assert '>' not in terminal.text  # messages would follow it on the same line
    terminal.type(CTRL_D)
    assert terminal.end() == 0


@pytest.mark.parametrize('term', ['dumb', 'xterm-256color'])
def test_between_two_lines_the_terminal_is_not_given_back(cli, js_server, term):
    # The terminal would handle Ctrl-D itself and echo keys.
    terminal = cli.terminal('connect', js_server.url, env={'TERM': term})
    terminal.until(' * connected by websocket')
    terminal.until(lambda _: not terminal.edits_lines)
    for number in range(5):
        terminal.type(f'line {number}\r')
        seen = []
        terminal.until(
            lambda text, until=f' < line {number}', seen=seen: (
                seen.append(terminal.edits_lines) or until in text
            )
        )
        assert not any(seen)
    terminal.type(CTRL_D)
    assert terminal.end() == 0

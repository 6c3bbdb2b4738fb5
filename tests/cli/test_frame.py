"""Features of all commands: help, usage errors, completion, signals."""

import os
import re
import shutil
import signal
import socket
import subprocess
import sys

import pytest

import engineio_gevent
import support

COMMANDS = ['connect', 'probe', 'load', 'demo']


@pytest.mark.parametrize('command', [[], *([name] for name in COMMANDS)])
@pytest.mark.parametrize('option', ['-h', '--help'])
def test_help_fits_a_narrow_terminal(cli, command, option):
    done = cli(*command, option, env={'COLUMNS': '80'})
    assert done.code == 0
    assert done.err == ''
    assert done.out.startswith(f'Usage: engineio-gevent {" ".join(command)}'.rstrip())
    examples = [line for line in done.out.splitlines() if line.startswith('    engineio-gevent')]
    assert [line for line in done.out.splitlines() if len(line) > 80 and line not in examples] == []
    assert 'xit codes: 0 ' in ' '.join(done.out.split())


@pytest.mark.parametrize('command', ['connect', 'probe', 'load'])
def test_what_commands_share_stands_apart_in_their_help(cli, command):
    own, shared = cli(command, '--help').out.split('\nConnection options:\n')
    addresses = [] if command == 'load' else [('', '--resolve'), ('', '--unix')]
    assert re.findall(r'^  (-\S+ )?(--\w+)', shared, re.MULTILINE) == [
        ('-H, ', '--header'),
        *(
            ('', f'--{name}')
            for name in ('transports', 'path', 'no', 'ca', 'cert', 'key', 'proxy', 'timeout')
        ),
        *addresses,
    ]
    assert '--help' in own
    assert '--proxy' not in own


def test_the_commands_are_listed_with_what_they_do(cli):
    done = cli('--help', env={'COLUMNS': '80'})
    listed = re.findall(r'^  (\w+)  +(\S.*)$', done.out.split('Commands:')[1], re.MULTILINE)
    assert [name for name, _ in listed] == COMMANDS
    assert all(len(what) > 20 and not what.endswith('...') for _, what in listed)


def test_version(cli):
    assert cli('--version').out == f'engineio-gevent {engineio_gevent.__version__}\n'


@pytest.mark.parametrize(
    ('arguments', 'what'),
    [
        (['conect'], "no command 'conect'. Did you mean 'connect'?"),
        (['zzz'], "no command 'zzz'"),
        (['http://127.0.0.1:5000'], 'Did you mean "connect http://127.0.0.1:5000"?'),
        (['connect'], "Missing argument 'URL'"),
        (['connect', '--frobnicate', 'http://a'], '--frobnicate'),
        (['connect', 'http://a', '-H', 'no colon'], "'no colon' is not of the form NAME:VALUE"),
        (
            ['connect', 'http://a', '--transports', 'pigeon'],
            "'pigeon' is not polling or websocket",
        ),
        (['connect', 'http://a', '--timeout', '0'], '0'),
        (['connect', 'http://a', '--timeout', 'nan'], "'nan' is not a finite number"),
        (['connect', 'http://a', '--wait', 'nan'], "'nan' is not a finite number"),
        (['load', 'http://a', '--rate', 'inf'], "'inf' is not a finite number"),
        (['load', 'http://a', '--duration', 'nan'], "'nan' is not a finite number"),
        (['load', 'http://a', '--duration', '0'], 'not in the range'),
        (['load', 'http://a', '--clients', '0'], 'not in the range'),
    ],
)
def test_mistakes_are_told(cli, arguments, what):
    done = cli(*arguments)
    assert done.code == 2
    assert what in done.err
    assert done.out == ''
    assert 'Traceback' not in done.err


@pytest.mark.parametrize(
    'url', ['ftp://127.0.0.1', 'http://', 'http://a b/', 'http://user:secret@a\x01b/']
)
@pytest.mark.parametrize('command', ['connect', 'probe', 'load'])
def test_urls_that_are_none(cli, command, url):
    done = cli(command, url)
    assert done.code == 2, done
    assert done.err.startswith('Usage: ')
    assert 'Traceback' not in done.err
    assert 'secret' not in done.err
    assert '\x01' not in done.err


def complete(cli, *words):
    """The completions of the last word in bash."""
    done = cli(
        env={
            '_ENGINEIO_GEVENT_COMPLETE': 'bash_complete',
            'COMP_CWORD': str(len(words)),
            'COMP_WORDS': ' '.join(['engineio-gevent', *words]),
        }
    )
    return [line.split(',', 1)[1] for line in done.out.splitlines()]


def test_completion(cli):
    assert complete(cli, 'con') == ['connect']
    assert complete(cli, '') == COMMANDS
    assert '--transports' in complete(cli, 'connect', '--tr')
    assert complete(cli, 'connect', '--transports', 'we') == ['websocket', 'websocket,polling']
    assert complete(cli, 'probe', '--path', '') == ['engine.io', 'socket.io']


def test_completion_of_files_is_left_to_the_shell(cli):
    done = cli(
        env={
            '_ENGINEIO_GEVENT_COMPLETE': 'bash_complete',
            'COMP_CWORD': '3',
            'COMP_WORDS': 'engineio-gevent connect --ca ca',
        }
    )
    assert done.out == 'file,ca\n'


def test_completion_in_a_real_bash(cli, tmp_path):
    """The script for bash works in bash."""
    if shutil.which('bash') is None:
        pytest.skip('there is no bash')
    script = tmp_path / 'engineio-gevent'
    script.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m engineio_gevent "$@"\n')
    script.chmod(0o755)
    program = (
        'eval "$(_ENGINEIO_GEVENT_COMPLETE=bash_source engineio-gevent)"\n'
        'COMP_WORDS=(engineio-gevent connect --transports web) COMP_CWORD=3\n'
        '_engineio_gevent_completion engineio-gevent web --transports\n'
        'echo "${COMPREPLY[@]}"\n'
    )
    path = f'{tmp_path}{os.pathsep}{os.environ["PATH"]}'
    done = subprocess.run(
        ['bash', '-c', program],
        check=False,
        text=True,
        capture_output=True,
        env={**cli.environment, 'PATH': path},
    )
    assert (done.stdout, done.stderr) == ('websocket websocket,polling\n', '')


@pytest.mark.parametrize('shell', ['bash', 'zsh', 'fish'])
def test_completion_scripts(cli, shell):
    done = cli(env={'_ENGINEIO_GEVENT_COMPLETE': f'{shell}_source'})
    assert done.code == 0, done
    assert '_ENGINEIO_GEVENT_COMPLETE' in done.out


def test_help_imports_nothing_of_the_commands(cli):
    program = (
        'import sys; from engineio_gevent.cli import main; main(["--help"]); '
        'print(*sorted(sys.modules))'
    )
    done = subprocess.run(
        [sys.executable, '-c', program],
        env=cli.environment,
        text=True,
        capture_output=True,
        check=True,
    )
    loaded = set(done.stdout.splitlines()[-1].split())
    assert 'engineio_gevent.cli.app' in loaded
    assert not loaded & {
        'prompt_toolkit',
        'asyncio',
        'engineio',
        'rich.progress',
        *(f'engineio_gevent.cli.{name}' for name in COMMANDS),
    }


def test_completion_imports_no_prompt(cli):
    program = (
        'import sys; from engineio_gevent.cli import main\n'
        'try: main([])\n'
        'finally: print(*sorted(sys.modules))'
    )
    done = subprocess.run(
        [sys.executable, '-c', program],
        text=True,
        capture_output=True,
        check=False,
        env={
            **cli.environment,
            '_ENGINEIO_GEVENT_COMPLETE': 'bash_complete',
            'COMP_WORDS': 'engineio-gevent connect --tr',
            'COMP_CWORD': '2',
        },
    )
    assert done.stdout.splitlines()[0] == 'plain,--transports'
    assert not {'prompt_toolkit', 'asyncio', 'engineio'} & set(done.stdout.splitlines()[-1].split())


@pytest.mark.parametrize('missing', ['click', 'rich', 'prompt_toolkit'])
def test_without_the_extra(cli, missing):
    program = (
        'import sys, importlib.util\n'
        'find_spec = importlib.util.find_spec\n'
        'importlib.util.find_spec = lambda name: '
        f'None if name == {missing!r} else find_spec(name)\n'
        'from engineio_gevent.cli import main\n'
        'sys.exit(main(["--help"]))'
    )
    done = subprocess.run(
        [sys.executable, '-c', program],
        check=False,
        env=cli.environment,
        text=True,
        capture_output=True,
    )
    assert done.returncode == 2
    assert done.stderr == (
        f'engineio-gevent: the package {missing!r} is missing. '
        "Run: pip install 'engineio-gevent[cli]'\n"
    )


def test_output_that_the_terminal_cannot_write(cli, js_server):
    done = cli(
        'connect', js_server.url, '-x', 'ü \U0001f600', '-w', '1', env={'PYTHONIOENCODING': 'ascii'}
    )
    assert done.code == 0, done
    assert r' < \xfc \U0001f600' in done.out


def test_sigterm_leaves_in_order(cli, js_server):
    """timeout(1) sends SIGTERM."""
    process = cli.start('connect', js_server.url, '--json', '-v')
    assert any('"connect"' in line for line in process.stdout)
    process.send_signal(signal.SIGTERM)
    out, err = process.communicate(timeout=20)
    assert (process.returncode, err) == (143, '')
    assert '"CLOSE"' in out


@pytest.mark.parametrize('number', [signal.SIGINT, signal.SIGTERM])
def test_signals_while_it_connects(cli, number):
    """A server that never answers."""
    with socket.create_server(('127.0.0.1', 0)) as listener:
        process = cli.start(
            'connect', f'http://127.0.0.1:{listener.getsockname()[1]}', '--timeout', '60'
        )
        sock, _ = listener.accept()
        with sock:
            assert sock.recv(4).startswith(b'GET')
            process.send_signal(number)
            out, err = process.communicate(timeout=20)
            assert (process.returncode, out, err) == (128 + number, '', '')


SIGNAL_IN_A_THREAD = """
import _thread, signal, sys
import gevent
from engineio_gevent.cli import app
sys.setswitchinterval(1000)  # the thread runs when this one waits for an event
with app._interruptible():
    _thread.start_new_thread(lambda: signal.pthread_kill(_thread.get_ident(), signal.SIGTERM), ())
    try:
        gevent.sleep(1000)
    except app.Interrupted as exc:
        print(int(exc.exit_code))
"""


def test_a_signal_does_not_wait_for_an_event():
    done = subprocess.run(
        [sys.executable, '-c', SIGNAL_IN_A_THREAD],
        capture_output=True,
        check=False,
        text=True,
        timeout=support.patience(20),
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, '143\n', '')


@pytest.mark.parametrize(
    'command',
    [
        ['connect', '-x', 'a', '-w', '0'],
        ['probe'],
        ['load', '--clients', '1', '--duration', '0.1'],
        ['load', '--clients', '1', '--duration', '0.1', '--json'],
    ],
)
def test_a_full_disk(cli, js_server, command):
    with open('/dev/full', 'w') as full:
        process = cli.start(*command, js_server.url, stdout=full)
        _, err = process.communicate(timeout=20)
    assert process.returncode == 1
    assert err.splitlines()[-1] == 'engineio-gevent: No space left on device'
    assert 'Traceback' not in err


def test_a_reader_that_leaves(cli, make_js_server):
    server = make_js_server()
    process = cli.start('connect', f'{server.url}/?stream=20&check=1')
    process.stdout.readline()
    process.stdout.close()
    assert process.wait(20) == 1
    assert process.stderr.read() == ''
    process.stdin.close()

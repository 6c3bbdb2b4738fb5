"""What all commands have in common: help, mistakes, completion, endings."""

import re
import subprocess
import sys

import pytest

import engineio_gevent

COMMANDS = ['connect', 'probe', 'load', 'demo']


@pytest.mark.parametrize('command', [[], *([name] for name in COMMANDS)])
@pytest.mark.parametrize('option', ['-h', '--help'])
def test_help_fits_a_narrow_terminal(cli, command, option):
    done = cli(*command, option, env={'COLUMNS': '80'})
    assert done.code == 0
    assert done.err == ''
    assert done.out.startswith(f'Usage: engineio-gevent {" ".join(command)}'.rstrip())
    examples = [line for line in done.out.splitlines() if line.startswith('    engineio-gevent')]
    assert [line for line in done.out.splitlines()
            if len(line) > 80 and line not in examples] == []
    assert 'xit codes: 0 ' in ' '.join(done.out.split())


def test_the_commands_are_listed_with_what_they_do(cli):
    done = cli('--help')
    listed = re.findall(r'^  (\w+)  +(\S.*)$', done.out.split('Commands:')[1], re.MULTILINE)
    assert [name for name, _ in listed] == COMMANDS
    assert all(len(what) > 20 and not what.endswith('...') for _, what in listed)


def test_version(cli):
    assert cli('--version').out == f'engineio-gevent {engineio_gevent.__version__}\n'


@pytest.mark.parametrize(('arguments', 'what'), [
    (['conect'], "no command 'conect'; did you mean 'connect'?"),
    (['zzz'], "no command 'zzz'"),
    (['http://127.0.0.1:5000'], 'did you mean "connect http://127.0.0.1:5000"?'),
    (['connect'], "Missing argument 'URL'"),
    (['connect', '--frobnicate', 'http://a'], '--frobnicate'),
    (['connect', 'http://a', '-H', 'no colon'], "'no colon' is not NAME:VALUE"),
    (['connect', 'http://a', '--transports', 'pigeon'],
     "'pigeon' is neither polling nor websocket"),
    (['connect', 'http://a', '--timeout', '0'], '0'),
])
def test_mistakes_are_told(cli, arguments, what):
    done = cli(*arguments)
    assert done.code == 2
    assert what in done.err
    assert done.out == ''
    assert 'Traceback' not in done.err


@pytest.mark.parametrize('url', [
    'ftp://127.0.0.1', 'http://', 'http://a b/', 'http://user:secret@a\x01b/'])
def test_urls_that_are_none(cli, one_error, url):
    error = one_error(cli('connect', url, '-x', 'a'))
    assert 'secret' not in error
    assert '\x01' not in error


def complete(cli, *words):
    """What bash would be offered for the last word."""
    done = cli(env={
        '_ENGINEIO_GEVENT_COMPLETE': 'bash_complete', 'COMP_CWORD': str(len(words)),
        'COMP_WORDS': ' '.join(['engineio-gevent', *words])})
    return [line.split(',', 1)[1] for line in done.out.splitlines()]


def test_completion(cli):
    assert complete(cli, 'con') == ['connect']
    assert complete(cli, '') == COMMANDS
    assert '--transports' in complete(cli, 'connect', '--tr')
    assert complete(cli, 'connect', '--transports', 'we') == ['websocket', 'websocket,polling']


@pytest.mark.parametrize('shell', ['bash', 'zsh', 'fish'])
def test_completion_scripts(cli, shell):
    done = cli(env={'_ENGINEIO_GEVENT_COMPLETE': f'{shell}_source'})
    assert done.code == 0, done
    assert '_ENGINEIO_GEVENT_COMPLETE' in done.out


def test_help_imports_nothing_of_the_commands(cli):
    program = ('import sys; from engineio_gevent.cli import main; main(["--version"]); '
               'print(*sorted(sys.modules))')
    done = subprocess.run([sys.executable, '-c', program], env=cli.environment, text=True,
                          capture_output=True, check=True)
    loaded = set(done.stdout.split())
    assert not loaded & {'prompt_toolkit', 'asyncio', 'engineio', 'rich.progress',
                         'engineio_gevent.cli.connect', 'engineio_gevent.demo.show'}


@pytest.mark.parametrize('missing', ['click', 'rich', 'prompt_toolkit'])
def test_without_the_extra(cli, missing):
    program = (
        'import sys, importlib.util\n'
        'find_spec = importlib.util.find_spec\n'
        'importlib.util.find_spec = lambda name: '
        f'None if name == {missing!r} else find_spec(name)\n'
        'from engineio_gevent.cli import main\n'
        'sys.exit(main(["--help"]))')
    done = subprocess.run([sys.executable, '-c', program], check=False, env=cli.environment,
                          text=True, capture_output=True)
    assert done.returncode == 2
    assert done.stderr == (f"engineio-gevent: the command needs {missing!r}: "
                           "pip install 'engineio-gevent[cli]'\n")

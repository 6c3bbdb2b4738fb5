"""Every code block of the documentation does what it says.

A comment before a block, `<!-- test: ... -->`, says what is not usual of it:

* `alone`: a program of its own. Without it the Python blocks of a page are one program, in order.
* `file NAME`: it is written to this file, for the commands after it.
* `background`: its command goes on until the page's end.
* `fails N`: its command exits with this code.
* `not run: WHY`: it is only compiled, or not looked at; the test lists these.

An `output` block says what the Python block before it prints; in a `console` block, what follows a
line that begins with `$ ` is what that command prints. In both `...` stands for anything.
"""

import configparser
import dataclasses
import json
import os
import re
import shutil
import sys
from pathlib import Path

import pytest
from gevent import subprocess
from markdown_it import MarkdownIt

import support

ROOT = Path(__file__).resolve().parents[2]
_COMMENT = re.compile(r'<!--\s*test:\s*(.*?)\s*-->', re.DOTALL)
_HOW = re.compile(r'|alone|background|file [\w./-]+|fails \d+|not run: .{20,}')

#: Directives of Sphinx's in which there is no code of ours.
DIRECTIVES = {'{toctree}', '{include}', '{eval-rst}', '{image}', '{figure}', '{glossary}'}


@dataclasses.dataclass
class Block:
    page: str
    line: int
    language: str
    text: str
    how: str = ''

    @property
    def name(self):
        return f'{self.page}:{self.line}'

    @property
    def not_run(self):
        """Why it is not run, or None."""
        return self.how.removeprefix('not run: ') if self.how.startswith('not run: ') else None


def pages():
    """All pages with code, as paths from the top."""
    found = [ROOT / name for name in ('README.md', 'CONTRIBUTING.md', 'SECURITY.md')]
    for folder in ('docs', 'examples', 'benchmarks'):
        found += sorted(
            path for path in (ROOT / folder).rglob('*.md') if 'node_modules' not in path.parts
        )
    return [str(path.relative_to(ROOT)) for path in found if path.exists()]


def blocks(page):
    """The code blocks of a page: fenced ones; an indented one has no language."""
    found = []
    how = ''
    for token in MarkdownIt('commonmark').parse((ROOT / page).read_text()):
        if token.type in ('fence', 'code_block'):
            language = token.info.strip()
            if language.partition(' ')[0] not in DIRECTIVES:
                found.append(Block(page, token.map[0] + 1, language, token.content, how))
                how = ''
        assert not how, f'{page}: a comment {how!r} that stands before no block'
        if token.type == 'html_block' and (comment := _COMMENT.search(token.content)):
            how = ' '.join(comment[1].split())
    return found


PAGES = pages()
BLOCKS = [block for page in PAGES for block in blocks(page)]

#: The languages that a block may have: run, parsed, or without anything to run.
RUN = {'python', 'output', 'console'}
PARSED = {
    'ini': lambda text: configparser.ConfigParser(interpolation=None).read_string(text),
    'json': json.loads,
    'toml': lambda text: pytest.importorskip('tomllib').loads(text),
}
SHOWN = {'text', 'nginx'}

TIMEOUT = 60
EXTRAS = configparser.ConfigParser()
EXTRAS.read(ROOT / 'setup.cfg')
EXTRAS = set(EXTRAS['options.extras_require'])


def by_page(*languages):
    """The pages with blocks of these languages that are run, as test cases."""
    return [
        page
        for page in PAGES
        if any(block.language in languages and not block.not_run for block in blocks(page))
    ]


def test_every_block_has_a_language_that_is_tested():
    known = RUN | PARSED.keys() | SHOWN
    assert [
        f'{block.name} {block.language!r}' for block in BLOCKS if block.language not in known
    ] == []


def test_every_comment_is_one_that_is_obeyed():
    assert [
        f'{block.name} {block.how!r}' for block in BLOCKS if not _HOW.fullmatch(block.how)
    ] == []


def test_a_block_that_is_not_run_says_why(capsys):
    not_run = [block for block in BLOCKS if block.not_run is not None]
    with capsys.disabled():
        for block in not_run:
            print(f'\n{block.name} is not run: {block.not_run}', end='')
    assert len(not_run) <= 15
    for block in not_run:
        if block.language == 'python':
            compile(block.text, block.name, 'exec')


def matches(expected, printed):
    """Whether what was printed is what is expected, where `...` is anything."""
    pattern = '.*?'.join(map(re.escape, expected.strip().split('...')))
    printed = re.sub(r' +$', '', printed, flags=re.MULTILINE)
    return re.fullmatch(pattern, printed.strip(), re.DOTALL) is not None


def replaced(text, others):
    """The text with others in place of these, which may end in a port; what is put in stays."""
    pattern = '|'.join(sorted(map(re.escape, others), key=len, reverse=True))
    return re.sub(rf'({pattern})(?!\d)', lambda found: others[found[0]], text)


@pytest.fixture
def socketio_server(pool):
    """The URL of the example's server."""
    command = [sys.executable, ROOT / 'examples' / 'socketio_server.py', '0']
    return pool.get('socketio_server.py', lambda: support.AnnouncedServer(command)).url


class Here:
    """The folder in which the blocks of a page run, and the servers that replace those it names.

    :param servers: what replaces each address or option of a page.
    :param printed: more texts that a command may print, and what the page has in their place.
    """

    def __init__(self, folder, servers, printed=None):
        self.folder = folder
        self._servers = servers
        self._printed = printed or {}
        self._background = []
        for name in (
            'examples',
            'benchmarks',
            'Makefile',
            'tests',
            'setup.cfg',
            'setup.py',
            'pyproject.toml',
            'docs',
            'engineio_gevent',
            'README.md',
            'tox.ini',
        ):
            (folder / name).symlink_to(ROOT / name)
        self.environment = {
            **os.environ,
            'PYTHONPATH': str(ROOT),
            'PATH': f'{Path(sys.executable).parent}{os.pathsep}{os.environ["PATH"]}',
            'XDG_STATE_HOME': str(folder),
            'COLUMNS': '100',
            'CURL_HOME': str(folder),
            **support.locust_port(),
        }
        # Servers in the background need a while; their readers do, too.
        (folder / '.curlrc').write_text(
            'silent\nfail\nretry = 100\nretry-delay = 1\nretry-connrefused\nretry-max-time = 40\n'
        )

    def mapped(self, text):
        return replaced(text, self._servers)

    def unmapped(self, text):
        # of two names of a server the first
        first = {here: there for there, here in reversed(self._servers.items())}
        return replaced(text, {**first, **self._printed})

    def write(self, block):
        name = block.how.removeprefix('file ').strip()
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(self.mapped(block.text))

    def run(self, arguments, **options):
        return subprocess.run(
            arguments,
            cwd=self.folder,
            env=self.environment,
            text=True,
            timeout=TIMEOUT,
            stdin=subprocess.DEVNULL,
            check=False,
            **options,
        )

    def start(self, command):
        path = self.folder / f'background{len(self._background)}'
        log = open(path, 'w+')  # noqa: SIM115 - stop() closes it
        process = subprocess.Popen(
            ['bash', '-c', f'exec {command}'],
            cwd=self.folder,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )
        self._background.append((process, log))
        assert support.eventually(
            lambda: Path(log.name).read_text() or process.poll() is not None, TIMEOUT
        )
        printed = Path(log.name).read_text()
        assert process.poll() is None, printed
        return self.unmapped(printed)

    def stop(self):
        for process, log in self._background:
            process.terminate()
            process.wait(TIMEOUT)
            log.close()


@pytest.fixture
def here(tmp_path, python_server, socketio_server):
    """A `Here`, with a server that echoes."""
    port, echo_port, socketio_port = (support.free_port() for _ in range(3))
    place = Here(
        tmp_path,
        {
            '127.0.0.1:8000': f'127.0.0.1:{port}',
            '--port 8000': f'--port {port}',
            '127.0.0.1:8001': f'127.0.0.1:{support.free_port()}',
            'http://127.0.0.1:5000': python_server.url,
            'ws://127.0.0.1:5000': python_server.ws_url,
            'http://127.0.0.1:5001': socketio_server,
            'http://example.test': python_server.url,
            'example.com:5000': f'example.com:{python_server.port}',
            'app.test:5000': f'app.test:{python_server.port}',
            'demo --serve': f'demo --serve --port {echo_port}',
            'examples/socketio_server.py': f'examples/socketio_server.py {socketio_port}',
        },
        {
            f'127.0.0.1:{echo_port}': '127.0.0.1:5000',
            f'127.0.0.1:{socketio_port}': '127.0.0.1:5001',
        },
    )
    yield place
    place.stop()


_RUNNER = """
import json, sys
for name, source in json.load(open(sys.argv[1])):
    print('\\0', end='', flush=True)
    exec(compile(source, name, 'exec'), globals())
    sys.stdout.flush()
"""


@pytest.mark.time_limit(120)
@pytest.mark.parametrize('page', by_page('python'))
def test_python(page, here):
    for program in programs(page, here):
        source = here.folder / 'program.json'
        source.write_text(
            json.dumps(
                [(block.name, here.mapped('\n' * block.line + block.text)) for block, _ in program]
            )
        )
        done = here.run([sys.executable, '-W', 'error', '-c', _RUNNER, source], capture_output=True)
        assert done.returncode == 0, f'{page}\n{done.stdout}\n{done.stderr}'
        printed = done.stdout.split('\0')[1:]
        for (block, expected), text in zip(program, printed, strict=True):
            shown = here.unmapped(text)
            assert expected is None or matches(expected, shown), (
                f'{block.name} has printed\n{shown}'
            )


def programs(page, here):
    """The Python blocks of a page by program, each with what it is to print, or None."""
    shared = []
    found = [shared]
    last = None
    for block in blocks(page):
        if block.language == 'output':
            assert last is not None, f'{block.name} follows no block that is run'
            last[1] = block.text
        last = None
        if block.language != 'python' or block.not_run is not None:
            continue
        if block.how.startswith('file '):
            here.write(block)
            continue
        last = [block, None]
        if block.how == 'alone':
            found.append([last])
        else:
            shared.append(last)
    return [program for program in found if program]


def consoles():
    """The console blocks to run together, as (page, lines).

    Each is a test of its own, so that they run side by side, except on a page with commands in the
    background, which later blocks need.
    """
    for page in by_page('console'):
        run = [block for block in blocks(page) if block.language == 'console' and not block.not_run]
        lines = [block.line for block in run]
        together = any(block.how == 'background' for block in run)
        yield from [(page, lines)] if together else [(page, [line]) for line in lines]


@pytest.mark.time_limit(180)
@pytest.mark.parametrize(
    ('page', 'lines'), [pytest.param(*case, id=f'{case[0]}:{case[1][0]}') for case in consoles()]
)
def test_commands(page, lines, here):
    for block in blocks(page):
        if block.not_run is None and block.how.startswith('file '):
            here.write(block)
        if block.line in lines:
            for command, expected in commands(block):
                check_command(block, here.mapped(command), expected, here)


def commands(block):
    """The commands of a block and what each prints; a line that ends in a backslash goes on."""
    pieces = re.split(r'^\$ ', block.text.replace('\\\n', ' '), flags=re.MULTILINE)
    assert pieces[0].strip() == '', f'{block.name} does not begin with "$ "'
    for piece in pieces[1:]:
        command, _, output = piece.partition('\n')
        yield re.sub(r'\s+#.*', '', command).strip(), output


def check_command(block, command, expected, here):
    if 'pip install ' in command:
        check_requirement(block, command)
    elif command.startswith(('git ', 'cd ')):
        pass  # where the reader is, we are already
    elif command.startswith('make '):
        done = here.run(
            ['bash', '-c', command.replace('make ', 'make --dry-run ', 1)], capture_output=True
        )
        assert done.returncode == 0, f'{block.name}: {done.stderr}'
    elif block.how == 'background':
        printed = here.start(command)
        assert not expected.strip() or matches(expected, printed), (
            f'{block.name} has printed\n{printed}'
        )
    else:
        if command.startswith('curl ') and shutil.which('curl') is None:
            pytest.skip(f'{block.name}: there is no curl')
        done = here.run(['bash', '-c', command], stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        code = int(block.how.removeprefix('fails ')) if block.how.startswith('fails ') else 0
        printed = here.unmapped(done.stdout)
        assert done.returncode == code, f'{block.name}: {command}\n{printed}'
        if expected.strip():
            assert matches(expected, printed), f'{block.name} has printed\n{printed}'


def _installed_for_tests():
    """What tox installs besides this package, to run the pages."""
    settings = configparser.ConfigParser(interpolation=None)
    settings.read(ROOT / 'tox.ini')
    return {re.sub(r'[<>=].*', '', line) for line in settings['testenv:docs']['deps'].split()}


#: What else a page may install.
OTHERS = _installed_for_tests()


def check_requirement(block, command):
    """What is installed is this package, with extras that exist, or in the tests, too."""
    for wanted in command.partition('pip install ')[2].split():
        if wanted.startswith('-') or wanted.endswith('requirements.txt'):
            continue
        if wanted.strip("'") in OTHERS:
            continue
        found = re.fullmatch(r"'?(?:engineio-gevent|\.)(?:\[([\w,]+)\])?'?", wanted)
        assert found, f'{block.name}: {wanted}'
        assert set((found[1] or '').split(',')) - {''} <= EXTRAS, f'{block.name}: {wanted}'


def test_names_of_servers_are_replaced_whole_and_once():
    others = {'127.0.0.1:5000': '127.0.0.1:50012', '127.0.0.1:5001': '127.0.0.1:35561'}
    text = '127.0.0.1:5000 127.0.0.1:5001 127.0.0.1:50012'
    assert replaced(text, others) == '127.0.0.1:50012 127.0.0.1:35561 127.0.0.1:50012'


@pytest.mark.parametrize('language', sorted(PARSED))
def test_data(language):
    for block in BLOCKS:
        if block.language == language:
            PARSED[language](block.text)

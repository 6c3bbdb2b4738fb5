"""A user's programs under mypy and pyright, both strict, against the installed package."""

import ast
import importlib.metadata
import importlib.util
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import support

HERE = Path(__file__).parent
FILES = 'user.py', 'wrong.py'
#: The oldest Python that is supported: what it lacks, the hints must not need.
OLDEST = '3.10'

pytestmark = pytest.mark.time_limit(180)


def refuse(reason):
    """Skip; in tox's own environment, where it is not to happen, fail."""
    if os.environ.get('TOX_ENV_NAME') == 'types':
        pytest.fail(reason, pytrace=False)
    pytest.skip(reason)


@pytest.fixture(scope='module')
def installed():
    """The package is installed, and not as a link, where checkers look no further."""
    try:
        files = importlib.metadata.files('engineio-gevent') or ()
    except importlib.metadata.PackageNotFoundError:
        files = ()
    if not any(str(path) == 'engineio_gevent/py.typed' for path in files):
        refuse('it needs the wheel installed: tox run -e types')
    for module in ('mypy', 'pyright', 'locust', 'socketio'):
        if not importlib.util.find_spec(module):
            refuse(f'it needs {module}: tox run -e types')


@pytest.fixture
def folder(tmp_path, installed):
    """A folder with the user's files, far from the checkout."""
    for name in FILES:
        shutil.copy(HERE / name, tmp_path)
    (tmp_path / 'pyrightconfig.json').write_text(
        json.dumps(
            {
                'typeCheckingMode': 'strict',
                'pythonVersion': OLDEST,
                'reportUnnecessaryTypeIgnoreComment': 'error',
                'enableTypeIgnoreComments': False,  # those are mypy's
            }
        )
    )
    return tmp_path


def run(folder, *command):
    """Run a checker's module; returns its exit code and what it printed."""
    # pyright asks the python on the PATH where packages are.
    path = f'{Path(sys.executable).parent}{os.pathsep}{os.environ.get("PATH", "")}'
    environment = {**os.environ, 'PATH': path, 'PYTHONPATH': ''}
    done = subprocess.run(
        [sys.executable, '-m', *command],
        cwd=folder,
        env=environment,
        text=True,
        timeout=170,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        check=False,
    )
    return done.returncode, done.stdout


def test_mypy(folder):
    code, printed = run(
        folder,
        'mypy',
        '--strict',
        '--python-version',
        OLDEST,
        '--config-file=',
        '--cache-dir',
        str(folder / 'cache'),
        *FILES,
    )
    assert code == 0, printed


def test_pyright(folder):
    support.need_node()
    code, printed = run(folder, 'pyright', *FILES)
    assert code == 0, printed


def test_all_that_is_public_has_types(folder):
    """What pyright says of the package itself; it infers types that others would not."""
    support.need_node()
    _, printed = run(
        folder, 'pyright', '--verifytypes', 'engineio_gevent', '--ignoreexternal', '--outputjson'
    )
    symbols = json.loads(printed)['typeCompleteness']['symbols']
    public = [symbol for symbol in symbols if symbol['name'].startswith(PUBLIC)]
    assert len(public) > 100
    wanting = {
        symbol['name']: [found['message'] for found in symbol['diagnostics']]
        for symbol in public
        if not symbol['isTypeKnown'] or symbol['isTypeAmbiguous']
    }
    # What derives from classes of python-socketio, which has no types, is not known as a whole.
    for name, messages in list(wanting.items()):
        if (
            all(
                message.startswith(('Type of metaclass', 'Type of base class'))
                for message in messages
            )
            and 'ocket' in name
        ):
            del wanting[name]
    assert wanting == {}


#: Where the public names are defined.
PUBLIC = tuple(
    f'engineio_gevent.{name}.'
    for name in (
        'Client',
        'addresses',
        'client.Client',
        'exceptions',
        'options.Reason',
        'contrib.socketio',
        *(
            f'contrib.locust.{module}'
            for module in (
                'client',
                'engineio_user',
                'failures',
                'keeping',
                'reports',
                'socketio_client',
                'socketio_user',
            )
        ),
    )
)


# Run on its own: importing locust patches the process.
_NAMES = '''
import ast, inspect, json, textwrap
import locust
import engineio_gevent
from engineio_gevent import addresses, exceptions
from engineio_gevent.contrib import locust as load, socketio

def public(name):
    return not name.startswith('_')

def attributes(kind):
    """What the package's own classes define, and what their methods put on self."""
    found = set()
    for base in kind.__mro__:
        if base.__module__.startswith('engineio_gevent'):
            found.update(vars(base), base.__dict__.get('__annotations__', ()))
            for node in ast.walk(ast.parse(textwrap.dedent(inspect.getsource(base)))):
                if (isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store)
                        and isinstance(node.value, ast.Name) and node.value.id == 'self'):
                    found.add(node.attr)
    return set(filter(public, found))

def parameters(function):
    return {one.name for one in inspect.signature(function).parameters.values()
            if one.name != 'self' and one.kind not in (one.VAR_POSITIONAL, one.VAR_KEYWORD)}

classes = [engineio_gevent.Client, engineio_gevent.Client.reason]
classes += [one for one in vars(exceptions).values()
            if isinstance(one, type) and one.__module__ == exceptions.__name__]
classes += [getattr(load, name) for name in load.__all__]
classes += [getattr(socketio, name) for name in socketio.__all__]
names = {*engineio_gevent.__all__, *addresses.__all__, *load.__all__, *socketio.__all__}
keywords = parameters(engineio_gevent.Client.__init__)
for one in classes:
    names.add(one.__name__)
    names |= attributes(one)
    if issubclass(one, engineio_gevent.Client):
        for name in attributes(one):
            member = inspect.getattr_static(one, name, None)
            if inspect.isfunction(member):
                keywords |= parameters(member)
print(json.dumps([sorted(names), sorted(keywords)]))
'''


def test_the_user_uses_all_that_is_public(installed, tmp_path):
    done = subprocess.run(
        [sys.executable, '-c', _NAMES], cwd=tmp_path, text=True, capture_output=True, check=False
    )
    assert done.returncode == 0, done.stderr
    names, keywords = map(set, json.loads(done.stdout))
    assert {'Client', 'send', 'unsent', 'decoded', 'expect', 'sio', 'shutdown'} <= names
    assert {'http_session', 'engineio_path', 'abort'} <= keywords
    used, passed = set(), set()
    for node in ast.walk(ast.parse((HERE / 'user.py').read_text())):
        match node:
            case ast.Attribute():
                used.add(node.attr)
            case ast.Name():
                used.add(node.id)
            case ast.alias() | ast.FunctionDef():
                used.add(node.name)
            case ast.keyword():
                passed.add(node.arg)
    # Reason is used by the name of `reason`; the others are Locust's, for Locust.
    assert names - used - {'Reason', 'start', 'tasks'} == set()
    assert keywords - passed == set()


def test_what_is_wrong_is_told_of_by_both():
    """Each line of `wrong.py` that ignores an error ignores that of either checker."""
    lines = [line for line in (HERE / 'wrong.py').read_text().splitlines() if 'ignore[' in line]
    assert len(lines) > 30
    assert [
        line for line in lines if '# type: ignore[' not in line or '# pyright: ignore' not in line
    ] == []

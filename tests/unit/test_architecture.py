"""Who may import whom, who writes which field, and that importing does nothing else."""

import ast
import copy
import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

from engineio_gevent.session import Session

NAME = 'engineio_gevent'
ROOT = Path(importlib.util.find_spec(NAME).submodule_search_locations[0])

# What each part may import of the package, apart from itself. Each stands below what it imports.
LAYERS = {
    'printable': set(),
    'exceptions': {'printable'},
    'own_loggers': set(),
    'options': {'own_loggers'},
    'per_hub': set(),
    'disconnect_handler': set(),
    'protocol': {'exceptions'},
    'net': {'exceptions', 'per_hub'},
    'addresses': {'net', 'per_hub'},
    'other_threads': {'per_hub'},
    'dispatcher': {'own_loggers', 'per_hub'},
    'process': {'dispatcher', 'other_threads'},
    'lifecycle': {'options'},
    'heartbeat': {'net', 'per_hub'},
    'handler_calls': {'disconnect_handler', 'dispatcher', 'options', 'own_loggers', 'protocol'},
    'transports': {'exceptions', 'printable', 'protocol', 'net'},
    'outgoing': {
        'handler_calls',
        'lifecycle',
        'options',
        'other_threads',
        'per_hub',
        'printable',
        'protocol',
        'transports',
    },
    'incoming': {
        'exceptions',
        'handler_calls',
        'heartbeat',
        'lifecycle',
        'net',
        'options',
        'outgoing',
        'protocol',
        'transports',
    },
    'session': {
        'exceptions',
        'handler_calls',
        'incoming',
        'lifecycle',
        'net',
        'options',
        'other_threads',
        'outgoing',
        'process',
        'protocol',
        'transports',
    },
    'upgrade': {'exceptions', 'net', 'protocol', 'transports'},
    'connecting': {
        'exceptions',
        'lifecycle',
        'net',
        'options',
        'other_threads',
        'per_hub',
        'session',
        'transports',
        'upgrade',
    },
    'tools': {'net'},
    'client': {
        'connecting',
        'net',
        'options',
        'per_hub',
        'process',
        'protocol',
        'session',
        'tools',
        'transports',
    },
    '': {'exceptions', 'client', 'protocol'},
    'contrib': {
        '',
        'addresses',
        'exceptions',
        'client',
        'disconnect_handler',
        'options',
        'per_hub',
        'printable',
        'process',
        'protocol',
        'net',
        'session',
    },
    'cli': {
        '',
        'addresses',
        'exceptions',
        'client',
        'printable',
        'protocol',
        'net',
        'other_threads',
        'transports',
        'contrib',
    },
    '__main__': {'cli'},
}

# Who alone may import these; a name that ends with a dot stands for all below it.
ONLY = {
    'requests': {
        'transports.caller_session',
        'transports.environment',
        'transports.requests_session',
        'contrib.locust.',
    },
    'click': {'cli.'},
    'prompt_toolkit': {'cli.prompt'},
    'rich': {'cli.'},
    'socksio': {'net.socks'},
    'websocket': {'transports.by_websocket_client', 'transports.websocket_options'},
    'locust': {'contrib.locust.'},
    'socketio': {'contrib.socketio', 'contrib.locust.'},
    'engineio': {'contrib.socketio', 'cli', 'cli.demonstration.'},
}


def module_name(path):
    """`transports.http` of `transports/http.py`, '' of the package's own `__init__.py`."""
    parts = path.relative_to(ROOT).with_suffix('').parts
    return '.'.join(parts[:-1] if parts[-1] == '__init__' else parts)


TREES = {
    module_name(path): ast.parse(path.read_text(), str(path)) for path in sorted(ROOT.rglob('*.py'))
}
PACKAGES = {module_name(path) for path in ROOT.rglob('__init__.py')}

every_module = pytest.mark.parametrize('module', TREES, ids=lambda name: name or '__init__')


def absolute(module, node):
    """The full name of what `from <this> import ..` imports from."""
    if not node.level:
        return node.module
    parts = [NAME, *module.split('.')] if module else [NAME]
    if module not in PACKAGES:
        parts.pop()
    parts = parts[: len(parts) - node.level + 1]
    return '.'.join([*parts, *([node.module] if node.module else [])])


def imports(module):
    """The full names of all modules that this one imports, wherever in its text."""
    found = set()
    for node in ast.walk(TREES[module]):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            source = absolute(module, node)
            for alias in node.names:
                full = f'{source}.{alias.name}'
                if full == f'{NAME}.__version__':
                    continue  # a literal, there before anything is imported
                inner = full.removeprefix(f'{NAME}.')
                found.add(full if source.startswith(NAME) and inner in TREES else source)
    return found


def inner_imports(module):
    """Those of the package: `transports.http`, '' for the package itself."""
    return {
        name.removeprefix(NAME).removeprefix('.')
        for name in imports(module)
        if name.partition('.')[0] == NAME
    }


def layer(module):
    return module.partition('.')[0]


def test_the_reader_of_imports_reads_them():
    """So that the tests below cannot pass by seeing nothing."""
    assert {
        'client',
        'exceptions',
        'protocol.packet',
        'protocol.frames',
        'transports.http',
        'net.stream',
        'session',
        'dispatcher',
        '',
    } <= set(TREES)
    assert inner_imports('') >= {'client', 'exceptions'}
    assert inner_imports('client') >= {'session', 'connecting'}
    assert 'protocol.packet' in inner_imports('incoming')
    assert {'exceptions', 'protocol.frames'} <= inner_imports('transports.websocket')
    assert {'inspect', 'requests'} <= {
        layer(name) for name in imports('transports.requests_session')
    }


@every_module
def test_imports_point_one_way(module):
    own = layer(module)
    assert own in LAYERS, f'{module} has no place in the layout'
    for imported in inner_imports(module):
        assert layer(imported) == own != '' or layer(imported) in LAYERS[own], (
            f'{module} must not import {imported}'
        )


def test_no_part_imports_what_stands_above_it():
    """So there is no circle between parts."""
    seen = set()
    for part, imported in LAYERS.items():
        assert imported <= seen, f'{part} stands above {imported - seen}'
        seen.add(part)


def test_no_module_imports_itself_in_a_circle():
    """Imports for type hints count, too."""
    above = {module: inner_imports(module) & set(TREES) for module in TREES}
    while above:
        free = {module for module, needed in above.items() if not needed & set(above) - {module}}
        assert free, f'circles among {sorted(above)}'
        for module in free:
            del above[module]


@every_module
def test_the_phase_is_written_in_one_file(module):
    """Only the table of transitions decides how far a connection has come."""
    written = [
        node.lineno
        for node in ast.walk(TREES[module])
        if isinstance(node, ast.Attribute)
        and node.attr == 'phase'
        and isinstance(node.ctx, ast.Store)
    ]
    assert bool(written) == (module == 'lifecycle')


@pytest.mark.parametrize(
    'module',
    [
        'client',
        'connecting',
        'handler_calls',
        'incoming',
        'lifecycle',
        'outgoing',
        'session',
        'upgrade',
    ],
)
def test_each_field_of_a_connection_is_written_by_its_owner(module):
    written = [
        ast.unparse(node)
        for node in ast.walk(TREES[module])
        if isinstance(node, ast.Attribute) and isinstance(node.ctx, (ast.Store, ast.Del))
    ]
    assert written
    assert not [target for target in written if not target.startswith('self.')]


@every_module
def test_nobody_else_writes_to_a_connection(module):
    fields = {name for kind in Session.__mro__ for name in getattr(kind, '__slots__', ())}
    assert {'phase', 'transport', 'error'} <= fields
    for node in ast.walk(TREES[module]):
        if isinstance(node, ast.Attribute) and isinstance(node.ctx, (ast.Store, ast.Del)):
            of_session = 'session' in ast.unparse(node.value).lower()
            assert not (of_session and node.attr in fields), ast.unparse(node)


def classes(module):
    """The classes of a file, by name."""
    return {node.name: node for node in ast.walk(TREES[module]) if isinstance(node, ast.ClassDef)}


def find_class(name, module):
    """The file and the class that a name, perhaps with a dot, means in a file.

    It is None for a class of another package.
    """
    if name in classes(module):
        return module, classes(module)[name]
    first, _, rest = name.partition('.')
    for node in ast.walk(TREES[module]):
        if not isinstance(node, ast.ImportFrom):
            continue
        package, _, source = f'{absolute(module, node)}.'.partition('.')
        if package != NAME:
            continue
        for alias in node.names:
            if (alias.asname or alias.name) == first:
                inner = f'{source}{alias.name}' if rest else source.rstrip('.')
                return find_class(rest or alias.name, inner)
    return None


def ancestors(module, cls):
    """The files and the classes of the package that a class inherits from."""
    for base in cls.bases:
        found = find_class(ast.unparse(base).partition('[')[0], module)
        if found is not None:
            yield found
            yield from ancestors(*found)


def slots(cls):
    """The names in `__slots__`, or None for a class without it."""
    for node in cls.body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == '__slots__':
            names = ast.literal_eval(node.value)
            return {names} if isinstance(names, str) else set(names)
    return None


def attributes(cls):
    """The names that the body of a class annotates or assigns, and whether each has a value."""
    found = {}
    for node in cls.body:
        if isinstance(node, ast.AnnAssign):
            found[node.target.id] = node.value is not None
        elif isinstance(node, ast.Assign):
            found.update((target.id, True) for target in node.targets)
    return found


def written(cls):
    """The names that the methods of a class assign or delete as `self.name`."""
    return {
        node.attr
        for method in cls.body
        for node in ast.walk(method)
        if isinstance(node, ast.Attribute)
        and isinstance(node.ctx, (ast.Store, ast.Del))
        and ast.unparse(node.value) == 'self'
    }


def fields(cls):
    """The fields that a class adds to its objects.

    A public attribute of the class with a value is no field. It is an option, and subclasses set
    it: those of the Locust users are documented.
    """
    if (names := slots(cls)) is not None:
        return names
    found = attributes(cls)
    options = {name for name, value in found.items() if value and not name.startswith('_')}
    return (found.keys() | written(cls)) - options


def foreign_writes(module):
    """The fields that the classes of a file assign although another file declares them."""
    for name, cls in classes(module).items():
        above = list(ancestors(module, cls))
        declared, foreign = set(), set()
        for file, one in [(module, cls), *above]:
            if file == module:
                declared |= (slots(one) or set()) | attributes(one).keys()
            else:
                foreign |= fields(one)
        # An object of a class with slots has no other fields: they belong to a subclass.
        wrong = written(cls) if slots(cls) is not None else written(cls) & foreign
        yield from (f'{name}.{field}' for field in sorted(wrong - declared))
        for _, one in above:
            assert not (slots(cls) or set()) & (slots(one) or set()), f'{name} hides a slot'


def test_the_reader_of_classes_reads_them():
    """So that the tests of fields cannot pass by seeing nothing."""

    def chain(module, name):
        return [(file, one.name) for file, one in ancestors(module, classes(module)[name])]

    client = [('client', 'Client'), ('tools', 'Tools')]
    assert chain('session', 'Session') == [
        ('incoming', 'Incoming'),
        ('outgoing', 'Outgoing'),
        ('lifecycle', 'Lifecycle'),
    ]
    assert chain('contrib.locust.client', 'EngineIOClient') == client
    assert chain('contrib.socketio', 'EngineIOClient') == client
    assert chain('contrib.locust.load', 'LoadUser') == [
        ('contrib.locust.engineio_user', 'EngineIOUser'),
        ('contrib.locust.keeping', 'ConnectedUser'),
    ]
    assert fields(classes('lifecycle')['Lifecycle']) == {'phase'}
    assert {'_session', 'logger'} <= fields(classes('client')['Client'])


@every_module
def test_each_field_is_written_in_the_file_that_declares_it(module):
    """A subclass in another file calls a method for that."""
    assert list(foreign_writes(module)) == []


@pytest.mark.parametrize(
    ('module', 'name', 'statement', 'field'),
    [
        ('outgoing', 'Outgoing', 'self.phase = None', 'phase'),
        ('session', 'Session', 'self.phase = None', 'phase'),
        ('session', 'Session', 'self._dropped += 1', '_dropped'),
        ('session', 'Session', 'done, self.transport = True, None', 'transport'),
        ('session', 'Session', 'del self.transport', 'transport'),
        ('session', 'Session', 'for self.transport in (): pass', 'transport'),
        ('outgoing', 'Outgoing', 'self.error = None', 'error'),
        ('contrib.locust.client', 'EngineIOClient', 'self._session = None', '_session'),
    ],
)
def test_a_field_of_another_file_is_found(monkeypatch, module, name, statement, field):
    """So that the test of fields can fail."""
    tree = copy.deepcopy(TREES[module])
    monkeypatch.setitem(TREES, module, tree)
    planted = ast.parse(f'def planted(self):\n    {statement}').body[0]
    classes(module)[name].body.append(planted)
    assert list(foreign_writes(module)) == [f'{name}.{field}']


@every_module
def test_foreign_packages_stay_where_they_belong(module):
    for name in imports(module):
        allowed = ONLY.get(layer(name))
        assert (
            allowed is None
            or module in allowed
            or any(module.startswith(below) for below in allowed if below.endswith('.'))
        ), f'{module} must not import {name}'


@pytest.mark.parametrize('module', [name for name in TREES if layer(name) == 'protocol'])
def test_the_protocol_is_pure(module):
    for name in imports(module):
        top = layer(name)
        assert top in sys.stdlib_module_names or name.startswith(
            (f'{NAME}.protocol', f'{NAME}.exceptions')
        ), f'{module} must not import {name}'
        assert top not in {'asyncio', 'select', 'selectors', 'socket', 'ssl', 'threading', 'time'}


@every_module
def test_only_sockets_watch_descriptors(module):
    calls = [
        node.lineno
        for node in ast.walk(TREES[module])
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr == 'io'
    ]
    # cli.app: signals of the command wake the hub by a pair of sockets
    known = module in {'net.closing', 'net.plain', 'net.race', 'net.stream', 'cli.app'}
    assert bool(calls) == known, f'.io() in lines {calls}'


@every_module
def test_nothing_is_patched(module):
    names = {
        getattr(node, 'attr', None) or getattr(node, 'id', None) or getattr(node, 'name', '')
        for node in ast.walk(TREES[module])
        if isinstance(node, (ast.Attribute, ast.Name, ast.alias))
    }
    assert not {name for name in names if name.startswith('patch_')}


def run(code):
    """Run this in a fresh interpreter; returns what it prints."""
    done = subprocess.run(
        [sys.executable, '-W', 'error', '-c', code],
        text=True,
        timeout=30,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


STILL = """
import atexit, gc, logging, os, signal, sys, threading
import gevent, gevent.hub, greenlet, requests, websocket
import gevent.event, gevent.queue, gevent.ssl

events = []
sys.addaudithook(lambda event, arguments: events.append((event, arguments)) if event in {
    'socket.__new__', 'socket.getaddrinfo', 'signal.pthread_kill', '_thread.start_new_thread',
    'subprocess.Popen', 'os.fork'} else None)

def handlers():
    loggers = [logging.root, *logging.root.manager.loggerDict.values()]
    return {(logger.name, handler) for logger in loggers for handler in getattr(
        logger, 'handlers', ()) if not isinstance(handler, logging.NullHandler)}

def state():
    return {
        'greenlets': sum(isinstance(item, greenlet.greenlet) for item in gc.get_objects()),
        'hub': gevent.hub.get_hub_if_exists() if hasattr(gevent.hub, 'get_hub_if_exists')
            else gevent._hub_local.get_hub_if_exists(),
        'descriptors': os.listdir('/proc/self/fd') if os.path.isdir('/proc/self/fd') else None,
        'log handlers': handlers(),
        'log level': logging.root.level,
        'signal handlers': [signal.getsignal(number) for number in signal.valid_signals()],
        'threads': threading.active_count(),
        'exit functions': atexit._ncallbacks(),
        'patched': list(gevent.monkey.saved) if hasattr(gevent, 'monkey') else [],
        'json': __import__('json').dumps,
        'excepthook': (sys.excepthook, threading.excepthook, sys.unraisablehook),
    }

gc.collect()
before = state()
assert before['hub'] is None, 'the test itself has made a hub'
import engineio_gevent
%s
gc.collect()
after = state()
assert before == after, [(key, before[key], after[key]) for key in before
                         if before[key] != after[key]]
assert not events, events
"""


def test_importing_does_nothing_else():
    assert run(STILL % '') == ''


def test_constructing_does_nothing_else():
    assert (
        run(
            STILL
            % """
client = engineio_gevent.Client()
client.on('message', print)
"""
        )
        == ''
    )


def test_importing_loads_nothing_optional():
    optional = ['engineio', 'locust', 'socketio', 'rich', 'simple_websocket', 'asyncio']
    assert (
        run(f'import {NAME}, sys; print([name for name in {optional} if name in sys.modules])')
        == '[]\n'
    )


def test_the_public_names_are_few():
    assert (
        run(
            f'import {NAME} as it; print(it.Client.__name__, it.exceptions.ConnectionError'
            '.__name__, it.__version__.count("."))'
        )
        == 'Client ConnectionError 2\n'
    )


def test_no_other_thread_changes_a_loop():
    """An `Inbox` is for that."""
    assert [
        name
        for name, tree in TREES.items()
        for node in ast.walk(tree)
        if getattr(node, 'attr', '') == 'run_callback_threadsafe'
    ] == []


# What waits, or makes a timer, and which of its positional arguments is the seconds. The first
# one of join() may be a list of texts.
WAITING = {'sleep': 0, 'timer': 0, 'Timeout': 0, 'wait': 0, 'join': 1, 'joinall': 1}
# Calls whose first argument is something else, and waits of native threads.
OTHER_WAITS = {
    ('cli.connect', 'gevent.wait(waited, count=1)'),
    ('contrib.locust.client', 'awaited.wait(timeout, watch)'),
    ('contrib.locust.client', 'self._presence.wait(lambda: self.usable, timeout, watch)'),
    ('contrib.locust.socketio_client', 'awaited.wait(timeout, watch)'),
    (
        'contrib.locust.socketio_client',
        'self._presence.wait(lambda: self._is_connected(namespace), timeout, watch)',
    ),
    ('contrib.socketio', 'super().wait(timeout)'),
    ('other_threads', 'wait(timeout=min(_LOOK_INTERVAL, left_seconds))'),
    ('net.wakeup', 'loop.timer(seconds)'),
    ('net.deadlines', 'get_hub().loop.timer(self._seconds, priority=-1)'),
    ('net.plain', 'socket.wait(self._watcher)'),
    ('net.plain', 'socket.wait(self._watcher, timer_seconds(self._seconds), expired)'),
}


def seconds_of(call):
    """The expression for the seconds that a call waits, or None."""
    name = getattr(call.func, 'attr', getattr(call.func, 'id', None))
    if name not in WAITING or isinstance(getattr(call.func, 'value', None), ast.Constant):
        return None
    for keyword in call.keywords:
        if keyword.arg == 'timeout':
            return keyword.value
    return call.args[WAITING[name]] if len(call.args) > WAITING[name] else None


def is_constant(node):
    """Of the text or of a module: `5`, `None`, `CLOSE_TIMEOUT`, `_LOOK / 2`, one of the two."""
    if isinstance(node, ast.IfExp):
        return is_constant(node.body) and is_constant(node.orelse)
    if isinstance(node, ast.BinOp):
        return is_constant(node.left) and is_constant(node.right)
    name = getattr(node, 'attr', getattr(node, 'id', ''))
    return isinstance(node, ast.Constant) or name.isupper()


@every_module
def test_no_timer_is_shorter_than_a_loop_takes(module):
    """What is computed or given goes through `timer_seconds()`, as in `Stopwatch.left()`."""
    for node in ast.walk(TREES[module]):
        seconds = seconds_of(node) if isinstance(node, ast.Call) else None
        if seconds is None or is_constant(seconds):
            continue
        through = isinstance(seconds, ast.Call) and ast.unparse(seconds.func) in {
            'timer_seconds',
            'watch.left',
        }
        source = ast.unparse(node).replace('lambda :', 'lambda:')  # Python 3.10's
        assert through or (module, source) in OTHER_WAITS, f'{module}, line {node.lineno}: {source}'


@pytest.mark.parametrize('module', TREES)
def test_no_queue_blocks_the_thread(module):
    """Before gevent 25.4.1 `gevent.queue.SimpleQueue` is not cooperative unless patched."""
    names = {
        alias.name
        for node in ast.walk(TREES[module])
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    assert 'SimpleQueue' not in names


@every_module
def test_no_file_is_long(module):
    path = ROOT.joinpath(*module.split('.')) if module else ROOT
    path = path / '__init__.py' if path.is_dir() else path.with_suffix('.py')
    assert len(path.read_text().splitlines()) <= 450

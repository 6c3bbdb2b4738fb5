"""The fixtures of all tests. They are described where they work, in `support`."""

import gc
import json

import gevent
import gevent.hub
import hypothesis
import pytest

import support
from engineio_gevent import session

TIME_LIMIT = 60
"""Seconds that a test may take on an idle machine, if no `@pytest.mark.time_limit(seconds)` says
something else."""


def pytest_configure(config):
    config.addinivalue_line(
        'markers',
        'time_limit(seconds): the time this test may take on an idle machine, '
        f'instead of {TIME_LIMIT} s',
    )
    # A busy machine is slow, and that is no failure.
    hypothesis.settings.register_profile(
        'patient',
        parent=hypothesis.settings(),
        deadline=None,
        suppress_health_check=[hypothesis.HealthCheck.too_slow],
    )
    hypothesis.settings.load_profile('patient')


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    report = yield
    if report.failed:
        for server in support.ServerProcess.running:
            if text := server.stderr[-5000:]:
                report.sections.append((f'standard error of {server!r}', text))
    return report


@pytest.fixture(autouse=True)
def time_limit(request):
    """No test hangs: it gets `gevent.Timeout` while it waits in the hub.

    One that hangs elsewhere is ended by pytest's `faulthandler_timeout`.
    """
    support.measure_slowness()
    marker = request.node.get_closest_marker('time_limit')
    with gevent.Timeout(support.patience(marker.args[0] if marker else TIME_LIMIT)):
        yield


@pytest.fixture(autouse=True)
def hub_errors(monkeypatch):
    """No exception may end in a hub; a list of those that did, to clear where one is meant."""
    errors = []
    print_exception = gevent.hub.Hub.print_exception

    def remember(hub, context, type_, value, traceback):
        errors.append((context, value))
        print_exception(hub, context, type_, value, traceback)

    monkeypatch.setattr(gevent.hub.Hub, 'print_exception', remember)
    yield errors
    if errors:
        pytest.fail(f'exceptions in the hub: {errors}', pytrace=False)


@pytest.fixture(autouse=True, scope='module')
def little_to_look_through():
    """A look for leaks goes through all objects: those before these tests are none of theirs."""
    gc.collect()
    if hasattr(gc, 'freeze'):  # PyPy has none
        gc.freeze()
    yield
    if hasattr(gc, 'unfreeze'):
        gc.unfreeze()


@pytest.fixture
def unhurried_abort(monkeypatch):
    """However busy the machine is, a live server hears of `disconnect(abort=True)`."""
    monkeypatch.setattr(session, 'ABORT_TIMEOUT', 60)


@pytest.fixture(params=list(support.WAYS))
def way(request):
    """The `transports` of a connect: polling, websocket, polling upgraded to websocket."""
    return support.WAYS[request.param]


@pytest.fixture(params=['polling', 'websocket'])
def transport(request):
    """'polling', then 'websocket'."""
    return request.param


@pytest.fixture
def leaks():
    """`with leaks():` fails where its block leaves descriptors or greenlets behind."""
    return support.no_leaks


def _start_js(**options):
    support.need_node(support.JS_SERVER.parent)
    return support.ServerProcess.js(**options)


STARTERS = {'js': _start_js, 'python': support.ServerProcess.python}


def _factory(start):
    servers = []

    def make(**options):
        servers.append(start(**options))
        return servers[-1]

    yield make
    for server in servers:
        server.stop()


@pytest.fixture
def make_js_server():
    """Start the JavaScript server: `make_js_server(pingInterval=300)`."""
    yield from _factory(_start_js)


@pytest.fixture
def make_python_server():
    """Start the python-engineio server, with the options of the JavaScript one."""
    yield from _factory(support.ServerProcess.python)


@pytest.fixture(params=list(STARTERS))
def make_any_server(request):
    """`make_js_server`, then `make_python_server`."""
    yield from _factory(STARTERS[request.param])


@pytest.fixture(scope='session')
def pool():
    """The `support.Pool` of all processes that tests share.

    A test may suspend and resume them; what it kills it has to start for itself.
    """
    pool = support.Pool()
    yield pool
    pool.stop()


def _shared(pool, kind, number=0):
    return lambda **options: pool.get(
        (kind, number, json.dumps(options, sort_keys=True)), lambda: STARTERS[kind](**options)
    )


@pytest.fixture
def js_server_with(pool):
    """`js_server_with(pingInterval=300)`: a JavaScript server that others may use, too."""
    return _shared(pool, 'js')


@pytest.fixture
def python_server_with(pool):
    """`js_server_with` for python-engineio."""
    return _shared(pool, 'python')


@pytest.fixture
def pair(pool):
    """`pair('js', pingInterval=300)`: two servers of this kind that others may use, too."""
    return lambda kind, **options: tuple(
        _shared(pool, kind, number)(**options) for number in (1, 2)
    )


@pytest.fixture
def js_server(js_server_with):
    """The JavaScript server as it is without options; others may use it, too."""
    return js_server_with()


@pytest.fixture
def python_server(python_server_with):
    """The python-engineio server as it is without options; others may use it, too."""
    return python_server_with()


@pytest.fixture(params=list(STARTERS))
def any_server(request):
    """`js_server`, then `python_server`."""
    return request.getfixturevalue(f'{request.param}_server')


@pytest.fixture
def hostile_server():
    """`hostile_server(handler)` starts a `support.HostileServer`."""
    servers = []

    def start(handler, **kwargs):
        servers.append(support.HostileServer(handler, **kwargs))
        return servers[-1]

    yield start
    for server in servers:
        server.stop()


@pytest.fixture(scope='session')
def certificates(tmp_path_factory):
    """A `support.Certificates`."""
    return support.Certificates(tmp_path_factory.mktemp('certificates'))


@pytest.fixture(params=['orjson', 'msgspec.json', 'ujson', 'rapidjson'])
def json_package(request):
    """A JSON package."""
    return support.need_json_package(request.param)

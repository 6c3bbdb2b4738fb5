"""Real intermediaries in processes of their own: nginx, HAProxy, tinyproxy, microsocks.

Each runs in the foreground on a port of 127.0.0.1, with a configuration and files in a folder of
its own, and ends with the test or the session. Without the programs these tests are skipped.
"""

import contextlib
import dataclasses
import importlib.util
import itertools
import json
import os
import re
import shutil
import signal
import string
import sys
from pathlib import Path
from urllib.parse import quote

import gevent.select
import pytest
from gevent import subprocess

import support

HERE = Path(__file__).resolve().parent
PATCHED_CLIENT = HERE / 'patched_client.py'
ROUTE_VARIABLES = (
    'REQUESTS_CA_BUNDLE',
    'CURL_CA_BUNDLE',
    'SSL_CERT_FILE',
    'SSL_CERT_DIR',
    'WEBSOCKET_CLIENT_CA_BUNDLE',
    'NETRC',
)
# Debian has them where not every user's PATH leads.
SEARCH = os.pathsep.join([os.environ.get('PATH', os.defpath), '/usr/sbin', '/usr/local/sbin'])
#: Debian's packages with another name than the program's
PACKAGES = {'nginx': 'nginx-light'}


def program(name):
    """The path of a program."""
    path = shutil.which(name, path=SEARCH)
    return path or support.missing(name, f'apt-get install {PACKAGES.get(name, name)}')


def require_module(name, package):
    """Skip without this module."""
    if importlib.util.find_spec(name) is None:
        support.missing(package, 'pip install "engineio-gevent[socks]"')


# -- Intermediaries -----------------------------------------------------------------------------


class Intermediary:
    """A program between client and server, in the foreground, that listens on `port`.

    :param folder: where it finds its configuration and leaves its files.
    :param settings: what the template of its configuration is filled with.
    """

    name = ''
    #: its configuration's template, in this folder
    template = ''

    def __init__(self, folder, **settings):
        self.folder = folder
        self.settings = settings
        self._program = program(self.name)
        self._log_path = folder / 'log'
        for attempt in itertools.count():  # somebody else may take the port meanwhile
            self.port = support.free_port()
            if self._start():
                break
            self.stop()
            assert attempt < 3, f'{self.name} does not listen; its log:\n{self.log}'

    def command(self):
        """The arguments of the program."""
        raise NotImplementedError

    def configure(self, **settings):
        """Fill the template in and write it; the path."""
        self.settings.update(settings)
        text = string.Template((HERE / self.template).read_text()).substitute(
            self.settings, folder=self.folder, port=self.port
        )
        path = self.folder / self.template
        path.write_text(text)
        return path

    def _start(self):
        arguments = self.command()
        with open(self._log_path, 'ab') as log:
            self._process = subprocess.Popen(
                [self._program, *map(str, arguments)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        return (
            support.eventually(
                lambda: support.listens(self.port) or not self.alive, support.START_TIMEOUT
            )
            and self.alive
        )

    @property
    def alive(self):
        """Whether the process has not ended."""
        return self._process.poll() is None

    @property
    def url(self):
        return f'http://127.0.0.1:{self.port}'

    @property
    def log(self):
        """What it has written so far."""
        return self._log_path.read_text(errors='replace')

    def signal(self, number):
        self._process.send_signal(number)

    def stop(self):
        """End it, and the workers that it has."""
        if self.alive:
            self._process.terminate()
        if not support.eventually(lambda: not self.alive):
            self._process.kill()
            self._process.wait(10)


class Balancer(Intermediary):
    """Before two servers, with cookie stickiness.

    :param servers: the two.
    :param tls: a `support.Certificates`, to serve https.
    :param idle: the time-out of a silent connection, as the program wants it written.
    :param keepalive: the time-out between two requests on a connection.
    :param buffering: whether it takes a whole body before it hands any of it on.
    """

    def __init__(
        self,
        folder,
        servers,
        tls=None,
        idle='60s',
        keepalive='60s',
        buffering=True,
        shutdown_timeout='60s',
        **settings,
    ):
        self.servers = servers
        self._tls = tls
        self._buffering = buffering
        super().__init__(
            folder,
            port_a=servers[0].port,
            port_b=servers[1].port,
            idle=idle,
            keepalive=keepalive,
            shutdown_timeout=shutdown_timeout,
            **settings,
        )

    @property
    def url(self):
        return f'{"https" if self._tls else "http"}://127.0.0.1:{self.port}'

    def server_of(self, sid):
        """The one of the two servers that has this client; the other must not know it."""
        having = [server for server in self.servers if server.requests(sid)]
        assert len(having) == 1, f'{len(having)} servers have had {sid}'
        return having[0]

    def workers(self):
        """The processes that serve, by their ids."""
        found = subprocess.run(
            ['ps', '-o', 'pid=', '--ppid', str(self._process.pid)],
            capture_output=True,
            text=True,
            check=False,
        )
        return {int(pid) for pid in found.stdout.split()}

    def reload(self):
        """Read the configuration again; returns once other workers serve new connections."""
        before = self.workers()
        self.signal(self.reload_signal)
        assert support.eventually(lambda: self.workers() - before, 10), self.log


class Nginx(Balancer):
    name, template, reload_signal = 'nginx', 'nginx.conf', signal.SIGHUP

    UPGRADE = (
        'proxy_set_header Upgrade $http_upgrade;\n'
        '            proxy_set_header Connection $connection_upgrade;'
    )

    def __init__(self, folder, servers, upgrade=True, gzip='off', max_body='10m', **options):
        #: the headers that a websocket needs, which people forget
        forgotten = {'http_version': '1.0', 'upgrade_headers': ''}
        given = {'http_version': '1.1', 'upgrade_headers': self.UPGRADE}
        super().__init__(
            folder,
            servers,
            gzip=gzip,
            max_body=max_body,
            **(given if upgrade else forgotten),
            **options,
        )

    def command(self):
        certificate = self._tls and (
            f'ssl_certificate {self._tls.server_cert};\n'
            f'        ssl_certificate_key {self._tls.server_key};'
        )
        path = self.configure(
            # what root starts would run as nobody, who may not enter the folder
            user='user root;' if os.geteuid() == 0 else '',
            tls='ssl' if certificate else '',
            certificate=certificate or '',
            buffering='on' if self._buffering else 'off',
        )
        return ['-e', self.folder / 'error.log', '-p', self.folder, '-c', path]

    @property
    def log(self):
        return super().log + (self.folder / 'error.log').read_text(errors='replace')


class RedirectingNginx(Intermediary):
    """Redirects `/engine.io/`; `/engine.io` is the server's.

    :param server: the server.
    :param target: what the `Location` is, the query apart.
    """

    name, template = 'nginx', 'redirect.conf'

    def __init__(self, folder, server, target='/engine.io', status=308):
        super().__init__(folder, server=server.port, target=target, status=status)

    def command(self):
        # what root starts would run as nobody, who may not enter the folder
        path = self.configure(user='user root;' if os.geteuid() == 0 else '')
        return ['-e', self.folder / 'error.log', '-p', self.folder, '-c', path]

    @property
    def asked(self):
        """Paths and statuses of all requests so far."""
        lines = (self.folder / 'access.log').read_text().splitlines()
        fields = [line.split('"') for line in lines]
        return [(one[1].split(' ')[1].partition('?')[0], int(one[2].split()[0])) for one in fields]


@pytest.fixture
def redirecting_nginx(tmp_path):
    """`redirecting_nginx(server, ...)` starts a `RedirectingNginx`."""
    running = []

    def start(server, **options):
        folder = tmp_path / f'nginx{len(running)}'
        folder.mkdir()
        running.append(RedirectingNginx(folder, server, **options))
        return running[-1]

    yield start
    for one in running:
        one.stop()


class HAProxy(Balancer):
    name, template, reload_signal = 'haproxy', 'haproxy.cfg', signal.SIGUSR2

    def command(self):
        tls = ''
        if self._tls:
            pem = self.folder / 'server.pem'
            pem.write_bytes(
                Path(self._tls.server_key).read_bytes() + Path(self._tls.server_cert).read_bytes()
            )
            tls = f'ssl crt {pem}'
        path = self.configure(
            tls=tls, buffering='option http-buffer-request' if self._buffering else ''
        )
        return ['-W', '-f', path]


BALANCERS = {'nginx': Nginx, 'haproxy': HAProxy}


class Proxy(Intermediary):
    """A forward proxy.

    :param user: wants this user.
    :param password: and this password.
    """

    scheme = ''

    def __init__(self, folder, user=None, password=None):
        self.user, self.password = user, password
        super().__init__(folder)

    @property
    def netloc(self):
        return f'127.0.0.1:{self.port}'

    @property
    def url(self):
        """Its URL with the credentials that it wants."""
        return self.url_for(self.user, self.password)

    def url_for(self, user, password='', scheme=None):
        """Its URL with other credentials."""
        who = '' if user is None else f'{quote(user, safe="")}:{quote(password, safe="")}@'
        return f'{scheme or self.scheme}://{who}{self.netloc}'

    def trips(self):
        """What has gone through it since the last call, in order."""
        found = re.findall(self.trip, self.log)
        new, self._seen = found[self._seen :], len(found)
        return new

    trip = ''
    _seen = 0


class TinyProxy(Proxy):
    """An HTTP proxy; a trip is (method, URL or host:port)."""

    name, template, scheme = 'tinyproxy', 'tinyproxy.conf', 'http'
    trip = r'Request \(file descriptor \d+\): (\S+) (\S+)'

    def command(self):
        auth = f'BasicAuth {self.user} {self.password}' if self.user else ''
        return ['-d', '-c', self.configure(auth=auth)]


class MicroSocks(Proxy):
    """A SOCKS5 proxy; a trip is host:port."""

    name, scheme = 'microsocks', 'socks5'
    trip = r'connected to (\S+)'

    def command(self):
        who = ['-u', self.user, '-P', self.password] if self.user else []
        return ['-i', '127.0.0.1', '-p', self.port, *who]


class TLSFront(Proxy):
    """HAProxy as nothing but TLS, before another proxy; a trip is 1 with a client's certificate."""

    name, template, scheme = 'haproxy', 'tls_front.cfg', 'https'
    trip = r'client certificate: (\d)'

    def __init__(self, folder, target, certificates):
        self.user, self.password = target.user, target.password
        (folder / 'server.pem').write_bytes(
            Path(certificates.server_key).read_bytes() + Path(certificates.server_cert).read_bytes()
        )
        # Without a user and a password of its own.
        Intermediary.__init__(self, folder, target=target.port, authority=certificates.ca)

    def command(self):
        return ['-f', self.configure()]


# -- A client in a process of its own -----------------------------------------------------------


class PatchedClient:
    """A process that connects as it is told, one job after the other; see `patched_client.py`.

    :param unavailable: modules that it cannot import.
    :param patches: whether it monkey-patches.
    """

    def __init__(self, *unavailable, patches=True):
        kept = {
            name: value
            for name, value in os.environ.items()
            if not name.lower().endswith('_proxy') and name not in ROUTE_VARIABLES
        }
        path = os.pathsep.join([str(support.PROJECT), str(HERE.parent)])
        self._process = subprocess.Popen(
            [sys.executable, '-W', 'error', PATCHED_CLIENT, *unavailable],
            env={**kept, 'PYTHONPATH': path, 'NETRC': os.devnull, 'PATCHES': str(int(patches))},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )

    @property
    def pid(self):
        return self._process.pid

    @property
    def alive(self):
        """Whether the process has not ended."""
        return self._process.poll() is None

    def __call__(self, url, way=None, **job):
        """Do a job; its report, an `Outcome`.

        :param way: a key of `support.WAYS`, for the transports.
        """
        job.setdefault('transports', support.WAYS[way] if way else None)
        for attempt in range(1, 4):
            outcome = self._do(url, job)
            assert not outcome.left, f'left open: {outcome}'
            outcome.attempts = attempt
            # tinyproxy closes its connections after each answer and does not say so in it. requests
            # sends the next request over them all the same, now and then.
            if 'Remote end closed connection without response' not in (outcome.lost or ''):
                break
        return outcome

    def _do(self, url, job):
        try:
            self._process.stdin.write(json.dumps({'url': url, **job}).encode() + b'\n')
            self._process.stdin.flush()
            report = json.loads(self._line())
        except BaseException:  # the next job must not read this one's report
            self._process.kill()
            self._process.wait()
            raise
        assert 'crash' not in report, report['crash']
        return Outcome(**report)

    def _line(self):
        line = b''
        stdout = self._process.stdout.fileno()
        while not line.endswith(b'\n'):
            gevent.select.select([stdout], [], [])
            chunk = os.read(stdout, 65536)
            assert chunk, 'the patched client has ended'
            line += chunk
        return line

    def stop(self):
        with contextlib.suppress(BrokenPipeError):  # it has ended, and a job was not read
            self._process.stdin.close()
        if not support.eventually(lambda: not self.alive):
            self._process.kill()
        self._process.wait(10)
        self._process.stdout.close()


@dataclasses.dataclass
class Outcome:
    """What a job has come to."""

    #: the transport in the end, if it connected
    transport: str | None
    sid: str | None
    #: what came back of what was sent
    echoes: list
    #: the ports that this process was connected to while the client was
    peers: list
    #: the exception of `connect()` and its causes: [[type, text], ..]
    errors: list
    #: the cookies of the client in the end: {name: value}
    cookies: dict
    #: what was logged, from INFO on
    log: list
    #: why the connection was lost before everything had come back
    lost: str | None
    #: the ports that it was still connected to in the end
    left: list
    seconds: float
    #: how often it was tried, see `PatchedClient`
    attempts: int = 1

    @property
    def text(self):
        """The first argument of the exception of `connect()`."""
        assert self.errors, 'it connected'
        assert self.errors[0][0] == 'ConnectionError'
        assert len(self.errors) > 1, 'no cause is chained'
        return self.errors[0][1]


# -- Fixtures -----------------------------------------------------------------------------------


@pytest.fixture
def servers(request, pair):
    """Two servers, JavaScript's unless the test says something else."""
    return pair(getattr(request, 'param', 'js'))


@pytest.fixture
def pinging(pair):
    """Two servers that ping every 300 ms."""
    return pair('js', pingInterval=300, pingTimeout=2000)


@pytest.fixture(params=list(BALANCERS))
def balancer_kind(request):
    """The class of nginx, then of HAProxy."""
    return BALANCERS[request.param]


@pytest.fixture
def balancer(running, balancer_kind, servers):
    """`balancer(idle='1s')`: nginx, then HAProxy, before `servers`; others may use it, too."""
    return lambda servers=servers, **options: running(balancer_kind, servers, **options)


@pytest.fixture
def nginx(running, servers):
    """`balancer` for what nginx alone has."""
    return lambda **options: running(Nginx, servers, **options)


@pytest.fixture
def running(pool, tmp_path_factory):
    """`running(kind, *args, **options)`: an intermediary that others may use, too."""

    def get(kind, *args, **options):
        return pool.get(
            (kind, args, tuple(sorted(options.items()))),
            lambda: kind(tmp_path_factory.mktemp(kind.name), *args, **options),
        )

    return get


@pytest.fixture
def start(tmp_path_factory):
    """`start(kind, ...)`: an intermediary of this test alone."""
    made = []

    def begin(kind, *args, **options):
        made.append(kind(tmp_path_factory.mktemp(kind.name), *args, **options))
        return made[-1]

    yield begin
    for one in made:
        one.stop()


@pytest.fixture(params=list(support.WAYS))
def way(request):
    """polling, websocket, polling upgraded to websocket: a key of `support.WAYS`."""
    return request.param


@pytest.fixture
def way_transports(way):
    """The argument of `connect()` for this way."""
    return support.WAYS[way]


@pytest.fixture(params=['http', 'https'])
def scheme(request):
    return request.param


@pytest.fixture
def origin(scheme, request):
    """A server of that scheme."""
    return request.getfixturevalue({'http': 'js_server', 'https': 'tls_server'}[scheme])


@pytest.fixture
def env(certificates):
    """The environment of a client that trusts the test's authority."""
    return {'REQUESTS_CA_BUNDLE': certificates.ca}


@pytest.fixture
def http_proxy(running):
    """An HTTP proxy without credentials."""
    return rested(running(TinyProxy))


@pytest.fixture
def guarded_http_proxy(running):
    """An HTTP proxy that wants credentials."""
    return rested(running(TinyProxy, 'someone', 'pass.word-1'))


@pytest.fixture
def https_proxy(running, certificates, http_proxy):
    """`http_proxy`, behind TLS."""
    return rested(running(TLSFront, http_proxy, certificates))


@pytest.fixture
def guarded_https_proxy(running, certificates, guarded_http_proxy):
    """`guarded_http_proxy`, behind TLS."""
    return rested(running(TLSFront, guarded_http_proxy, certificates))


@pytest.fixture
def socks_proxy(running):
    """A SOCKS5 proxy without credentials."""
    require_module('socksio', 'socksio')
    return rested(running(MicroSocks))


@pytest.fixture
def guarded_socks_proxy(running):
    """A SOCKS5 proxy that wants credentials, such as must be quoted in a URL."""
    require_module('socksio', 'socksio')
    return rested(running(MicroSocks, 'some@one', 'pass:w/rd?%'))


def rested(proxy):
    """A proxy whose `trips()` begin now."""
    proxy.trips()
    return proxy


@pytest.fixture
def tls_server(js_server_with, certificates):
    """A JavaScript server with TLS."""
    return js_server_with(tls=certificates.tls)


@pytest.fixture
def patched(pool):
    """A `PatchedClient` that others use, too."""
    return pool.get(PatchedClient, PatchedClient)


@pytest.fixture
def bare_patched(pool):
    """A `PatchedClient` without what SOCKS needs."""
    unavailable = 'socksio', 'socks', 'python_socks'
    return pool.get(unavailable, lambda: PatchedClient(*unavailable))


@pytest.fixture
def unpatched(pool):
    """A `PatchedClient` that does not patch."""
    return pool.get('unpatched', lambda: PatchedClient(patches=False))

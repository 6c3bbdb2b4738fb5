"""The page on `websocket_extra_options` names all that websocket-client has, and is right."""

import ast
import base64
import contextlib
import io
import logging
import re
import shutil
import socket as stdlib_socket
import ssl
import struct
import subprocess
import sys
import warnings
from importlib import util
from pathlib import Path

import gevent
import pytest
import websocket
from gevent import socket

import engineio_gevent
import support
from engineio_gevent.exceptions import ConnectionError
from engineio_gevent.net import tls
from engineio_gevent.transports import websocket_options

PAGE = Path(__file__).resolve().parents[2] / 'docs' / 'reference' / 'websocket-options.md'


def first_cells(heading):
    table = PAGE.read_text().split(f'\n## {heading}\n')[1].split('\n## ')[0]
    return [
        re.split(r' \| ', line)[0] for line in re.findall(r'^\| (.+) \|$', table, re.MULTILINE)[1:]
    ]


def names(heading):
    return [name for cell in first_cells(heading) for name in re.findall(r'`([^`]+)`', cell)]


# -- The page names all ----------------------------------------------------------------------------

SOURCES = {
    name: ast.parse(Path(util.find_spec(f'websocket.{name}').origin).read_text())
    for name in ('_core', '_http', '_handshake', '_url', '_socket', '_logging')
}


def looked_up(mapping, *files):
    """The keys that code takes from a dictionary of this name."""
    found = set()
    for file in files:
        for node in ast.walk(SOURCES[file]):
            key = None
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
                if ast.unparse(node.func.value) == mapping and node.func.attr in ('get', 'pop'):
                    key = node.args[0]
            elif isinstance(node, ast.Subscript) and ast.unparse(node.value) == mapping:
                key = node.slice
            elif isinstance(node, ast.Compare) and ast.unparse(node.comparators[0]) == mapping:
                key = node.left
            if isinstance(key, ast.Constant):
                found.add(key.value)
    return found


def parameters(name):
    """Those of a function, or of the constructor of a class, of `_core`."""
    for node in ast.walk(SOURCES['_core']):
        if isinstance(node, ast.ClassDef) and node.name == name:
            node = next(one for one in node.body if getattr(one, 'name', '') == '__init__')
        if isinstance(node, ast.FunctionDef) and node.name in (name, '__init__'):
            if node.name == '__init__' and name != 'WebSocket':
                continue
            return {one.arg for one in node.args.args} - {'self', 'url'}
    raise AssertionError(name)


def test_every_keyword_is_on_the_page():
    keywords = parameters('create_connection') | parameters('WebSocket')
    keywords |= looked_up('options', '_core', '_http', '_handshake')
    listed = names('Keyword arguments')
    keywords_listed = [cell.strip('`') for cell in first_cells('Keyword arguments')]
    assert listed == keywords_listed
    assert sorted(listed) == sorted(keywords)


def test_every_key_of_sslopt_is_on_the_page():
    keys = looked_up('sslopt', '_http') | looked_up('user_sslopt', '_http')
    assert sorted(names('Keys of `sslopt`')) == sorted(keys)
    assert keys == tls.SSLOPT


def environment_variables():
    for tree in SOURCES.values():
        for node in ast.walk(tree):
            if not isinstance(node, ast.FunctionDef):
                continue
            texts = {
                one.args[0]
                for one in ast.walk(node)
                if isinstance(one, ast.Call) and ast.unparse(one.func) == 'os.environ.get'
            }
            for text in texts:
                if isinstance(text, ast.Constant):
                    yield text.value
                else:  # a variable, in lower and upper case
                    name = ast.unparse(text).partition('.')[0]
                    for one in ast.walk(node):
                        if isinstance(one, ast.Assign) and ast.unparse(one.targets[0]) == name:
                            for value in ast.walk(one.value):
                                if isinstance(value, ast.Constant):
                                    yield value.value
                                    yield value.value.upper()


def test_every_environment_variable_is_on_the_page():
    assert sorted(names('Environment variables')) == sorted(set(environment_variables()))


def test_every_global_setting_is_on_the_page():
    """A function that assigns a global variable."""
    functions = {
        f'websocket.{node.name}()'
        for tree in SOURCES.values()
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef)
        and any(isinstance(one, ast.Global) for one in ast.walk(node))
    }
    assert functions <= set(names('Global settings'))
    variables = {
        target.id
        for tree in SOURCES.values()
        for node in tree.body
        if isinstance(node, (ast.Assign, ast.AnnAssign))
        for target in getattr(node, 'targets', [getattr(node, 'target', None)])
        if isinstance(target, ast.Name) and not target.id.startswith('__')
    }
    # Those that are constants, or belong to the two functions.
    variables -= {'VERSION', 'SUPPORTED_REDIRECT_STATUSES', 'SUCCESS_STATUSES'}
    variables -= {'_HEADERS_TO_CHECK', '_default_timeout', '_logger', '_traceEnabled'}
    variables -= {'_trace_handler', '_default_level', 'HAVE_PYTHON_SOCKS'}
    # The other two rows.
    assert variables == {'CookieJar', 'DEFAULT_SOCKET_OPTION'}
    assert len(first_cells('Global settings')) == len(functions) + len(variables)


# -- What it says is so ----------------------------------------------------------------------------


class Spy:
    """A server that keeps the requests' lines and the frames' bytes.

    :param headers: of its response, (name, value) pairs.
    """

    def __init__(self, headers=(), redirect=None):
        self.headers = headers
        self.redirect = redirect
        self.lines = []
        self.keys = []
        self.texts = []

    def __call__(self, sock):
        head = b''
        while not head.endswith(b'\r\n\r\n'):
            head += support.read_exactly(sock, 1)
        lines = head.decode().split('\r\n')[:-2]
        self.lines.append(lines)
        if self.redirect is not None and len(self.lines) == 1:
            support.respond(sock, status='302 Found', headers=[('Location', self.redirect)])
            return
        fields = [line.partition(': ')[::2] for line in lines[1:]]
        request = support.HTTPRequest('GET', '', {n.lower(): v for n, v in fields}, b'')
        support.accept_websocket(sock, request, self.headers)
        support.send_frame(sock, support.open_packet())
        while True:
            first, second = support.read_exactly(sock, 2)
            size = second & 0x7F
            if size == 126:
                (size,) = struct.unpack('!H', support.read_exactly(sock, 2))
            elif size == 127:
                (size,) = struct.unpack('!Q', support.read_exactly(sock, 8))
            self.keys.append(support.read_exactly(sock, 4))
            masked = support.read_exactly(sock, size)
            self.texts.append(
                bytes(byte ^ self.keys[-1][at % 4] for at, byte in enumerate(masked[:100]))
            )
            if first & 15 == support.CLOSE:
                return
            support.send_frame(sock, f'4{size}')

    def values(self, name):
        """Those of the last request's headers of this name."""
        return [line.partition(': ')[2] for line in self.lines[-1] if line.startswith(f'{name}:')]


class Row:
    """What the check of a row works with."""

    def __init__(self, hostile_server, certificates, monkeypatch, tmp_path):
        self._start = hostile_server
        self.certificates = certificates
        self.monkeypatch = monkeypatch
        self.tmp_path = tmp_path
        self.clients = []

    def serve(self, handler, **options):
        return self._start(handler, **options)

    def connect(self, options, handler=None, *, secure=False, client=None, headers=None, url=None):
        """Connect with these options, send two messages, disconnect; the spy."""
        spy = handler or Spy()
        if url is None:
            context = self.certificates.server_context() if secure else None
            url = self._start(spy, ssl_context=context).url
        messages = []
        one = engineio_gevent.Client(
            websocket_extra_options=options,
            handle_sigint=False,
            **{'request_timeout': 5, **(client or {})},
        )
        one.on('message', messages.append)
        self.clients.append(one)
        one.connect(url, headers, transports='websocket')
        one.send('hello')
        one.send('x' * 70000)
        assert support.eventually(lambda: len(messages) == 2)
        one.disconnect()
        return spy

    def fails(self, options, match, **settings):
        with pytest.raises((ConnectionError, ValueError), match=match) as caught:
            self.connect(options, **settings)
        return caught.value

    def trusting(self, **sslopt):
        return {'sslopt': {'ca_certs': self.certificates.ca, **sslopt}}


@pytest.fixture
def row(hostile_server, certificates, monkeypatch, tmp_path, hub_errors):
    for name in ('REQUESTS_CA_BUNDLE', 'CURL_CA_BUNDLE', *names('Environment variables')):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(websocket_options, '_warned', set())
    monkeypatch.setattr(tls, '_keys_announced', False)
    made = Row(hostile_server, certificates, monkeypatch, tmp_path)
    yield made
    for one in made.clients:
        one.disconnect(abort=True)
    # A server's greenlet ends with this where its client refuses the certificate.
    hub_errors[:] = [one for one in hub_errors if not isinstance(one[1], ssl.SSLError)]


def silent(sock):
    support.read_to_end(sock)


def timeout(row):
    # A step fails sooner than request_timeout.
    server = row.serve(silent)
    row.fails({'timeout': 0.1}, 'timed out', url=server.url, client={'request_timeout': 3600})

    # One that lasts longer than request_timeout succeeds.
    class Slow(Spy):
        def __call__(self, sock):
            gevent.sleep(0.5)
            super().__call__(sock)

    row.connect({'timeout': 3600}, Slow(), client={'request_timeout': 0.1})
    late = 'timed out|request_timeout'
    row.fails({'sockopt': ()}, late, handler=Slow(), client={'request_timeout': 0.1})


def class_(row):
    class Mine(websocket.WebSocket):
        def connect(self, url, **options):
            super().connect(url, **{**options, 'header': ['X-Class: yes']})

        def recv(self):
            raise AssertionError

    with pytest.warns(RuntimeWarning, match=r'Mine.recv\(\) is not called'):
        spy = row.connect({'class_': Mine, 'of_the_class': 1})
    assert spy.values('X-Class') == ['yes']


def header(row):
    for form in ({'X-A': '1'}, ['X-A: 1'], [('X-A', '1')]):
        assert row.connect({'header': form}, headers={'X-A': 'other'}).values('X-A') == ['1']
    assert row.connect({'header': ['X-A: 1', 'X-A: 2']}).values('X-A') == ['1', '2']
    row.fails({'header': {'X-A': '1\r\nX-B: 2'}}, 'X-A')


def cookie(row):
    spy = row.connect({'cookie': 'a=1'}, headers={'Cookie': 'b=2'})
    assert spy.values('Cookie') == ['a=1']
    elsewhere = Spy()
    url = row.serve(elsewhere).url.replace('127.0.0.1', 'localhost')
    row.connect({'cookie': 'a=1', 'redirect_limit': 1}, Spy(redirect=url))
    assert elsewhere.values('Cookie') == []


def origin(row):
    assert row.connect({'origin': 'http://a.test'}).values('Origin') == ['http://a.test']
    assert 'Origin: ' in row.connect({'origin': ''}).lines[-1]


def suppress_origin(row):
    assert row.connect({'suppress_origin': True, 'origin': 'http://a.test'}).values('Origin') == []


def host(row):
    assert row.connect({'host': 'a.test'}).values('Host') == ['a.test']
    elsewhere = Spy()
    server = row.serve(elsewhere)
    row.connect({'host': 'a.test', 'redirect_limit': 1}, Spy(redirect=server.url))
    assert elsewhere.values('Host') == [f'127.0.0.1:{server.port}']


def suppress_host(row):
    assert row.connect({'suppress_host': True, 'host': 'a.test'}).values('Host') == []


def connection(row):
    spy = row.connect({'connection': 'Connection: keep-alive, Upgrade'})
    assert spy.values('Connection') == ['keep-alive, Upgrade']


def subprotocols(row):
    chosen = Spy([('Sec-WebSocket-Protocol', 'b')])
    row.connect({'subprotocols': ['a', 'b']}, chosen)
    assert chosen.values('Sec-WebSocket-Protocol') == ['a,b']
    row.fails({'subprotocols': ['a']}, 'Sec-WebSocket-Protocol', handler=chosen)
    row.fails({'subprotocols': ['a']}, 'Sec-WebSocket-Protocol')
    # To websocket-client, one that was not asked for is no fault.
    row.connect({'sockopt': ()}, chosen)


def redirect_limit(row):
    url = row.serve(Spy()).url
    row.fails({'timeout': 5}, 'Unexpected status code 302', handler=Spy(redirect=url))
    elsewhere = Spy()
    url = row.serve(elsewhere).url
    secret = {'Authorization': 'Basic abc', 'X-A': '1'}
    row.connect({'redirect_limit': 1}, Spy(redirect=url), headers=secret)
    assert elsewhere.values('Authorization') == []
    assert elsewhere.values('X-A') == ['1']
    again = Spy()
    row.fails({'redirect_limit': 1}, '302', handler=Spy(redirect=row.serve(Endless(again)).url))


class Endless:
    def __init__(self, spy):
        self.spy = spy

    def __call__(self, sock):
        support.read_request(sock)
        support.respond(sock, status='302 Found', headers=[('Location', '/elsewhere')])


def socket_(row):
    spy = Spy()
    server = row.serve(spy)
    nowhere = 'http://127.0.0.1:9'

    def make(connect):
        return connect(('127.0.0.1', server.port))

    for kind in (socket.create_connection, stdlib_socket.create_connection):
        row.connect({'socket': lambda kind=kind: make(kind)}, url=nowhere)
        used = make(kind)
        row.connect({'socket': used}, url=nowhere)
        row.fails({'socket': used}, 'the socket is closed', url=nowhere)


def sockopt(row):
    one = row.serve(Spy())
    option = (stdlib_socket.SOL_SOCKET, stdlib_socket.SO_RCVBUF, 4096)
    client = engineio_gevent.Client(
        websocket_extra_options={'sockopt': [option]},
        sockopt=[(stdlib_socket.SOL_SOCKET, stdlib_socket.SO_SNDBUF, 8192)],
    )
    row.clients.append(client)
    client.connect(one.url, transports='websocket')
    ours = socket_of(client)
    assert ours.getsockopt(*option[:2]) == 2 * 4096
    assert ours.getsockopt(stdlib_socket.SOL_SOCKET, stdlib_socket.SO_SNDBUF) == 2 * 8192


def socket_of(client):
    return client._session.transport._stream._sock


def sslopt(row):
    row.connect(row.trusting(), secure=True)
    with pytest.warns(RuntimeWarning, match='sslopt: cacerts has no effect'):
        row.fails({'sslopt': {'cacerts': row.certificates.ca}}, 'certificate', secure=True)


class Tunnel:
    """A proxy that keeps the head of CONNECT."""

    def __init__(self, wait=0):
        self.heads = []
        self.wait = wait

    def __call__(self, sock):
        request = support.read_request(sock)
        self.heads.append(request)
        gevent.sleep(self.wait)
        host, _, port = request.target.rpartition(':')
        with socket.create_connection((host, int(port))) as there:
            sock.sendall(b'HTTP/1.1 200 OK\r\n\r\n')
            back = gevent.spawn(_pump, there, sock)
            _pump(sock, there)
            back.join()


def _pump(one, other):
    with contextlib.suppress(OSError):
        while data := one.recv(65536):
            other.sendall(data)
        other.shutdown(stdlib_socket.SHUT_WR)


def through(row, options=(), tunnel=None, **settings):
    """Connect through a proxy; what the proxy has seen."""
    tunnel = tunnel or Tunnel()
    proxy = row.serve(tunnel)
    options = {'http_proxy_host': '127.0.0.1', 'http_proxy_port': proxy.port, **dict(options)}
    row.connect(options, **settings)
    return tunnel.heads


def http_proxy_host(row):
    row.monkeypatch.setenv('http_proxy', 'http://127.0.0.1:9')
    assert len(through(row)) == 1


def http_proxy_port(row):
    assert len(through(row)) == 1
    with pytest.warns(RuntimeWarning, match='http_proxy_port has no effect without'):
        row.connect({'http_proxy_port': 9})
    # Without a port, that of the scheme: nothing listens there.
    for kind, port in (('http', 80), ('socks5', 1080)):
        row.fails({'http_proxy_host': '127.0.0.2', 'proxy_type': kind}, f'proxy 127.0.0.2:{port}')


def http_proxy_auth(row):
    (head,) = through(row, {'http_proxy_auth': ('me', 's3')})
    token = base64.b64encode(b'me:s3').decode()
    assert head.headers['proxy-authorization'] == f'Basic {token}'


def http_no_proxy(row):
    for listed, count in ((['127.0.0.0/8'], 0), (['a.test', '127.0.0.1'], 0), (['a.test'], 1)):
        assert len(through(row, {'http_no_proxy': listed})) == count
        kind = {'proxy_type': 'socks5'} if count == 0 else {}
        assert len(through(row, {'http_no_proxy': listed, **kind})) == count
    row.monkeypatch.setenv('no_proxy', '127.0.0.1')
    assert through(row) == []
    assert len(through(row, {'http_no_proxy': ['a.test']})) == 1


def http_proxy_timeout(row):
    server = row.serve(silent)
    row.fails(
        {
            'http_proxy_host': '127.0.0.1',
            'http_proxy_port': server.port,
            'http_proxy_timeout': 0.1,
        },
        'timed out',
        client={'request_timeout': 3600},
    )
    slow = Tunnel(wait=1.5)
    short = {'request_timeout': 1}
    assert len(through(row, {'http_proxy_timeout': 3600}, slow, client=short)) == 1


def proxy_type(row):
    row.fails({'http_proxy_host': 'a', 'proxy_type': 'ftp'}, 'proxy_type must be one of')
    if util.find_spec('socksio') is None:
        support.missing('socksio', 'pip install "engineio-gevent[socks]"')
    greetings = []

    def socks(sock):
        greetings.append(support.read_exactly(sock, 1))

    server = row.serve(socks)
    given = {'http_proxy_host': '127.0.0.1', 'http_proxy_port': server.port}
    for kind in ('socks4', 'socks4a', 'socks5', 'socks5h'):
        row.fails({**given, 'proxy_type': kind, 'http_proxy_auth': ('me', '')}, 'proxy')
    assert greetings == [b'\4', b'\4', b'\5', b'\5']
    hello = []
    server = row.serve(lambda sock: hello.append(support.read_exactly(sock, 1)))
    row.fails({**given, 'http_proxy_port': server.port, 'proxy_type': 'https'}, 'proxy')
    assert hello == [b'\x16']  # of TLS


def get_mask_key(row):
    asked = []

    def key(size):
        asked.append(size)
        return f'ke{len(asked):02}' if len(asked) % 2 else f'ke{len(asked):02}'.encode()

    spy = row.connect({'get_mask_key': key})
    assert spy.keys[:2] == [b'ke01', b'ke02']
    assert len(set(spy.keys)) == len(spy.keys) >= 4  # a CLOSE packet, a close frame
    assert spy.texts[:2] == [b'4hello', b'4' + b'x' * 99]
    assert spy.texts[-1] == b'\x03\xe8'
    assert set(asked) == {4}


def skip_utf8_validation(row):
    for option in (True, False):
        server = row.serve(invalid_text)
        one = engineio_gevent.Client(websocket_extra_options={'skip_utf8_validation': option})
        row.clients.append(one)
        one.connect(server.url, transports='websocket')
        one.wait()
        assert 'invalid UTF-8' in str(one.disconnect_error)


def invalid_text(sock):
    support.accept_websocket(sock)
    support.send_frame(sock, support.open_packet())
    support.send_frame(sock, b'4\xff')
    support.read_to_end(sock)


def enable_multithread(row):
    for option in (True, False):
        row.connect({'enable_multithread': option})


def fire_cont_frame(row):
    row.connect({'fire_cont_frame': False})
    for more in ({}, {'class_': websocket.WebSocket}):
        websocket_options._warned.clear()
        with pytest.warns(RuntimeWarning, match='fire_cont_frame has no effect'):
            row.connect({'fire_cont_frame': True, **more})
    # Delivered whole.
    whole = []

    def in_pieces(sock):
        support.accept_websocket(sock)
        support.send_frame(sock, support.open_packet())
        support.send_frame(sock, b'4one ', fin=False)
        support.send_frame(sock, b'message', 0)
        support.read_to_end(sock)

    one = engineio_gevent.Client(websocket_extra_options={'fire_cont_frame': True})
    row.clients.append(one)
    one.on('message', whole.append)
    one.connect(row.serve(in_pieces).url, transports='websocket')
    assert support.eventually(lambda: whole)
    assert whole == ['one message']


def dispatcher(row):
    with pytest.warns(RuntimeWarning, match='dispatcher has no effect'):
        row.connect({'dispatcher': object()})


KEYWORDS = {
    name.strip('_') if name == 'socket_' else name: function
    for name, function in list(globals().items())
    if name in {*(keyword for keyword in names('Keyword arguments')), 'socket_'}
    and callable(function)
}


# A row without effect must not warn by accident: warnings are errors.
@pytest.mark.filterwarnings('error::RuntimeWarning')
@pytest.mark.parametrize('keyword', names('Keyword arguments'))
def test_keyword(keyword, row):
    KEYWORDS[keyword](row)


@pytest.mark.parametrize('given', [{'nonsense': 1}, {'fire_cont_frame': True}])
def test_a_warning_comes_once(row, given):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter('always')
        row.connect(given)
        row.connect(given)
    assert len(caught) == 1
    assert str(caught[0].message).startswith('websocket_extra_options: ')


# -- sslopt ----------------------------------------------------------------------------------------


class TLSSpy(Spy):
    def __call__(self, sock):
        self.sock = sock
        self.version, self.cipher = sock.version(), sock.cipher()[0]
        self.certificate = sock.getpeercert()
        super().__call__(sock)


def secure(row, options, context=None, **settings):
    """Connect by TLS to a server with this context; what it has seen."""
    spy = TLSSpy()
    server = row.serve(spy, ssl_context=context or row.certificates.server_context())
    row.connect(options, spy, url=server.url, **settings)
    return spy


def by_another_name(row):
    return row.certificates.server_context('other.test')


def context(row):
    own = ssl.create_default_context(cafile=row.certificates.ca)
    secure(row, {'sslopt': {'context': own, 'cert_reqs': 0, 'ca_certs': '/nowhere'}})
    strange = ssl.create_default_context()
    row.fails(
        {'sslopt': {'context': strange}}, 'certificate', secure=True, client={'ssl_verify': False}
    )


def cert_reqs(row):
    secure(row, {'sslopt': {'cert_reqs': ssl.CERT_NONE}})
    row.fails({'sslopt': {'cert_reqs': ssl.CERT_REQUIRED}}, 'certificate', secure=True)
    required = row.trusting(cert_reqs=ssl.CERT_REQUIRED)
    secure(row, required, client={'ssl_verify': False})
    error = row.fails(
        {'sslopt': {'cert_reqs': ssl.CERT_NONE, 'check_hostname': True}},
        'check_hostname cannot be enabled when cert_reqs is CERT_NONE',
    )
    assert isinstance(error, ValueError)
    # So it is in websocket-client.
    with pytest.raises(websocket.WebSocketException, match='cannot be enabled'):
        from websocket._http import _wrap_sni_socket

        _wrap_sni_socket(None, {'cert_reqs': ssl.CERT_NONE, 'check_hostname': True}, '', True)


def check_hostname(row):
    other = by_another_name(row)
    secure(row, row.trusting(check_hostname=False), other)
    spy = TLSSpy()
    server = row.serve(spy, ssl_context=other)
    row.fails(row.trusting(), 'certificate', url=server.url)
    row.fails(row.trusting(check_hostname=True), 'certificate', url=server.url)


def ca_certs(row):
    secure(row, row.trusting())
    row.fails({'sslopt': {}, 'timeout': 5}, 'certificate', secure=True)
    row.fails({'sslopt': {'ca_certs': '/nowhere.pem'}}, 'nowhere.pem', secure=True)
    row.monkeypatch.setenv('REQUESTS_CA_BUNDLE', row.certificates.ca)
    secure(row, {'sslopt': {}, 'timeout': 5})


def openssl(*arguments):
    if shutil.which('openssl') is None:
        support.missing('openssl', 'apt-get install openssl')
    subprocess.run(['openssl', *arguments], check=True)


def folder(row):
    path = row.tmp_path / 'authorities'
    path.mkdir(exist_ok=True)
    (path / 'ca.pem').write_bytes(Path(row.certificates.ca).read_bytes())
    openssl('rehash', path)
    return str(path)


def ca_cert_path(row):
    secure(row, {'sslopt': {'ca_cert_path': folder(row)}})


def mutual(row):
    context = row.certificates.server_context()
    context.load_verify_locations(row.certificates.ca)
    context.verify_mode = ssl.CERT_REQUIRED
    return context


def certfile(row):
    shown = secure(row, row.trusting(certfile=row.certificates.client_pem), mutual(row))
    assert 'client@example.test' in str(shown.certificate)
    wrong = {'ssl_cert': (row.certificates.server_cert, row.certificates.server_key)}
    shown = secure(
        row, row.trusting(certfile=row.certificates.client_pem), mutual(row), client=wrong
    )
    assert 'client@example.test' in str(shown.certificate)


def keyfile(row):
    files = {'certfile': row.certificates.client_cert, 'keyfile': row.certificates.client_key}
    assert 'client@example.test' in str(secure(row, row.trusting(**files), mutual(row)).certificate)


def encrypted_key(row):
    path = row.tmp_path / 'encrypted.key'
    options = ['-in', row.certificates.client_key, '-aes256', '-passout', 'pass:s3cret']
    openssl('pkey', *options, '-out', path)
    return str(path)


def password(row):
    files = {'certfile': row.certificates.client_cert, 'keyfile': encrypted_key(row)}
    for good in ('s3cret', lambda: 's3cret'):
        shown = secure(row, row.trusting(**files, password=good), mutual(row))
        assert 'client@example.test' in str(shown.certificate)
    row.fails(row.trusting(**files, password='wrong'), 'encrypted.key', secure=True)


def cert_chain(row):
    for kind in (tuple, list):
        chain = kind([row.certificates.client_cert, encrypted_key(row), 's3cret'])
        shown = secure(row, row.trusting(cert_chain=chain), mutual(row))
        assert 'client@example.test' in str(shown.certificate)
    wrong = {'ssl_cert': (row.certificates.server_cert, row.certificates.server_key)}
    shown = secure(row, row.trusting(cert_chain=chain), mutual(row), client=wrong)
    assert 'client@example.test' in str(shown.certificate)
    row.fails(row.trusting(cert_chain=chain[:2]), 'cert_chain must be')


def ciphers(row):
    server = row.certificates.server_context()
    server.maximum_version = ssl.TLSVersion.TLSv1_2
    chosen = 'ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256'
    assert secure(row, row.trusting(ciphers=chosen), server).cipher.endswith('AES128-GCM-SHA256')
    row.fails(row.trusting(ciphers='nonsense'), 'cipher', secure=True)


def ecdh_curve(row):
    server = row.certificates.server_context()
    server.set_ecdh_curve('prime256v1')
    secure(row, row.trusting(ecdh_curve='prime256v1'), server)
    server = row.certificates.server_context()
    server.set_ecdh_curve('prime256v1')
    spy = Spy()
    url = row.serve(spy, ssl_context=server).url
    row.fails(row.trusting(ecdh_curve='secp384r1'), '(?i)alert|handshake', url=url)
    row.fails(row.trusting(ecdh_curve='nonsense'), '(?i)curve', secure=True)


def ssl_version(row):
    with warnings.catch_warnings():
        warnings.simplefilter('ignore', DeprecationWarning)
        shown = secure(row, row.trusting(ssl_version=ssl.PROTOCOL_TLSv1_2))
    assert shown.version == 'TLSv1.2'
    assert secure(row, row.trusting()).version == 'TLSv1.3'


def server_hostname(row):
    other = by_another_name(row)
    asked = []
    other.sni_callback = lambda sock, name, context: asked.append(name)
    secure(row, row.trusting(server_hostname='other.test'), other)
    assert asked == ['other.test']


def suppress_ragged_eofs(row):
    def cut(sock):
        support.accept_websocket(sock)
        support.send_frame(sock, support.open_packet())
        support.read_frame(sock)
        stdlib_socket.socket(fileno=sock.detach()).close()  # no end of TLS

    for suppress, text in ((True, 'the server closed the connection'), (False, 'EOF')):
        server = row.serve(cut, ssl_context=row.certificates.server_context())
        one = engineio_gevent.Client(
            websocket_extra_options=row.trusting(suppress_ragged_eofs=suppress)
        )
        row.clients.append(one)
        one.connect(server.url, transports='websocket')
        one.send('go')
        one.wait()
        assert text in str(one.disconnect_error)


def do_handshake_on_connect(row):
    for option in (True, False):
        secure(row, row.trusting(do_handshake_on_connect=option))


SSLOPT = {name: globals()[name] for name in names('Keys of `sslopt`')}


@pytest.mark.skipif(sys.implementation.name == 'pypy', reason="PyPy's ssl differs from CPython's")
@pytest.mark.parametrize('key', SSLOPT)
def test_sslopt(key, row):
    SSLOPT[key](row)


# -- Environment and global settings ---------------------------------------------------------------


def test_proxies_of_the_environment(row):
    for name in ('http_proxy', 'HTTP_PROXY', 'https_proxy', 'HTTPS_PROXY'):
        tls_too = 'https' in name.lower()
        tunnel = Tunnel()
        proxy = row.serve(tunnel)
        with row.monkeypatch.context() as patch:
            patch.setenv(name, proxy.url)
            row.connect({**row.trusting(), 'timeout': 5}, secure=tls_too)
            assert len(tunnel.heads) == 1
            for no_proxy in ('no_proxy', 'NO_PROXY'):
                with patch.context() as inner:
                    inner.setenv(no_proxy, '127.0.0.1')
                    row.connect({**row.trusting(), 'timeout': 5}, secure=tls_too)
            assert len(tunnel.heads) == 1


def test_websocket_client_ca_bundle(row, tmp_path):
    import trustme

    other = tmp_path / 'other.pem'
    trustme.CA().cert_pem.write_to_path(other)
    right, wrong = row.certificates.ca, str(other)
    some = {'timeout': 5}
    row.monkeypatch.setenv('WEBSOCKET_CLIENT_CA_BUNDLE', right)
    secure(row, some)
    row.fails({'sslopt': {'ca_certs': wrong}}, 'certificate', secure=True)
    row.fails(some, 'certificate', secure=True, client={'ssl_verify': wrong})
    row.monkeypatch.setenv('REQUESTS_CA_BUNDLE', wrong)
    secure(row, some)
    # Without options, it has no effect.
    row.fails(None, 'certificate', secure=True)
    row.monkeypatch.setenv('WEBSOCKET_CLIENT_CA_BUNDLE', folder(row))
    secure(row, some)
    row.monkeypatch.setenv('WEBSOCKET_CLIENT_CA_BUNDLE', wrong)
    row.monkeypatch.setenv('REQUESTS_CA_BUNDLE', right)
    row.fails(some, 'certificate', secure=True)
    secure(row, {'sslopt': {'ca_certs': right}})
    row.monkeypatch.setenv('WEBSOCKET_CLIENT_CA_BUNDLE', '/nowhere')
    secure(row, some)


@pytest.mark.parametrize('options', [None, {'timeout': 5}])
@pytest.mark.parametrize('transport', ['polling', 'websocket'])
def test_sslkeylogfile(row, caplog, tmp_path, options, transport, python_server_with):
    """Without options, and for polling, too."""
    path = tmp_path / 'keys.log'
    row.monkeypatch.setenv('SSLKEYLOGFILE', str(path))
    server = python_server_with(tls=row.certificates.tls)
    for _ in range(2):
        one = engineio_gevent.Client(
            websocket_extra_options=options, ssl_verify=row.certificates.ca
        )
        row.clients.append(one)
        one.connect(server.url, transports=transport)
        one.disconnect()
    assert 'CLIENT_TRAFFIC_SECRET_0' in path.read_text()
    lines = [one for one in caplog.records if 'SSLKEYLOGFILE' in one.getMessage()]
    assert [(one.name, one.levelno) for one in lines] == [('engineio_gevent.tls', logging.WARNING)]
    assert str(path) in lines[0].getMessage()


def test_sslkeylogfile_that_cannot_be_written(row):
    row.monkeypatch.setenv('SSLKEYLOGFILE', '/nowhere/keys.log')
    row.fails(None, 'SSLKEYLOGFILE /nowhere/keys.log', secure=True)


def test_setdefaulttimeout(row, monkeypatch):
    url = row.serve(silent).url
    websocket.setdefaulttimeout(0.1)
    monkeypatch.setattr('websocket._socket._default_timeout', 0.1)  # to be restored
    row.fails({'timeout': None}, 'timed out', url=url, client={'request_timeout': 3600})
    row.fails({'sockopt': ()}, 'timed out', url=url, client={'request_timeout': None})
    # Without options, it has no effect.
    one = engineio_gevent.Client(request_timeout=None)
    connecting = gevent.spawn(one.connect, url, transports='websocket')
    assert not connecting.ready()
    gevent.sleep(0.5)
    assert not connecting.ready()
    connecting.kill()


def test_enabletrace(row):
    printed = io.StringIO()
    websocket.enableTrace(True, logging.StreamHandler(printed))
    try:
        row.connect({'header': ['X-Mine: 1']}, Spy([('X-Theirs', '2'), ('Set-Cookie', 'a=1')]))
    finally:
        websocket.enableTrace(False)
    text = printed.getvalue()
    assert 'X-Mine: 1' in text
    assert re.search('(?i)x-theirs: 2', text)
    assert 'a=1' not in text
    assert 'hello' not in text


def test_cookies_of_the_process(row):
    jar = websocket._handshake.CookieJar
    row.monkeypatch.setattr(jar, 'jar', {})
    jar.add('foreign=1; Domain=127.0.0.1')
    assert jar.get('127.0.0.1') == 'foreign=1'
    assert row.connect({'timeout': 5}).values('Cookie') == []
    spy = Spy([('Set-Cookie', 'mine=1; Domain=127.0.0.1')])
    row.connect({'cookie': 'own=1'}, spy)
    assert spy.values('Cookie') == ['own=1']
    assert jar.get('127.0.0.1') == 'foreign=1'


def test_default_options_of_sockets(row):
    server = row.serve(Spy())
    client = engineio_gevent.Client(websocket_extra_options={'timeout': 5})
    row.clients.append(client)
    client.connect(server.url, transports='websocket')
    ours = socket_of(client)
    assert ours.getsockopt(stdlib_socket.SOL_TCP, stdlib_socket.TCP_NODELAY)
    assert ours.getsockopt(stdlib_socket.SOL_SOCKET, stdlib_socket.SO_KEEPALIVE)

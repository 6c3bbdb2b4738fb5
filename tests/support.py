"""What tests are made of: server processes, hostile servers, certificates, a look for leaks.

Nothing here patches the standard library: the client has to work without that.
"""

import base64
import contextlib
import gc
import hashlib
import http.client
import json
import os
import shutil
import signal
import socket as stdlib_socket
import struct
import subprocess
import sys
import tempfile
import threading
import time
import weakref
from collections import Counter
from pathlib import Path
from typing import ClassVar

import gevent
import gevent.select
import gevent.server
import gevent.socket
import greenlet

from engineio_gevent.dispatcher import get_dispatcher

TESTS = Path(__file__).resolve().parent
JS_SERVER = TESTS / 'servers' / 'js' / 'server.js'
PYTHON_SERVER = TESTS / 'servers' / 'python_server.py'

START_TIMEOUT = 30
"""Seconds that a server process may take until it listens."""


def eventually(condition, timeout=5, interval=0.01):
    """Wait cooperatively until `condition()` is true; return its last value, true or not."""
    deadline = time.monotonic() + timeout
    while True:
        value = condition()
        if value or time.monotonic() >= deadline:
            return value
        gevent.sleep(interval)


def has_ipv6():
    """Whether something can listen on ::1 here."""
    with stdlib_socket.socket(stdlib_socket.AF_INET6) as sock:
        try:
            sock.bind(('::1', 0))
        except OSError:
            return False
    return True


def free_port():
    """A port of 127.0.0.1 where nobody listens."""
    with stdlib_socket.socket() as sock:
        sock.bind(('127.0.0.1', 0))
        return sock.getsockname()[1]


def listens(port):
    """Whether somebody listens on this port of 127.0.0.1."""
    with stdlib_socket.socket() as sock:
        return sock.connect_ex(('127.0.0.1', port)) == 0


# -- Servers in processes of their own ----------------------------------------------------------


def why_no_node():
    """What is missing for the JavaScript server, or None."""
    if shutil.which('node') is None:
        return 'no JavaScript server: there is no "node" on the PATH'
    if not (JS_SERVER.parent / 'node_modules' / 'engine.io').is_dir():
        return 'no JavaScript server: run "npm ci" in tests/servers/js'
    return None


class ServerProcess:
    """A test server in its own process; what it does is told in `servers/js/server.js`.

    :param command: what to run, a list, to which the options are added as one JSON argument.
    :param options: the options of the server.
    """

    #: all that run, for the report of a failed test
    running: ClassVar = weakref.WeakSet()

    def __init__(self, command, options=None):
        self.options = dict(options or {})
        self.command = [str(part) for part in command]
        self._stderr = tempfile.TemporaryFile()  # noqa: SIM115 (closed in _close_pipes)
        self._process = subprocess.Popen(
            [*self.command, json.dumps(self.options)], stdin=subprocess.PIPE,
            stdout=subprocess.PIPE, stderr=self._stderr)
        self.host = self.options.get('host', '127.0.0.1')
        self.running.add(self)
        try:
            listening = json.loads(self._first_line())
        except BaseException:
            self.kill()
            raise
        self.port = listening['port']
        self._control_port = listening['control']

    @classmethod
    def js(cls, **options):
        """Start the JavaScript server."""
        return cls(['node', JS_SERVER], options)

    @classmethod
    def python(cls, **options):
        """Start the python-engineio server."""
        return cls([sys.executable, PYTHON_SERVER], options)

    def __repr__(self):
        return f'<{Path(self.command[-1]).name} {self.options} pid {self.pid}>'

    @property
    def pid(self):
        return self._process.pid

    @property
    def netloc(self):
        host = f'[{self.host}]' if ':' in self.host else self.host
        return f'{host}:{self.port}'

    @property
    def url(self):
        """`http://host:port`, or https."""
        return f'{"https" if self.options.get("tls") else "http"}://{self.netloc}'

    @property
    def ws_url(self):
        """`ws://host:port`, or wss."""
        return f'{"wss" if self.options.get("tls") else "ws"}://{self.netloc}'

    @property
    def stderr(self):
        """What the server has written to its standard error so far."""
        if self._stderr.closed:
            return self._final_stderr
        size = os.fstat(self._stderr.fileno()).st_size
        return os.pread(self._stderr.fileno(), size, 0).decode(errors='replace')

    def control(self, path):
        """GET `/control/<path>`; returns the JSON value. Cooperative."""
        connection = http.client.HTTPConnection(self.host, self._control_port)
        family = stdlib_socket.AF_INET6 if ':' in self.host else stdlib_socket.AF_INET
        with gevent.Timeout(10), contextlib.closing(connection):
            # set before connecting, so that an error closes it
            connection.sock = gevent.socket.socket(family, stdlib_socket.SOCK_STREAM)
            connection.sock.connect((self.host, self._control_port))
            connection.request('GET', f'/control/{path}', headers={'Connection': 'close'})
            with connection.getresponse() as response:
                return json.loads(response.read())

    def count(self):
        """How many clients the server has."""
        return self.control('clients')['count']

    def wait_count(self, count, timeout=5):
        """Wait until the server has `count` clients."""
        last = None

        def reached():
            nonlocal last
            last = self.count()
            return last == count

        assert eventually(reached, timeout), f'{last} clients after {timeout} s, expected {count}'

    def close_reason(self, sid, timeout=5):
        """Wait until the server has closed this client; returns its reason."""
        reason = eventually(lambda: dict(self.control('closed')).get(sid), timeout)
        assert reason, f'the server has not closed {sid} within {timeout} s'
        return reason

    def received(self, sid):
        """The messages that the server has received from this client; binary as bytes."""
        return [message if isinstance(message, str) else base64.b64decode(message['b64'])
                for message in self.control(f'received?sid={sid}')]

    def checked(self, sid):
        """What this client, which has `check=1` in its query, has sent in order: {sender: count}.

        Fails where a message was lost, came twice or out of order.
        """
        checked = self.control(f'checked?sid={sid}')
        assert checked['faults'] == []
        return checked['counts']

    def requests(self, sid=None):
        """The requests of this client, or all: dicts of method, url, headers, raw."""
        return self.control(f'requests?sid={sid}' if sid else 'requests')

    def suspend(self):
        """Stop the process where it is: a peer that is there and says nothing."""
        self._process.send_signal(signal.SIGSTOP)

    def resume(self):
        self._process.send_signal(signal.SIGCONT)

    def stop(self):
        """End the process in order, else by force."""
        if self._process.stdin and not self._process.stdin.closed:
            self._process.stdin.close()
        if not eventually(lambda: self._process.poll() is not None):
            self._process.kill()
        self._end()

    def kill(self):
        """End the process by SIGKILL."""
        self._process.kill()
        self._end()

    def _end(self):
        self._process.wait(10)
        self.running.discard(self)
        if not self._stderr.closed:
            self._final_stderr = self.stderr
            self._stderr.close()
        self._process.stdin.close()
        self._process.stdout.close()

    def _first_line(self):
        line = b''
        deadline = time.monotonic() + START_TIMEOUT
        stdout = self._process.stdout.fileno()
        while not line.endswith(b'\n'):
            ready, _, _ = gevent.select.select([stdout], [], [], deadline - time.monotonic())
            chunk = os.read(stdout, 4096) if ready else b''
            if not chunk:
                what = 'ended' if ready else f'did not listen within {START_TIMEOUT} s'
                raise RuntimeError(f'{self!r} {what}; its standard error:\n{self.stderr}')
            line += chunk
        return line


# -- Servers that speak bytes -------------------------------------------------------------------


class HostileServer:
    """A server in this process that does with each connection what `handler(sock)` does.

    The socket is gevent's; it is closed when the handler returns. An `OSError` in a handler (the
    client went away) is ignored, any other exception fails the test. A context manager; starts
    at once.

    :param handler: called with the socket of each connection, in a greenlet of its own.
    :param ssl_context: to serve TLS.
    :param host: the address to listen on.
    """

    def __init__(self, handler, *, ssl_context=None, host='127.0.0.1'):
        self.handler = handler
        #: how many connections were accepted (with TLS: got through their handshake)
        self.accepted = 0
        #: the sockets that are open now
        self.open = set()
        self.host = host
        self._scheme = 'https' if ssl_context else 'http'
        tls = {'ssl_context': ssl_context} if ssl_context else {}
        self._server = gevent.server.StreamServer((host, 0), self._handle, **tls)
        self._server.start()
        self.port = self._server.server_port

    def __enter__(self):
        return self

    def __exit__(self, *exc_info):
        self.stop()

    @property
    def url(self):
        host = f'[{self.host}]' if ':' in self.host else self.host
        return f'{self._scheme}://{host}:{self.port}'

    def stop(self):
        """Listen no more, end all handlers, close all sockets."""
        self._server.stop(timeout=0)
        for sock in list(self.open):
            sock.close()
        self.open.clear()

    def wait_open(self, count, timeout=5):
        """Wait until `count` connections are open; one is so until its handler has returned."""
        assert eventually(lambda: len(self.open) == count, timeout), (
            f'{len(self.open)} connections open after {timeout} s, expected {count}')

    def _handle(self, sock, address):
        self.accepted += 1
        self.open.add(sock)
        try:
            self.handler(sock)
        except OSError:
            pass
        finally:
            self.open.discard(sock)
            sock.close()


class NativeServer:
    """A `HostileServer` in native threads: for a client that blocks this one, as requests does.

    :param handler: called with the standard library's socket of each connection, in a thread.
    :param ssl_context: the standard library's, to serve TLS.
    """

    def __init__(self, handler, *, ssl_context=None):
        self.handler = handler
        #: how many connections were accepted, with TLS before its handshake
        self.accepted = 0
        self._context = ssl_context
        self._threads = []
        self._open = set()
        self._stopped = False
        self._listener = stdlib_socket.create_server(('127.0.0.1', 0))
        self.port = self._listener.getsockname()[1]
        self.url = f'{"https" if ssl_context else "http"}://127.0.0.1:{self.port}'
        self._start(self._accept)

    def _start(self, function, *arguments):
        thread = threading.Thread(target=function, args=arguments, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self):
        while True:
            sock, _ = self._listener.accept()
            if self._stopped:
                sock.close()
                return
            self.accepted += 1
            self._open.add(sock)
            self._start(self._handle, sock)

    def _handle(self, sock):
        raw = sock
        try:
            sock.settimeout(20)
            if self._context is not None:
                sock = self._context.wrap_socket(sock, server_side=True)
                self._open.add(sock)
            self.handler(sock)
        except OSError:
            pass
        finally:
            sock.close()
            raw.close()

    def stop(self):
        """Listen no more, close all sockets, wait for the threads."""
        self._stopped = True
        stdlib_socket.create_connection(('127.0.0.1', self.port)).close()  # wakes who accepts
        for sock in self._open:
            with contextlib.suppress(OSError):
                sock.shutdown(stdlib_socket.SHUT_RDWR)  # wakes who reads
        for thread in self._threads:
            thread.join(5)
        self._listener.close()


class HTTPRequest:
    """A request as `read_request` has read it; header names are in lower case."""

    def __init__(self, method, target, headers, body):
        self.method = method
        self.target = target
        self.headers = headers
        self.body = body

    def __repr__(self):
        return f'<{self.method} {self.target} {self.headers} {self.body!r}>'


def read_exactly(sock, size):
    """Read `size` bytes; `ConnectionResetError` where the peer ends before."""
    data = bytearray()
    while len(data) < size:
        chunk = sock.recv(min(size - len(data), 65536))
        if not chunk:
            raise ConnectionResetError('the peer has closed the connection')
        data += chunk
    return bytes(data)


def read_request(sock):
    """Read one HTTP request: its head and the body that Content-Length announces."""
    head = b''
    while not head.endswith(b'\r\n\r\n'):
        head += read_exactly(sock, 1)  # not a byte of what follows
    request_line, *lines = head.decode('latin-1').split('\r\n')[:-2]
    method, target, _ = request_line.split(' ')
    headers = {name.lower(): value.strip()
               for name, value in (line.split(':', 1) for line in lines)}
    body = read_exactly(sock, int(headers.get('content-length', 0)))
    return HTTPRequest(method, target, headers, body)


def read_to_end(sock):
    """Read until the peer closes its side; returns what came."""
    data = bytearray()
    while True:
        try:
            chunk = sock.recv(65536)
        except ConnectionResetError:
            chunk = b''
        if not chunk:
            return bytes(data)
        data += chunk


def response(body=b'', status='200 OK', headers=(), content_type='text/plain; charset=UTF-8'):
    """The bytes of an HTTP response with a Content-Length."""
    body = body.encode() if isinstance(body, str) else body
    lines = [f'HTTP/1.1 {status}', f'Content-Type: {content_type}',
             f'Content-Length: {len(body)}', *(f'{name}: {value}' for name, value in headers)]
    return '\r\n'.join([*lines, '', '']).encode('latin-1') + body


def respond(sock, body=b'', status='200 OK', headers=(),
            content_type='text/plain; charset=UTF-8'):
    """Send an HTTP response; `headers` are (name, value) pairs."""
    sock.sendall(response(body, status, headers, content_type))


def open_packet(**changes):
    """The text of an OPEN packet; a change to None leaves the field out."""
    fields = {'sid': 'the-sid', 'upgrades': [], 'pingInterval': 25000, 'pingTimeout': 20000,
              'maxPayload': 1000000, **changes}
    return '0' + json.dumps({name: value for name, value in fields.items() if value is not None})


def accept_websocket(sock, request=None, headers=()):
    """Answer a websocket handshake, after reading it where it is not given; returns the request."""
    request = request or read_request(sock)
    key = request.headers['sec-websocket-key'] + '258EAFA5-E914-47DA-95CA-C5AB0DC85B11'
    accept = base64.b64encode(hashlib.sha1(key.encode()).digest()).decode()
    lines = ['HTTP/1.1 101 Switching Protocols', 'Upgrade: websocket', 'Connection: Upgrade',
             f'Sec-WebSocket-Accept: {accept}', *(f'{name}: {value}' for name, value in headers)]
    sock.sendall('\r\n'.join([*lines, '', '']).encode('latin-1'))
    return request


TEXT, BINARY, CLOSE, PING, PONG = 1, 2, 8, 9, 10
"""Opcodes of websocket frames; 0 continues a message."""


def frame(payload=b'', opcode=TEXT, *, fin=True, rsv=0, mask=None, length=None):
    """The bytes of a websocket frame as a server sends it, or as it must not.

    :param payload: text or bytes.
    :param rsv: the three reserved bits, 0 to 7.
    :param mask: four bytes to mask with, which no server does.
    :param length: the length to announce instead of the payload's own.
    """
    payload = payload.encode() if isinstance(payload, str) else bytes(payload)
    length = len(payload) if length is None else length
    masked = 0x80 if mask else 0
    head = bytes([(0x80 if fin else 0) | rsv << 4 | opcode])
    if length < 126:
        head += bytes([masked | length])
    elif length < 0x10000:
        head += struct.pack('!BH', masked | 126, length)
    else:
        head += struct.pack('!BQ', masked | 127, length)
    if mask:
        head += mask
        payload = _masked(payload, mask)
    return head + payload


def send_frame(sock, payload=b'', opcode=TEXT, **kwargs):
    """Send a websocket frame, see `frame`."""
    sock.sendall(frame(payload, opcode, **kwargs))


def close_frame(code=1000, reason=''):
    """The bytes of a close frame."""
    return frame(struct.pack('!H', code) + reason.encode(), CLOSE)


def read_frame(sock):
    """Read one frame of a client: (opcode, payload). It must be whole and masked."""
    first, second = read_exactly(sock, 2)
    assert first & 0xf0 == 0x80, f'a fragment, or a reserved bit: {first:#x}'
    assert second & 0x80, 'a client must mask its frames'
    length = second & 0x7f
    if length == 126:
        length, = struct.unpack('!H', read_exactly(sock, 2))
    elif length == 127:
        length, = struct.unpack('!Q', read_exactly(sock, 8))
    mask = read_exactly(sock, 4)
    return first & 0x0f, _masked(read_exactly(sock, length), mask)


def _masked(payload, mask):
    repeated = (mask * (len(payload) // 4 + 1))[:len(payload)]
    whole = int.from_bytes(payload, 'big') ^ int.from_bytes(repeated, 'big')
    return whole.to_bytes(len(payload), 'big')


def reset(sock):
    """Close a connection by a TCP reset, which its peer sees as `ConnectionResetError`."""
    sock.setsockopt(stdlib_socket.SOL_SOCKET, stdlib_socket.SO_LINGER, struct.pack('ii', 1, 0))
    sock.close()


# -- Leaks --------------------------------------------------------------------------------------


def descriptors():
    """The open descriptors of this process: {number: what it is}."""
    found = {}
    folder = '/proc/self/fd' if os.path.isdir('/proc/self/fd') else '/dev/fd'
    for name in os.listdir(folder):
        with contextlib.suppress(OSError):  # the listing's own
            number = int(name)
            os.fstat(number)
            found[number] = os.readlink(f'{folder}/{name}') if 'proc' in folder else '?'
    return found


def greenlets():
    """The greenlets of this process that have not ended, without hubs and main greenlets."""
    return [item for item in gc.get_objects()
            if isinstance(item, greenlet.greenlet) and not item.dead
            and item.parent is not None and not isinstance(item, gevent.hub.Hub)]


class Leaks:
    """What is open when it is made, to compare with later.

    Whatever a test needs for itself (servers, a warmed-up resolver) is started before.
    """

    def __init__(self):
        gevent.get_hub()
        gevent.sleep(0)
        self._descriptors = descriptors()
        self._greenlets = weakref.WeakSet(greenlets())

    def left(self):
        """A list of what is there now and was not before: texts, empty where nothing is."""
        if sys.implementation.name != 'cpython':
            gc.collect()  # elsewhere what nobody has any more is open until then
        # Numbers are used again, so what counts is how many there are of each kind.
        extra = len(now := descriptors()) - len(self._descriptors)
        texts = []
        if extra > 0:
            new = Counter(map(_kind, now.values()))
            new.subtract(map(_kind, self._descriptors.values()))
            details = [f'{number}: {what}' for number, what in now.items()
                       if self._descriptors.get(number) != what]
            kinds = {kind: count for kind, count in new.items() if count > 0}
            texts.append(f'{extra} descriptors more: {kinds}: {details}')
        # The dispatcher's workers that wait for their next job are no leak.
        known = {*self._greenlets, *get_dispatcher()._idle}
        texts += [f'greenlet {item!r}' for item in greenlets() if item not in known]
        return texts

    def check(self, timeout=5):
        """Wait until nothing is left; fail with a list of what is."""
        assert eventually(lambda: not self.left(), timeout), (
            f'left after {timeout} s:\n' + '\n'.join(self.left()))


def _kind(target):
    return target.partition(':[')[0]


@contextlib.contextmanager
def no_leaks(timeout=5):
    """Fail where the block leaves open more descriptors or greenlets than there were."""
    before = Leaks()
    yield before
    before.check(timeout)


# -- The command --------------------------------------------------------------------------------


def converse(process):
    """With `engineio-gevent connect`: each line has its answer at once, though a GET waits.

    Returns its first line.
    """
    first = process.stdout.readline()
    assert ' * connected by ' in first, process.communicate(timeout=20)
    for text in ('one', 'two', 'three'):
        process.stdin.write(f'{text}\n')
        assert process.stdout.readline().rstrip().endswith(f' < {text}')
    out, err = process.communicate(timeout=20)
    assert (process.returncode, err) == (0, '')
    assert 'disconnected: client disconnect' in out
    return first


# -- Certificates -------------------------------------------------------------------------------


class Certificates:
    """An authority, a server's certificate for the loopback names, a client's; files in `folder`.

    `ca`, `server_cert`, `server_key`, `client_cert`, `client_key` and `client_pem` (certificate
    and key in one file) are paths, as strings.
    """

    def __init__(self, folder):
        import trustme

        self._authority = authority = trustme.CA()
        server = authority.issue_cert('127.0.0.1', 'localhost', '::1')
        client = authority.issue_cert('client@example.test')
        self.ca = self._write(folder, 'ca.pem', authority.cert_pem)
        self.server_cert = self._write(folder, 'server.pem', *server.cert_chain_pems)
        self.server_key = self._write(folder, 'server.key', server.private_key_pem)
        self.client_cert = self._write(folder, 'client.pem', *client.cert_chain_pems)
        self.client_key = self._write(folder, 'client.key', client.private_key_pem)
        self.client_pem = self._write(folder, 'client-both.pem', client.private_key_pem,
                                      *client.cert_chain_pems)

    @property
    def tls(self):
        """The `tls` option of a server process."""
        return {'key': self.server_key, 'cert': self.server_cert}

    @property
    def mutual_tls(self):
        """The `tls` option of a server process that wants the client's certificate."""
        return {**self.tls, 'ca': self.ca, 'requestCert': True}

    def server_context(self, *names):
        """An `SSLContext` for a `HostileServer`; for these names instead of the loopback ones."""
        import gevent.ssl

        context = gevent.ssl.SSLContext(gevent.ssl.PROTOCOL_TLS_SERVER)
        if names:
            self._authority.issue_cert(*names).configure_cert(context)
        else:
            context.load_cert_chain(self.server_cert, self.server_key)
        return context

    @staticmethod
    def _write(folder, name, *blobs):
        path = Path(folder) / name
        path.write_bytes(b''.join(blob.bytes() for blob in blobs))
        return str(path)

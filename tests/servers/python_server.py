"""A configurable python-engineio server for the tests, one process per configuration.

    python python_server.py ['{"pingInterval": 1000, ...}']

It takes the options, obeys the messages and answers the control URLs of `js/server.js`, where they
are described; what differs:

* `pingInterval` is announced in whole seconds, as python-engineio does it, here rounded up, so
  that no ping comes later than announced.
* `upgradeTimeout` does not exist.
* `refuse` with 401 is python-engineio's own refusal, a connect handler that returns the message:
  the body is the message alone, as JSON.
* `requests` and `headers` have one value per header name.
"""

from gevent import monkey

monkey.patch_all()

import base64
import contextlib
import functools
import http
import json
import math
import os
import re
import socket
import ssl
import sys
from collections import OrderedDict, deque
from urllib.parse import parse_qs

import engineio
import engineio.exceptions
import engineio.packet
import engineio.socket
import gevent
import gevent.os
import gevent.pywsgi
import simple_websocket

# The server lives as long as a test session: what it remembers is bounded.
MAX_CLIENTS_REMEMBERED = 5000
MAX_MESSAGES_REMEMBERED = 20000
MAX_REQUESTS_REMEMBERED = 1000
MAX_FAULTS_REMEMBERED = 20

# gevent's waits where recv() would block
BlockingSocket = monkey.get_original('socket', 'socket')

# python-engineio is to use simple-websocket, also where gevent-websocket is installed.
sys.modules['geventwebsocket'] = None

COOKIE_NAMES = {
    'path': 'path',
    'domain': 'Domain',
    'sameSite': 'SameSite',
    'httpOnly': 'HttpOnly',
    'secure': 'Secure',
    'maxAge': 'Max-Age',
}


class TextOnly:
    """A `json` module for python-engineio with which received text stays as it is."""

    dumps = staticmethod(json.dumps)

    @staticmethod
    def loads(text):
        raise ValueError('not wanted')


class QuietableSocket(engineio.socket.Socket):
    """A server-side client that can stop pinging, and be kept all the same."""

    silent = False

    def send(self, pkt):
        if not (self.silent and pkt.packet_type == engineio.packet.PING):
            super().send(pkt)

    def check_ping_timeout(self):
        if self.silent:
            self.last_ping = None
        return super().check_ping_timeout()

    def poll(self):
        while True:
            try:
                return super().poll()
            except engineio.exceptions.QueueEmpty:
                if not self.silent:
                    raise


class WholeSends:
    """A socket whose `send` sends everything."""

    def __init__(self, sock):
        self._sock = sock

    def send(self, data):
        self._sock.sendall(data)

    def __getattr__(self, name):
        return getattr(self._sock, name)


class WebSocketServer(simple_websocket.Server):
    """simple-websocket ignores what `send` returns, so on gevent large messages are cut."""

    def __init__(self, environ, **options):
        super().__init__(environ, **options)
        environ['test.websocket'] = self

    def handshake(self):
        self.sock = WholeSends(self.sock)
        super().handshake()


engineio.socket.Socket = QuietableSocket
simple_websocket.Server = WebSocketServer


class Handler(gevent.pywsgi.WSGIHandler):
    """Gives the application the socket and the headers as they were sent."""

    def get_environ(self):
        environ = super().get_environ()
        environ['test.socket'] = self.socket
        environ['test.headers'] = [list(item) for item in self.headers.items()]
        environ['test.target'] = self.path
        return environ

    def handle_one_response(self):
        super().handle_one_response()
        websocket = self.environ.get('test.websocket')
        if websocket is not None:
            # Until the client has closed, its greenlet reads. With TLS that is this socket, and
            # gevent fails where two read: then it may read from the next connection instead.
            websocket.thread.join(5)
            websocket.thread.kill()
            self.close_connection = True


class Record:
    """What is remembered of one client."""

    def __init__(self):
        self.requests = []
        self.received = []
        self.sockets = []
        #: what a client with check=1 has sent, or None
        self.checked = None
        self.streaming = False
        self.streamed = 0
        self.tag = None
        self.reason = None
        self.sent = 0


class Application:
    def __init__(self, options):
        self.options = options
        self.path = options.get('path', '/engine.io/')
        self.refuse = options.get('refuse')
        self.refuse_message = options.get('refuseMessage', 'Refused by the test server')
        self.records = OrderedDict()
        self.closed = deque(maxlen=MAX_CLIENTS_REMEMBERED)
        self.all_requests = deque(maxlen=MAX_REQUESTS_REMEMBERED)
        self.all_checked = {'messages': 0, 'faults': []}
        self.server = engineio.Server(
            async_mode='gevent',
            json=TextOnly,
            async_handlers=False,
            cors_allowed_origins='*',
            **server_options(options),
        )
        self.server.on('connect', self.on_connect)
        self.server.on('message', self.on_message)
        self.server.on('disconnect', self.on_disconnect)

    # -- Engine.IO ------------------------------------------------------------------------------

    def on_connect(self, sid, environ):
        if self.refuse == 401:
            return self.refuse_message
        record = self.records[sid] = Record()
        if len(self.records) > MAX_CLIENTS_REMEMBERED:
            self.records.popitem(last=False)
        self.add_request(record, environ)
        query = parse_qs(environ['QUERY_STRING'])
        if 'check' in query:
            record.checked = {'counts': {}, 'faults': []}
        record.tag = query.get('tag', [None])[0]
        greet = int(query.get('greet', ['0'])[0])
        if record.tag:
            self.send_numbered(sid, record, greet, 0)
        else:
            for number in range(greet):
                self.server.send(sid, f'g{number}')
        if 'stream' in query:
            gevent.spawn(self.stream, sid, record, int(query['stream'][0]))
        if 'close' in query:
            # As with the message "close"; here it would wait for ever.
            gevent.spawn(self.server.disconnect, sid)
        return None

    def on_message(self, sid, message):
        record = self.records[sid]
        if record.tag:
            start = message[:40]
            record.received.append(start if isinstance(start, str) else start.decode())
            return
        obeyed = isinstance(message, str) and self.obey(sid, record, message)
        if record.checked is not None:
            if not obeyed:
                self.check(sid, record.checked, message)
            return
        if len(record.received) < MAX_MESSAGES_REMEMBERED:
            record.received.append(
                message if isinstance(message, str) else {'b64': base64.b64encode(message).decode()}
            )
        if not obeyed:
            self.server.send(sid, message)

    def on_disconnect(self, sid, reason):
        self.closed.append([sid, reason])
        if sid in self.records:
            self.records[sid].sockets.clear()
            self.records[sid].streaming = False
            self.records[sid].reason = reason

    def check(self, sid, checked, message):
        """Take a message `<sender> <number>` of a client with check=1."""
        start = message[:100] if isinstance(message, str) else message[:100].decode()
        sender, number = [*start.split(' '), ''][:2]
        expected = checked['counts'].get(sender, 0)
        if number == str(expected):
            checked['counts'][sender] = expected + 1
            self.all_checked['messages'] += 1
            return
        for faults in (checked['faults'], self.all_checked['faults']):
            if len(faults) < MAX_FAULTS_REMEMBERED:
                faults.append(f'{sid}: {sender} {number} instead of {expected}')

    def stream(self, sid, record, interval):
        """Send `s 0`, `s 1`, .. until the client says `end`, or leaves."""
        record.streaming = True
        while record.streaming:
            self.server.send(sid, f's {record.streamed}')
            record.streamed += 1
            gevent.sleep(interval / 1000)

    def send_numbered(self, sid, record, count, size):
        for _ in range(count):
            self.server.send(sid, f's {record.sent} {sid} '.ljust(size, 'x'))
            record.sent += 1

    def tagged(self, tag):
        return [(sid, record) for sid, record in self.records.items() if record.tag == tag]

    def is_open(self, sid):
        return sid in self.server.sockets and not self.server.sockets[sid].closed

    def describe_tagged(self, sid, record):
        return {
            'sid': sid,
            'open': self.is_open(sid),
            'reason': record.reason,
            'transport': self.server.transport(sid) if self.is_open(sid) else None,
            'tcp': sum(map(is_connected, record.sockets)),
            'sent': record.sent,
            'silent': self.is_open(sid) and self.server.sockets[sid].silent,
            'received': record.received,
        }

    def act(self, sid, record, query):
        what = query['what'][0]
        if what == 'close':
            gevent.spawn(self.server.disconnect, sid)
        elif what == 'drop':
            for sock in record.sockets:
                drop(sock)
        elif what == 'silence':
            self.server.sockets[sid].silent = True
        elif what == 'send':
            count, size = (int(query.get(name, ['0'])[0]) for name in ('count', 'size'))
            self.send_numbered(sid, record, count or 1, size)
            if 'then' in query:
                self.act(sid, record, {'what': query['then']})
        elif what == 'forget':
            for sock in record.sockets:
                drop(sock)
            self.server.sockets.pop(sid).close(wait=False, abort=True)
        else:
            raise ValueError(query)

    def obey(self, sid, record, message):
        send = functools.partial(self.server.send, sid)
        counted = re.fullmatch(r'(numbers|big|bigbin|stream) ([0-9]+)', message)
        if counted:
            command, size = counted[1], int(counted[2])
            if command == 'numbers':
                for number in range(size):
                    send(str(number))
            elif command == 'big':
                send('x' * size)
            elif command == 'bigbin':
                send((bytes(range(256)) * (size // 256 + 1))[:size])
            elif record.checked is not None:
                gevent.spawn(self.stream, sid, record, size)
            else:
                return False
        elif record.checked is not None and message == 'end':
            record.streaming = False
            send(f'end {record.streamed}')
        elif message == 'close':
            # in a greenlet of its own: it waits until the client has fetched the close packet
            gevent.spawn(self.server.disconnect, sid)
        elif message == 'drop':
            for sock in record.sockets:
                drop(sock)
        elif message == 'silence':
            self.server.sockets[sid].silent = True
        elif message == 'transport':
            send(self.server.transport(sid))
        elif message == 'headers':
            send(json.dumps(record.requests))
        elif message == 'log':
            send(json.dumps(record.received))
        else:
            return False
        return True

    # -- HTTP -----------------------------------------------------------------------------------

    def __call__(self, environ, start_response):
        path = environ['PATH_INFO']
        query = parse_qs(environ['QUERY_STRING'])
        sid = query.get('sid', [None])[0]
        if path.startswith('/control/'):
            return self.control(path, sid, query, start_response)
        self.all_requests.append(describe(environ))
        if sid in self.records:
            self.add_request(self.records[sid], environ)
        if not path.startswith(self.path):
            return answer_json(start_response, 404, {'message': 'Not here'})
        if sid is None and self.refuse not in (None, 401):
            return answer_json(
                start_response, self.refuse, {'code': 4, 'message': self.refuse_message}
            )
        return self.server.handle_request(environ, start_response)

    def add_request(self, record, environ):
        if len(record.requests) < MAX_REQUESTS_REMEMBERED:
            record.requests.append(describe(environ))
        if environ['test.socket'] not in record.sockets:
            record.sockets.append(environ['test.socket'])

    def control(self, path, sid, query, start_response):
        record = self.records.get(sid) or Record()
        answer = None
        if path == '/control/clients':
            ids = [sid for sid, sock in self.server.sockets.items() if not sock.closed]
            answer = {'count': len(ids), 'ids': ids}
        elif path == '/control/closed':
            answer = list(self.closed)
        elif path == '/control/received':
            answer = record.received
        elif path == '/control/requests':
            answer = record.requests if sid else list(self.all_requests)
        elif path == '/control/checked':
            answer = record.checked if sid else self.all_checked
        elif path == '/control/tagged':
            answer = [self.describe_tagged(*item) for item in self.tagged(query['tag'][0])]
        elif path == '/control/do':
            found = [
                (one, its)
                for one, its in self.tagged(query['tag'][0])
                if self.is_open(one) and sid in (None, one)
            ]
            for one, its in found:
                self.act(one, its, query)
            answer = len(found)
        return answer_json(start_response, 404 if answer is None else 200, answer)


def describe(environ):
    raw = environ['test.headers']
    return {
        'method': environ['REQUEST_METHOD'],
        'url': environ['test.target'],
        'headers': {name.lower(): value for name, value in raw},
        'raw': raw,
    }


def answer_json(start_response, status, value):
    body = json.dumps(value).encode()
    start_response(
        f'{status} {http.HTTPStatus(status).phrase}',
        [('Content-Type', 'application/json'), ('Content-Length', str(len(body)))],
    )
    return [body]


def is_connected(sock):
    """Whether the client has not ended this TCP connection."""
    with contextlib.suppress(OSError), BlockingSocket(fileno=os.dup(sock.fileno())) as bare:
        try:
            return bool(bare.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT))
        except BlockingIOError:
            return True
    return False


def drop(sock):
    """End the TCP connection below whatever else uses this socket."""
    with contextlib.suppress(OSError), socket.socket(fileno=os.dup(sock.fileno())) as bare:
        bare.shutdown(socket.SHUT_RDWR)


def server_options(options):
    result = {}
    for name, ours in [
        ('transports', 'transports'),
        ('allowUpgrades', 'allow_upgrades'),
        ('maxHttpBufferSize', 'max_http_buffer_size'),
    ]:
        if name in options:
            result[ours] = options[name]
    if 'pingInterval' in options:
        interval = options['pingInterval'] / 1000
        result['ping_interval'] = (interval, math.ceil(interval) - interval)
    if 'pingTimeout' in options:
        result['ping_timeout'] = options['pingTimeout'] / 1000
    compression = options.get('httpCompression', True)
    result['http_compression'] = bool(compression)
    if isinstance(compression, dict):
        result['compression_threshold'] = compression.get('threshold', 1024)
    cookie = options.get('cookie')
    if cookie:
        settings = {'name': 'io', 'path': '/', 'httpOnly': True, 'sameSite': 'lax'}
        if isinstance(cookie, str):
            settings['name'] = cookie
        elif isinstance(cookie, dict):
            settings.update(cookie)
        result['cookie'] = {
            COOKIE_NAMES.get(key, key): str(value) if key == 'maxAge' else value
            for key, value in settings.items()
        }
    return result


def ssl_context(tls):
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=tls.get('ca'))
    context.load_cert_chain(tls['cert'], tls['key'])
    if tls.get('requestCert'):
        context.verify_mode = ssl.CERT_REQUIRED
    return context


def listen(host, application, port=0, **kwargs):
    family = socket.AF_INET6 if ':' in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    # a port that had connections a moment ago
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind((host, port))
    listener.listen(1024)
    server = gevent.pywsgi.WSGIServer(
        listener, application, log=None, handler_class=Handler, **kwargs
    )
    server.start()
    return server.server_port


def main():
    options = json.loads(sys.argv[1]) if len(sys.argv) > 1 else {}
    application = Application(options)
    host = options.get('host', '127.0.0.1')
    port = options.get('port', 0)
    if options.get('tls'):
        port = listen(host, application, port, ssl_context=ssl_context(options['tls']))
        control = listen(host, application)
    else:
        port = control = listen(host, application, port)
    print(json.dumps({'port': port, 'control': control}), flush=True)

    stdin = sys.stdin.fileno()
    gevent.os.make_nonblocking(stdin)
    while gevent.os.nb_read(stdin, 1024):
        pass
    os._exit(0)


if __name__ == '__main__':
    main()

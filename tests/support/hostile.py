"""Servers in this process that do with a socket what a test tells them."""

import contextlib
import json
import socket as stdlib_socket
import sys
import threading

import gevent.server

from .waiting import eventually

#: What sockets with TLS raise besides OSErrors: PyPy's ssl has no text for some of these.
TLS_ERRORS = (RuntimeError,) if sys.implementation.name == 'pypy' else ()


def _ignored(ssl_context):
    return (OSError, *(TLS_ERRORS if ssl_context else ()))


class HostileServer:
    """A server in this process that does with each connection what `handler(sock)` does.

    The socket is gevent's; it is closed when the handler returns. An `OSError` in a handler (the
    client went away) is ignored, with TLS `TLS_ERRORS` as well; any other exception fails the
    test. A context manager; starts at once.

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
        self._ignored = _ignored(ssl_context)
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
            f'{len(self.open)} connections open after {timeout} s, expected {count}'
        )

    def _handle(self, sock, address):
        self.accepted += 1
        self.open.add(sock)
        try:
            self.handler(sock)
        except self._ignored:
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
        self._ignored = _ignored(ssl_context)
        self._threads = []
        self._open = set()
        self._stopped = False
        self._lock = threading.Lock()  # of the sockets, which threads add
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
            self._remember(sock)
            self._start(self._handle, sock)

    def _remember(self, sock):
        """Have `stop` close a socket, if it has not begun to."""
        with self._lock:
            self._open.add(sock)
            if self._stopped:
                self._wake(sock)

    @staticmethod
    def _wake(sock):
        """End the wait of who reads from a socket."""
        with contextlib.suppress(OSError):
            sock.shutdown(stdlib_socket.SHUT_RDWR)

    def _handle(self, sock):
        raw = sock
        try:
            sock.settimeout(20)
            if self._context is not None:
                sock = self._context.wrap_socket(sock, server_side=True)
                self._remember(sock)
            self.handler(sock)
        except self._ignored:
            pass
        finally:
            sock.close()
            raw.close()

    def stop(self):
        """Listen no more, close all sockets, wait for the threads."""
        with self._lock:
            self._stopped = True
            for sock in self._open:
                self._wake(sock)
        stdlib_socket.create_connection(('127.0.0.1', self.port)).close()  # wakes who accepts
        for thread in self._threads:
            thread.join(5)
        self._listener.close()


def open_packet(**changes):
    """The text of an OPEN packet; a change to None leaves the field out."""
    fields = {
        'sid': 'the-sid',
        'upgrades': [],
        'pingInterval': 25000,
        'pingTimeout': 20000,
        'maxPayload': 1000000,
        **changes,
    }
    return '0' + json.dumps({name: value for name, value in fields.items() if value is not None})

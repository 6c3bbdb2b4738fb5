"""A server of TLS 1.2 that begins to renegotiate, and withholds the rest of it."""

import base64
import contextlib
import hashlib
import re
import shutil
import ssl

import gevent
import gevent.ssl
import pytest
from gevent import socket, subprocess
from gevent.event import Event

import support
from engineio_gevent.net import tls
from engineio_gevent.net.stream import Stream
from engineio_gevent.net.tls_over_tls import TLSOverTLS
from engineio_gevent.net.tls_socket import sender
from support import eventually, frame, open_packet

ALERT, HANDSHAKE = 21, 22
"""Types of TLS records, which are not encrypted."""
TURNS = 100
"""Turns of the loop in which a client that spins would try to send as often."""


class Renegotiating:
    """openssl's server, behind a proxy of bytes that can withhold what the server sends.

    :param certificates: a `support.Certificates`.
    """

    def __init__(self, certificates):
        if shutil.which('openssl') is None:
            support.missing('openssl', 'apt-get install openssl')
        self._process = subprocess.Popen(
            [
                *('openssl', 's_server', '-tls1_2', '-accept', '127.0.0.1:0', '-naccept', '1'),
                *('-cert', certificates.server_cert, '-key', certificates.server_key),
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        #: what it has written, decrypted data of the client among it
        self.output = b''
        #: the types of the records that the client has sent since the server was told to withhold
        self.records = []
        self._reading = gevent.spawn(self._read)
        self._may_pass = Event()
        self._may_pass.set()
        self._port = int(self.wait_for(rb'ACCEPT [^\n]*:(\d+)\n'))
        self._proxy = support.HostileServer(self._forward)
        self.url = self._proxy.url.replace('http', 'https')
        self.port = self._proxy.port

    def _read(self):
        while data := self._process.stdout.read1(4096):
            self.output += data

    def wait_for(self, pattern):
        """Wait until the output matches; returns the first group."""
        assert eventually(lambda: re.search(pattern, self.output)), self.output
        return re.search(pattern, self.output)[1]

    def _forward(self, sock):
        with socket.create_connection(('127.0.0.1', self._port)) as there:
            back = gevent.spawn(self._forward_back, there, sock)
            try:
                while data := sock.recv(65536):
                    if not self._may_pass.is_set():
                        self.records += types(data)
                    there.sendall(data)
            finally:
                back.kill()

    def _forward_back(self, there, sock):
        withheld = 0
        with contextlib.suppress(OSError):
            while data := there.recv(65536):
                withheld += not self._may_pass.is_set()
                if withheld > 1:  # the first is the request to renegotiate
                    self._may_pass.wait()
                sock.sendall(data)

    def write(self, data):
        """Send to the client; a line `r` is a command."""
        self._process.stdin.write(data)
        self._process.stdin.flush()

    def renegotiate(self):
        """Begin to, and withhold the rest."""
        self._may_pass.clear()
        self.write(b'r\n')
        assert eventually(lambda: self.records), 'no answer'

    def go_on(self):
        self._may_pass.set()

    def accept_websocket(self):
        """Answer a handshake, and open a session."""
        key = self.wait_for(rb'Sec-WebSocket-Key: ([^\r]*)\r')
        key += b'258EAFA5-E914-47DA-95CA-C5AB0DC85B11'
        accept = base64.b64encode(hashlib.sha1(key).digest())
        self.write(
            b'HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n'
            b'Sec-WebSocket-Accept: ' + accept + b'\r\n\r\n' + frame(open_packet())
        )

    def stop(self):
        self._may_pass.set()
        self._proxy.stop()
        self._process.kill()
        self._process.wait()
        self._reading.join()
        self._process.stdin.close()
        self._process.stdout.close()


def types(data):
    """The types of the TLS records in some bytes."""
    found = []
    while data:
        found.append(data[0])
        data = data[5 + int.from_bytes(data[3:5], 'big') :]
    return found


@pytest.fixture
def server(certificates):
    one = Renegotiating(certificates)
    yield one
    one.stop()


@pytest.fixture
def attempts(monkeypatch):
    """Each attempt of a stream to send."""
    made = []
    send = Stream._try_send

    def counted(self, data):
        made.append(len(data))
        return send(self, data)

    monkeypatch.setattr(Stream, '_try_send', counted)
    return made


def own_context(certificates):
    """A context of a caller's, which does not refuse to renegotiate."""
    context = gevent.ssl.SSLContext(gevent.ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(certificates.ca)
    context.options &= ~gevent.ssl.OP_NO_RENEGOTIATION
    return context


def count_turns(attempts):
    """How often streams try to send in many turns of the loop."""
    before = len(attempts)
    for _ in range(TURNS):
        gevent.sleep(0.0001)  # not 0: the loop would not look at its sockets
    return len(attempts) - before


@pytest.mark.parametrize('sslopt', [None, {'ciphers': 'DEFAULT'}])
def test_the_client_refuses(server, witness, certificates, attempts, sslopt):
    options = {} if sslopt is None else {'websocket_extra_options': {'sslopt': sslopt}}
    one = witness(ssl_verify=certificates.ca, **options)
    answering = gevent.spawn(server.accept_websocket)
    one.client.connect(server.url, transports='websocket')
    answering.get()
    server.renegotiate()
    assert server.records[0] == ALERT
    one.client.send('hello')
    assert count_turns(attempts) < 10
    assert HANDSHAKE not in server.records
    one.client.disconnect(abort=True)


@pytest.mark.parametrize('how', ['sslopt', 'dial'])
def test_a_context_of_the_caller_s_waits(server, witness, certificates, attempts, how):
    """It renegotiates; until that is over nothing is sent, and nothing spins."""
    context = own_context(certificates)

    def dial(host, port):
        sock = socket.create_connection((host, server.port))
        return context.wrap_socket(sock, server_hostname='localhost')

    if how == 'dial':
        one, url = witness(dial=dial), 'http://localhost'
    else:
        one = witness(websocket_extra_options={'sslopt': {'context': context}})
        url = server.url
    answering = gevent.spawn(server.accept_websocket)
    one.client.connect(url, transports='websocket')
    answering.get()
    server.renegotiate()
    assert server.records == [HANDSHAKE]
    for text in ('a', 'b', 'c'):
        one.client.send(text)
    assert count_turns(attempts) < 10
    server.go_on()
    assert eventually(lambda: count_turns(attempts) == 0)
    server.write(frame('4hello'))
    assert eventually(lambda: one.messages == ['hello'])
    one.client.disconnect(abort=True)


def test_tls_over_tls(server, witness, certificates, attempts, hostile_server, monkeypatch):
    """A server behind a proxy that speaks TLS, too."""

    def proxy(sock):
        support.read_request(sock)
        sock.sendall(b'HTTP/1.1 200 OK\r\n\r\n')
        with socket.create_connection(('127.0.0.1', server.port)) as there:
            back = gevent.spawn(copy, there, sock)
            copy(sock, there)
            back.kill()

    def copy(one, other):
        with contextlib.suppress(OSError):
            while data := one.recv(65536):
                other.sendall(data)

    url = hostile_server(proxy, ssl_context=certificates.server_context()).url
    monkeypatch.setenv('https_proxy', url)
    monkeypatch.delenv('no_proxy', raising=False)
    monkeypatch.setenv('REQUESTS_CA_BUNDLE', certificates.ca)
    sslopt = {'context': own_context(certificates)}
    one = witness(websocket_extra_options={'sslopt': sslopt})
    answering = gevent.spawn(server.accept_websocket)
    one.client.connect(server.url, transports='websocket')
    answering.get()
    server.renegotiate()
    assert server.records == [HANDSHAKE]
    one.client.send('a')
    assert count_turns(attempts) < 10
    server.go_on()
    server.write(frame('4hello'))
    assert eventually(lambda: one.messages == ['hello'])
    one.client.disconnect(abort=True)


@pytest.mark.parametrize('made_by', ['package', 'caller'])
def test_a_socket_says_what_it_waits_for(server, certificates, made_by):
    """Also beneath another TLS: it waits for the peer, not for room to send."""
    context = own_context(certificates)
    with socket.create_connection(('127.0.0.1', server.port)) as plain:
        if made_by == 'package':
            sock = tls.wrap(plain, context, 'localhost')
        else:
            sock = context.wrap_socket(plain, server_hostname='localhost')
        with sock:
            inner = TLSOverTLS(sock, own_context(certificates), 'localhost', True)
            server.wait_for(b'(CIPHER is )')
            sock.settimeout(0)
            server._may_pass.clear()
            server.write(b'r\n')
            assert eventually(lambda: reads_nothing(sock) and server.records)
            with pytest.raises(ssl.SSLWantReadError):
                sender(sock)(b'x')
            inner._unsent = b'x'
            with pytest.raises(ssl.SSLWantReadError):
                inner._flush()


def reads_nothing(sock):
    with contextlib.suppress(ssl.SSLWantReadError):
        raise AssertionError(sock.recv(1))
    return True

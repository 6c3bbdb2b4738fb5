"""HTTP/1.1 by its bytes, from a server's side."""

import socket as stdlib_socket
import struct


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
    headers = {
        name.lower(): value.strip() for name, value in (line.split(':', 1) for line in lines)
    }
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
    lines = [
        f'HTTP/1.1 {status}',
        f'Content-Type: {content_type}',
        f'Content-Length: {len(body)}',
        *(f'{name}: {value}' for name, value in headers),
    ]
    return '\r\n'.join([*lines, '', '']).encode('latin-1') + body


def respond(sock, body=b'', status='200 OK', headers=(), content_type='text/plain; charset=UTF-8'):
    """Send an HTTP response; `headers` are (name, value) pairs."""
    sock.sendall(response(body, status, headers, content_type))


def reset(sock):
    """Close a connection by a TCP reset, which its peer sees as `ConnectionResetError`."""
    sock.setsockopt(stdlib_socket.SOL_SOCKET, stdlib_socket.SO_LINGER, struct.pack('ii', 1, 0))
    sock.close()

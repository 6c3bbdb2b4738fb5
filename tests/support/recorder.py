"""A server that reads the requests of a client by the letter."""

import threading

from fuzz import reference

from .frames import accept_websocket, frame, read_frame
from .hostile import open_packet
from .http1 import respond


class Recorder:
    """A server that reads requests strictly, and ends the connection after the first message.

    A plain HTTP proxy is asked in the same way.
    """

    def __init__(self):
        self.requests = []
        self.fault = None
        self._posted = threading.Event()

    def __call__(self, sock):
        data = b''
        while True:
            try:
                found = reference.request(data)
            except reference.Fault:
                self.fault = data
                return
            if found is None:
                more = sock.recv(65536)
                if not more:
                    return
                data += more
                continue
            request, data = found
            self.requests.append(request)
            if request.values(b'upgrade'):
                self._serve_websocket(sock, request)
                return
            self._answer(sock, request)

    def _answer(self, sock, request):
        if request.method == b'POST':
            self._posted.set()
            respond(sock, 'ok')
        elif b'sid=' in request.target:
            respond(sock, '1' if self._posted.is_set() else '6')
        else:
            respond(sock, open_packet())

    @staticmethod
    def _serve_websocket(sock, request):
        accept_websocket(sock, Keyed(request.values(b'sec-websocket-key')[0].decode()))
        sock.sendall(frame(open_packet()))
        read_frame(sock)
        sock.sendall(frame('1'))


class Keyed:
    """A request as `support.accept_websocket` takes it."""

    def __init__(self, key):
        self.headers = {'sec-websocket-key': key}

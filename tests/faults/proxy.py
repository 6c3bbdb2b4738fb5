"""A TCP proxy that breaks what it carries, in a process of its own.

    python proxy.py '{"tls": {"key": file, "cert": file}}'

It prints one line of JSON, {"port": N, "control": N}, and runs until its standard input closes. It
carries nothing until it is told to, by GET over HTTP on that port; the query of the URL is one
JSON object, quoted, and so is the answer:

    /control/open?{target, mode}    begin to listen for a server's port; {id, port}. The mode:
            http    plain; requests are read, so that rules may ask for them
            tls     the proxy does TLS towards the client, and reads requests
            opaque  bytes are carried as they are, with the server's TLS or whatever it is
    /control/close?{lane}           end all of it
    /control/target?{lane, target}  to which port new connections go; those there are stay
    /control/listen?{lane, on}      refuse connections, or take them again, on the same port
    /control/rule?{lane, on, times, do, ..}
            do it with the next `times` connections (null: with all) at one of these moments:
            accept (before a byte), open and ws-open (the request of a handshake), get, post,
            probe (requests with a session id); a list of them
    /control/act?{lane, at, do, ..} do it now, with the connections whose last moment is one of
            `at`; null: with all
    /control/lift?{lane}            forget all rules, let flow what was held
    /control/state?{lane}           {open, accepted, seen: {moment: count}, most}: connections, and
            the most bytes that a client has been sent on one of them; a cut is a moment here, too

What can be done with a connection:

    end {how, scope}     "reset": RST; "close": FIN. The scope "lane" ends all connections with
                         it, and takes no more, as when the server's process has died
    hole {scope}         forward nothing more, either way, sockets left open; with the scope "lane"
                         for all connections there are and will be
    cut {after, how}     let so many bytes of the server's pass, then end it; how may be "hole";
                         "head" are as many bytes as the head of the answer to a request has
    flow                 let flow again what a hole has held
    delay {seconds}      wait before each piece, either way
    trickle {seconds}    send byte by byte, either way, with a wait after each
    split {after}        wait once, after so many bytes of the server's
    answer {data}        answer the request (base64) instead of the server
    say {data}           send this (base64) to the client, between what the server says
    strip                take the request's wish to upgrade out of it, as some proxies do
"""

import base64
import contextlib
import json
import random
import socket
import struct
import sys
from collections import Counter
from urllib.parse import unquote

import gevent
import gevent.os
import gevent.pywsgi
import gevent.server
import gevent.socket
import gevent.ssl
from gevent.event import Event

HOST = '127.0.0.1'

#: Below the ports that systems give to outgoing connections: none of those takes a port where
#: nobody listens for a while.
PORTS = range(10000, 30000)

#: Seconds between two pieces that shall arrive apart.
APART = 0.001
#: Seconds that a client has to close its side after a FIN.
LINGER = 10


class Connection:
    """A client's connection, and the one to the server that belongs to it."""

    def __init__(self, lane, client):
        self.lane = lane
        self.client = client
        self.server = None
        #: the last moment, see above
        self.moment = 'accept'
        self.flowing = Event()
        self.flowing.set()
        self.sent = 0
        self.delayed = 0
        self.trickled = None
        self.split_after = None
        self.cut_after = None
        self.cut_how = None
        #: no more from the server: a FIN went to the client, or it is over
        self.ended = False
        self.answered = False
        self.stripped = False

    def run(self):
        """Carry both ways until both sides have ended."""
        down = None
        try:
            self.lane.reach(self, 'accept')
            self.flowing.wait()
            if self.ended:
                self._read_to_end()
                return
            if self.lane.context is not None:
                self.client = self.lane.context.wrap_socket(self.client, server_side=True)
            try:
                self.server = gevent.socket.create_connection((HOST, self.lane.target))
            except OSError:
                self.reset()
                return
            self.server.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            down = gevent.spawn(self._carry_down)
            if self.lane.mode == 'opaque':
                self._carry_up(b'')
            else:
                self._read_requests()
            with contextlib.suppress(OSError):
                self.server.shutdown(socket.SHUT_WR)
            down.join()
        except ConnectionError:
            self.reset()
        except (OSError, ValueError):
            pass  # ended by a rule; ValueError is what a TLS socket says then
        finally:
            self._over()
            if down is not None:
                down.kill()

    # From the client to the server

    def _read_requests(self):
        """Requests one after the other, up to one that becomes a websocket."""
        buffer = b''
        while True:
            head, buffer = self._read_until(b'\r\n\r\n', buffer)
            if not head:
                return
            request_line, *lines = head[:-4].decode('latin-1').split('\r\n')
            headers = {
                name.lower(): value.strip()
                for name, _, value in (line.partition(':') for line in lines)
            }
            length = int(headers.get('content-length', 0))
            while len(buffer) < length:
                data = self.client.recv(65536)
                if not data:
                    return
                buffer += data
            body, buffer = buffer[:length], buffer[length:]
            if self.ended:
                continue
            upgrading = headers.get('upgrade', '').lower() == 'websocket'
            self.answered = self.stripped = False
            self.lane.reach(self, moment_of(request_line, upgrading))
            if self.answered:
                continue
            if self.stripped:
                kept = [
                    line
                    for line in lines
                    if line.partition(':')[0].lower() not in ('upgrade', 'connection')
                ]
                head = '\r\n'.join([request_line, *kept, '', '']).encode('latin-1')
                upgrading = False
            self._to_server(head + body)
            if upgrading:
                self._carry_up(buffer)
                return

    def _read_until(self, end, buffer):
        while end not in buffer:
            data = self.client.recv(65536)
            if not data:
                return b'', b''
            buffer += data
        size = buffer.index(end) + len(end)
        return buffer[:size], buffer[size:]

    def _carry_up(self, data):
        while True:
            if data:
                self._to_server(data)
            data = self.client.recv(65536)
            if not data:
                self.flowing.wait()
                return

    def _to_server(self, data):
        while data:
            gevent.sleep(self.delayed)
            self.flowing.wait()
            if self.ended:
                return
            size = len(data) if self.trickled is None else 1
            self.server.sendall(data[:size])
            data = data[size:]
            if self.trickled is not None:
                gevent.sleep(self.trickled)

    # From the server to the client

    def _carry_down(self):
        try:
            while data := self.server.recv(65536):
                if hasattr(socket, 'TCP_QUICKACK'):
                    # else a server that writes in pieces waits 40 ms for an ACK
                    self.server.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)
                self._to_client(data)
            self.flowing.wait()
            self.close()
        except ConnectionError:
            self.flowing.wait()
            self.reset()
        except (OSError, ValueError):
            pass  # ended by a rule

    def _to_client(self, data):
        while data:
            gevent.sleep(self.delayed)
            self.flowing.wait()
            if self.ended:
                return
            if self.cut_after == 0:
                self.end(self.cut_how)
                continue
            if self.cut_after == 'head':
                # servers send a head in one piece
                self.cut_after = data.index(b'\r\n\r\n') + 4
            size = len(data) if self.trickled is None else 1
            size = min(size, self.split_after or size, self.cut_after or size)
            self.client.sendall(data[:size])
            data = data[size:]
            self.sent += size
            self.lane.most = max(self.lane.most, self.sent)
            if self.cut_after is not None:
                self.cut_after -= size
                if self.cut_after == 0:
                    self.end(self.cut_how)
            if self.split_after is not None:
                self.split_after -= size
                if self.split_after == 0:
                    self.split_after = None
                    gevent.sleep(APART)
            if self.trickled is not None:
                gevent.sleep(self.trickled)

    # Ends

    def end(self, how):
        if self.cut_after == 0:
            self.cut_after = None
            self.lane.seen['cut'] += 1
        if how == 'hole':
            self.flowing.clear()
        else:
            {'reset': self.reset, 'close': self.close}[how]()

    def reset(self):
        with contextlib.suppress(OSError):
            self.client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack('ii', 1, 0))
        self._over()

    def close(self):
        """A FIN; what the client still says is read, else the close would become a reset."""
        if self.ended:
            return
        self.ended = True
        self.flowing.set()
        with contextlib.suppress(OSError):
            self.client.shutdown(socket.SHUT_WR)
        gevent.spawn_later(LINGER, self._over)

    def _read_to_end(self):
        while self.client.recv(65536):
            pass

    def _over(self):
        self.ended = True
        self.flowing.set()
        self.lane.connections.discard(self)
        self.client.close()
        if self.server is not None:
            self.server.close()

    # What rules and acts do

    def do(self, action):
        getattr(self, f'do_{action["do"]}')(action)

    def do_end(self, action):
        if action.get('scope') == 'lane':
            self.lane.listen(False)
            for one in list(self.lane.connections):
                one.end(action['how'])
        else:
            self.end(action['how'])

    def do_hole(self, action):
        if action.get('scope') == 'lane':
            for one in self.lane.connections:
                one.flowing.clear()
            self.lane.rules.append({'on': ['accept'], 'times': None, 'do': 'hole'})
        self.flowing.clear()

    def do_flow(self, action):
        self.flowing.set()

    def do_cut(self, action):
        self.cut_after = action['after']
        self.cut_how = action['how']

    def do_delay(self, action):
        self.delayed = action['seconds']

    def do_trickle(self, action):
        self.trickled = action['seconds']

    def do_split(self, action):
        self.split_after = action['after'] or None

    def do_say(self, action):
        self.client.sendall(base64.b64decode(action['data']))

    def do_answer(self, action):
        self.answered = True
        self.do_say(action)

    def do_strip(self, action):
        self.stripped = True

    def lift(self):
        self.delayed = 0
        self.trickled = self.split_after = self.cut_after = None
        self.flowing.set()


def moment_of(request_line, upgrading):
    method, target, _ = request_line.split(' ')
    if upgrading:
        return 'probe' if 'sid=' in target else 'ws-open'
    if method == 'POST':
        return 'post'
    return 'get' if 'sid=' in target else 'open'


class Lane:
    """A port for clients, the server behind it, and the faults between."""

    def __init__(self, target, mode, context):
        self.target = target
        self.mode = mode
        self.context = context if mode == 'tls' else None
        self.connections = set()
        self.rules = []
        self.accepted = 0
        self.seen = Counter()
        self.most = 0
        self.port = None
        self._server = None
        self.listen(True)

    def listen(self, on):
        if on and self._server is None:
            self._server = self._serve()
            self.port = self._server.server_port
        elif not on and self._server is not None:
            self._server.stop(timeout=0)
            self._server = None

    def _serve(self):
        for port in [self.port] if self.port else random.sample(PORTS, 50):
            server = gevent.server.StreamServer((HOST, port), self._handle)
            try:
                server.start()
            except OSError:
                continue
            return server
        raise RuntimeError('no free port')

    def _handle(self, sock, address):
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.accepted += 1
        connection = Connection(self, sock)
        self.connections.add(connection)
        connection.run()

    def reach(self, connection, moment):
        """A connection comes to a moment: note it, and do what the rules say."""
        connection.moment = moment
        self.seen[moment] += 1
        for rule in list(self.rules):
            if moment in rule['on']:
                if rule['times'] is not None:
                    rule['times'] -= 1
                    if not rule['times']:
                        self.rules.remove(rule)
                connection.do(rule)

    def act(self, at, action):
        for connection in list(self.connections):
            if at is None or connection.moment in at:
                with contextlib.suppress(OSError):  # one that has ended meanwhile
                    connection.do(action)

    def lift(self):
        self.rules.clear()
        self.listen(True)
        for connection in self.connections:
            connection.lift()

    def state(self):
        return {
            'open': len(self.connections),
            'accepted': self.accepted,
            'seen': self.seen,
            'most': self.most,
        }

    def close(self):
        self.listen(False)
        for connection in list(self.connections):
            connection.reset()


class Proxy:
    """The application behind the control port."""

    def __init__(self, tls):
        self._lanes = {}
        self._context = None
        if tls:
            self._context = gevent.ssl.SSLContext(gevent.ssl.PROTOCOL_TLS_SERVER)
            self._context.load_cert_chain(tls['cert'], tls['key'])

    def __call__(self, environ, start_response):
        name = environ['PATH_INFO'].removeprefix('/control/')
        answer = getattr(self, f'on_{name}')(**json.loads(unquote(environ['QUERY_STRING'])))
        body = json.dumps(answer).encode()
        start_response(
            '200 OK', [('Content-Type', 'application/json'), ('Content-Length', str(len(body)))]
        )
        return [body]

    def on_open(self, target, mode):
        lane = Lane(target, mode, self._context)
        self._lanes[lane.port] = lane
        return {'id': lane.port, 'port': lane.port}

    def on_close(self, lane):
        self._lanes.pop(lane).close()

    def on_target(self, lane, target):
        self._lanes[lane].target = target

    def on_listen(self, lane, on):
        self._lanes[lane].listen(on)

    def on_rule(self, lane, **rule):
        self._lanes[lane].rules.append(rule)

    def on_act(self, lane, at, **action):
        self._lanes[lane].act(at, action)

    def on_lift(self, lane):
        self._lanes[lane].lift()

    def on_state(self, lane):
        return self._lanes[lane].state()


def main():
    options = json.loads(sys.argv[1]) if len(sys.argv) > 1 else {}
    control = gevent.pywsgi.WSGIServer((HOST, 0), Proxy(options.get('tls')), log=None)
    control.start()
    port = control.server_port
    print(json.dumps({'port': port, 'control': port}), flush=True)

    stdin = sys.stdin.fileno()
    gevent.os.make_nonblocking(stdin)
    while gevent.os.nb_read(stdin, 1024):
        pass


if __name__ == '__main__':
    main()

"""python-socketio's server on gevent, for the tests; what it does is told in `js/server.js`.

    python python_server.py ['{"pingInterval": 300, ...}']

What differs: `pingInterval` is announced in whole seconds, rounded up; the refusal of "/private"
is {"message": "not you", "data": {"code": 7}} as well; reasons are python-socketio's.
"""

# ruff: noqa: E402 - it patches before it imports

from gevent import monkey

monkey.patch_all()

import importlib.util
import json
import os
import socket
import sys
from pathlib import Path
from urllib.parse import parse_qs

import gevent
import gevent.os
import gevent.pywsgi
import socketio
import socketio.exceptions

# The Engine.IO server of the other tests; its corrections of simple-websocket come with it.
_spec = importlib.util.spec_from_file_location(
    'engineio_server', Path(__file__).resolve().parents[2] / 'servers' / 'python_server.py'
)
engineio_server = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(engineio_server)

OPTIONS = json.loads(sys.argv[1]) if len(sys.argv) > 1 else {}


class Server(socketio.Server):
    def _handle_connect(self, eio_sid, namespace, data):
        held = 'hold' in parse_qs(self.environ[eio_sid]['QUERY_STRING'])
        if not held or namespace not in (None, '/'):
            super()._handle_connect(eio_sid, namespace, data)


sio = Server(
    async_mode='gevent',
    cors_allowed_origins='*',
    namespaces='*',
    **engineio_server.server_options(OPTIONS),
)
left = []
auths = {}


def query_of(sid, namespace):
    environ = sio.get_environ(sid, namespace)
    return {name: values[0] for name, values in parse_qs(environ['QUERY_STRING']).items()}


class Namespace(socketio.Namespace):
    def on_connect(self, sid, environ, auth):
        auths[sid] = auth
        if self.namespace == '/private' and (auth or {}).get('token') != 'open sesame':
            raise socketio.exceptions.ConnectionRefusedError('not you', {'code': 7})
        if self.namespace == '/' and 'kick' in query_of(sid, '/'):
            gevent.spawn(self.kick, sid)
        if self.namespace == '/' and 'ban' in query_of(sid, '/'):
            gevent.spawn(self.ban, sid)

    def on_disconnect(self, sid, reason):
        left.append(f'out of {self.namespace}: {reason}')

    def on_echo(self, sid, *args):
        self.emit('echo', args, to=sid)
        return args

    def on_who(self, sid):
        eio_sid = sio.manager.eio_sid_from_sid(sid, self.namespace)
        return {
            'sid': sid,
            'auth': auths[sid],
            'transport': sio.eio.transport(eio_sid),
            'query': query_of(sid, self.namespace),
        }

    def on_numbers(self, sid, count):
        for number in range(count):
            self.emit('number', number, to=sid)

    def on_ask(self, sid, *args):
        self.emit(
            'question',
            args,
            to=sid,
            callback=lambda *answers: self.emit('answered', [*answers], to=sid),
        )

    def on_join(self, sid, room):
        self.enter_room(sid, room)
        return True

    def on_leave(self, sid, room):
        self.leave_room(sid, room)
        return True

    def on_say(self, sid, room, data):
        self.emit('said', data, room=room, skip_sid=sid)
        return True

    def on_never(self, sid):
        gevent.sleep(3600)

    def on_out(self, sid):
        self.disconnect(sid)

    def on_kick(self, sid):
        gevent.spawn(self.kick, sid)

    def kick(self, sid):
        eio_sid = sio.manager.eio_sid_from_sid(sid, self.namespace)
        self.disconnect(sid)
        sio.eio.disconnect(eio_sid)

    def ban(self, sid):
        self.emit('banned', 'you', to=sid)
        self.kick(sid)

    def on_drop(self, sid):
        engineio_server.drop(sio.get_environ(sid, self.namespace)['test.socket'])


def control(environ, start_response):
    clients = [each for each in sio.eio.sockets.values() if not each.closed]
    answers = {
        '/control/clients': {'count': len(clients)},
        '/control/left': left,
        '/control/errors': [],
    }
    answer = answers.get(environ['PATH_INFO'])
    return engineio_server.answer_json(start_response, 404 if answer is None else 200, answer)


def main():
    for name in ('/', '/chat', '/private'):
        sio.register_namespace(Namespace(name))
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind(('127.0.0.1', OPTIONS.get('port', 0)))
    listener.listen(1024)
    server = gevent.pywsgi.WSGIServer(
        listener, socketio.WSGIApp(sio, control), log=None, handler_class=engineio_server.Handler
    )
    server.start()
    port = server.server_port
    print(json.dumps({'port': port, 'control': port}), flush=True)

    stdin = sys.stdin.fileno()
    gevent.os.make_nonblocking(stdin)
    while gevent.os.nb_read(stdin, 1024):
        pass
    os._exit(0)


if __name__ == '__main__':
    main()

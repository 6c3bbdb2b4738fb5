"""A chat server with rooms for chat.py, on python-engineio.

    pip install 'engineio-gevent[demo]'
    python examples/locust/chat_server.py [PORT]

Messages are JSON. The answer to {"join": ROOM} is {"joined": ROOM, "members": N}. The server sends
{"say": TEXT, ...} to everybody in the room, including the sender, as {"said": TEXT, ...}.
"""

from __future__ import annotations

import sys
from collections import defaultdict
from typing import Any

import engineio
from gevent.pywsgi import WSGIServer

# With gevent-websocket installed, python-engineio would expect its handler in the web server.
# Without it, it uses simple-websocket.
sys.modules['geventwebsocket'] = None

eio = engineio.Server(async_mode='gevent', async_handlers=False, cors_allowed_origins='*')
rooms: defaultdict[str, set[str]] = defaultdict(set)
room_of: dict[str, str] = {}


@eio.on('message')
def message(sid: str, data: Any) -> None:
    if 'join' in data:
        leave(sid)
        room = data['join']
        room_of[sid] = room
        rooms[room].add(sid)
        eio.send(sid, {'joined': room, 'members': len(rooms[room])})
    elif 'say' in data and sid in room_of:
        said = {'said': data.pop('say'), **data}
        for member in list(rooms[room_of[sid]]):
            eio.send(member, said)


@eio.on('disconnect')
def leave(sid: str, reason: str = '') -> None:
    room = room_of.pop(sid, None)
    if room is not None:
        rooms[room].discard(sid)


def main() -> None:
    port = int(sys.argv[1]) if len(sys.argv) > 1 else 5000
    server = WSGIServer(('127.0.0.1', port), engineio.WSGIApp(eio), log=None, backlog=1024)
    server.start()
    print(f'Chat server on http://127.0.0.1:{server.server_port} (Ctrl-C stops it)', flush=True)
    server.serve_forever()


if __name__ == '__main__':
    main()

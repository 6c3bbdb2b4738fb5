"""Headers that belong to another message, given to a Socket.IO client."""

from engineio_gevent.contrib.socketio import Client
from support import NativeServer
from support.recorder import Recorder


def test_headers_of_another_message_are_not_sent():
    """They would end a body elsewhere, or add a request."""
    recorder = Recorder()
    server = NativeServer(recorder)
    headers = {
        'content-length': '3',
        'Transfer-Encoding': 'chunked',
        'content-type': 'a/b',
        'Connection': 'X-Own, Upgrade',
        'TE': 'trailers',
        'upgrade': 'h2c',
    }
    try:
        sio = Client(reconnection=False, handle_sigint=False)
        sio.connect(
            server.url,
            headers=headers,
            transports='polling',
            socketio_path='engine.io',
            wait=False,
        )
        sio.eio.wait()  # the server ends the connection
    finally:
        server.stop()
    assert recorder.fault is None, recorder.fault
    assert [one.body for one in recorder.requests if one.method == b'POST'] == [b'40{}']

"""What the figures of each family of measures include, for the results page."""

from __future__ import annotations

from dataclasses import dataclass

from .measures import MEASURES


@dataclass(frozen=True)
class Family:
    """A section of the page."""

    heading: str
    #: The heading of the first column of its table.
    column: str
    #: What one figure includes, and how it is measured.
    text: str


_echo = MEASURES['echo-ws'].job
_polling = MEASURES['echo-polling'].job
_flood = MEASURES['receive'].job
_batch = MEASURES['receive-batch'].job
_sleep = MEASURES['receive-sleep'].job
_send = MEASURES['send'].job
_connect = MEASURES['connect-ws'].job
_heartbeat = MEASURES['heartbeat'].job
_latency = MEASURES['latency-1000'].job
_idle = MEASURES['idle-upgrade'].job
_socketio = MEASURES['socketio-crowd'].job

#: By name, in the order of the page.
FAMILIES = {
    'echo': Family(
        'Echo',
        'CPU time per message and echo',
        'Each figure is the CPU time to send one message and to receive its echo. It includes the '
        f'handler, which compares the data. {_echo.clients} clients do this at once. Each sends '
        f'its next message when the previous echo has arrived. A text message has {_echo.size} '
        'bytes. The JSON message is a dict with five keys. *orjson*: engineio_gevent has the '
        'option `json=orjson`. *In pure Python*: it does without its extension in C. The other '
        'clients are unchanged in those rows.',
    ),
    'flood': Family(
        'Flood',
        'CPU time per message',
        f'One client receives or sends as fast as it can. A message has {_flood.size} bytes.\n\n'
        f'- *receive*: the server sends {_flood.messages:,} messages, one in each turn of its '
        f'event loop, or {_batch.batch} in each turn. engineio_gevent collects the messages of '
        'such a flood for [up to 1 ms](reference/client.md#floods-of-messages). With '
        '`max_receive_delay=0` it does not. The other clients are unchanged in that row.\n'
        f'- *handlers sleep*: the server sends {_sleep.messages:,} messages. Each handler sleeps '
        f'for {_sleep.sleep * 1000:.0f} ms, so many handlers wait at the same time.\n'
        f'- *send*: the client sends {_send.messages:,} messages. The time ends when the server '
        'has confirmed the last one.',
    ),
    'big messages': Family(
        'Big messages',
        'CPU time per message and echo',
        'One client sends a message of 1 MiB and receives its echo. A websocket client has to mask '
        'each byte that it sends. *In pure Python*: engineio_gevent does without its '
        '[extension in C](reference/extension.md). The other clients are unchanged in those rows.',
    ),
    'connect': Family(
        'Connect',
        'CPU time per client',
        f'{_connect.clients} clients connect, one after the other. Then they disconnect, one after '
        'the other. Each figure includes the handlers for `connect` or `disconnect`, and the work '
        'of the process in the 0.1 s after the last client. *Polling and upgrade* is the default '
        'of all clients: an HTTP handshake, then the upgrade to websocket. *wss* is websocket by '
        'TLS, with verification of the certificate.',
    ),
    'heartbeat': Family(
        'Heartbeat',
        'CPU time per PING',
        f'{_heartbeat.clients:,} idle clients answer a PING of the server every '
        f'{_heartbeat.ping_interval:g} s, for {_heartbeat.seconds:g} s. Each figure is all CPU '
        'time of the process in these seconds, divided by the number of PONGs.',
    ),
    'latency': Family(
        'Latency',
        'Time from send to echo',
        'This is elapsed time, not CPU time, and includes the server. *1 client* sends its next '
        f'message when the echo has arrived. *{_latency.clients:,} clients* send '
        f'{_latency.rate:,.0f} messages per second together, in turn. p50 is the median, p99 the '
        '99th percentile. Other programs on the machine disturb latency, p99 most of all.',
    ),
    'memory': Family(
        'Memory',
        'Per idle client',
        f'{_idle.clients:,} clients connect and are idle. Each figure is the growth of the '
        'process, divided by the number of clients. Ten clients connect first, so setup that is '
        'done once per process is not included. Memory is the unique set size after a garbage '
        'collection: objects, buffers and TLS state of the process. Memory of the kernel, such as '
        'socket buffers, is not included. The documentation has '
        '[two other figures](#three-figures-for-the-memory-of-a-client) for the memory of a '
        'client, which include more.',
    ),
    'scale': Family(
        'Scale',
        'Per client, or per message and echo',
        'The same costs, by websocket, with 100, 1,000 and 10,000 clients in one process, and for '
        'engineio_gevent with 18,000. A plot shows how the cost of one client, or of one message, '
        'grows with the number of clients.',
    ),
    'socket.io': Family(
        'Socket.IO',
        'Per client, or per message and echo',
        "Both columns use python-socketio's client by websocket, in the default namespace. The "
        'first is `engineio_gevent.contrib.socketio.Client`, which runs it on engineio_gevent. '
        'The second is `socketio.Client`, which uses python-engineio, in a monkey-patched process. '
        f'The server is the JavaScript `socket.io`. Memory is measured with {_socketio.clients:,} '
        'idle clients.',
    ),
}

"""What tests are made of.

Nothing here patches the standard library: the client has to work without that.
"""

from .certificates import Certificates
from .command import converse, locust_port
from .frames import (
    BINARY,
    CLOSE,
    PING,
    PONG,
    TEXT,
    accept_websocket,
    close_frame,
    frame,
    read_frame,
    send_frame,
)
from .hostile import TLS_ERRORS, HostileServer, NativeServer, open_packet
from .http1 import (
    HTTPRequest,
    read_exactly,
    read_request,
    read_to_end,
    reset,
    respond,
    response,
)
from .leaks import Leaks, descriptors, greenlets, no_leaks, watchers
from .ports import free_port, has_ipv6, listens
from .processes import PYTHON_SERVER, START_TIMEOUT, TESTS, ServerProcess, why_no_node
from .waiting import eventually

__all__ = [
    'BINARY',
    'CLOSE',
    'PING',
    'PONG',
    'PYTHON_SERVER',
    'START_TIMEOUT',
    'TESTS',
    'TEXT',
    'TLS_ERRORS',
    'Certificates',
    'HTTPRequest',
    'HostileServer',
    'Leaks',
    'NativeServer',
    'ServerProcess',
    'accept_websocket',
    'close_frame',
    'converse',
    'descriptors',
    'eventually',
    'frame',
    'free_port',
    'greenlets',
    'has_ipv6',
    'listens',
    'locust_port',
    'no_leaks',
    'open_packet',
    'read_exactly',
    'read_frame',
    'read_request',
    'read_to_end',
    'reset',
    'respond',
    'response',
    'send_frame',
    'watchers',
    'why_no_node',
]

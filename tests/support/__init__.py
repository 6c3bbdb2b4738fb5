"""What tests are made of.

Nothing here patches the standard library: the client has to work without that.
"""

from .certificates import Certificates
from .clients import WAYS, made_clients, outcome
from .command import converse, locust_port
from .descriptors import no_descriptors
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
from .implementations import (
    IMPLEMENTATIONS,
    can_have_extension,
    extension,
    need_extension,
    use_implementation,
)
from .leaks import (
    Leaks,
    descriptors,
    greenlets,
    has_libuv,
    need_destroy,
    no_leaks,
    watchers,
)
from .missing import missing, need_json_package, need_node
from .pool import Pool
from .ports import free_port, has_ipv6, listens, swallowing
from .processes import (
    JS_SERVER,
    PYTHON_SERVER,
    START_TIMEOUT,
    TESTS,
    AnnouncedServer,
    ServerProcess,
)
from .programs import PROJECT, Program
from .room import OPENED, FakeTransport, Room, let_go, make_options
from .scripted import ScriptedLoop
from .threads import NativeThread, in_thread
from .waiting import eventually, gives_way, measure_slowness, patience, settle

__all__ = [
    'BINARY',
    'CLOSE',
    'IMPLEMENTATIONS',
    'JS_SERVER',
    'OPENED',
    'PING',
    'PONG',
    'PROJECT',
    'PYTHON_SERVER',
    'START_TIMEOUT',
    'TESTS',
    'TEXT',
    'TLS_ERRORS',
    'WAYS',
    'AnnouncedServer',
    'Certificates',
    'FakeTransport',
    'HTTPRequest',
    'HostileServer',
    'Leaks',
    'NativeServer',
    'NativeThread',
    'Pool',
    'Program',
    'Room',
    'ScriptedLoop',
    'ServerProcess',
    'accept_websocket',
    'can_have_extension',
    'close_frame',
    'converse',
    'descriptors',
    'eventually',
    'extension',
    'frame',
    'free_port',
    'gives_way',
    'greenlets',
    'has_ipv6',
    'has_libuv',
    'in_thread',
    'let_go',
    'listens',
    'locust_port',
    'made_clients',
    'make_options',
    'measure_slowness',
    'missing',
    'need_destroy',
    'need_extension',
    'need_json_package',
    'need_node',
    'no_descriptors',
    'no_leaks',
    'open_packet',
    'outcome',
    'patience',
    'read_exactly',
    'read_frame',
    'read_request',
    'read_to_end',
    'reset',
    'respond',
    'response',
    'send_frame',
    'settle',
    'swallowing',
    'use_implementation',
    'watchers',
]

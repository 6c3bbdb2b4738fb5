"""A session over a transport that does what the test says."""

from __future__ import annotations

import logging

from gevent.event import Event

from engineio_gevent.connecting import Connecting
from engineio_gevent.lifecycle import FORKED
from engineio_gevent.options import Options
from engineio_gevent.protocol.json_functions import json_functions
from engineio_gevent.protocol.packet import OPEN
from engineio_gevent.session import Session
from engineio_gevent.transports.route import Route

from .hostile import open_packet
from .waiting import settle

#: The server's OPEN packet.
OPENED = (OPEN, open_packet()[1:])


class FakeTransport:
    """Keeps what is sent; the test plays the server."""

    name = 'websocket'

    def __init__(self, sink, first=()):
        self.sink = sink
        self.first = first
        self.sent = []
        self.sent_first = []
        self.log = []
        self.queued = 0
        self.room = Event()
        self.farewell = Event()
        self.farewell.set()

    def open(self, sid=None):
        self.sink.on_packets(self, self.first)

    def apply_open_packet(self, open_packet):
        self.log.append('open packet')

    def report_to(self, sink):
        self.sink = sink

    def start(self):
        self.log.append('start')

    def send(self, packet):
        self.sent.append(packet)
        return self.queued

    def send_text(self, text):
        return self.send('4' + text)

    def send_first(self, packet):
        self.sent_first.append(packet)

    unsent = 0

    def wait_below(self, limit):
        self.log.append(f'wait {limit}')
        self.room.wait()

    def finish(self, timeout, limit=None):
        self.log.append('finish')
        self.bounds = (timeout, limit)
        self.farewell.wait(timeout)
        self.close()

    def abort(self, timeout):
        self.log.append(('abort', timeout))
        self.close()

    def close(self, code=None, reason=''):
        self.log.append(('close', code) if code else 'close')
        self.room.set()

    def abandon(self, wake=True):
        self.log.append('abandon' if wake else 'abandon, wake=False')

    def say(self, *packets):
        self.sink.on_packets(self, packets)

    def fail(self, error):
        self.sink.on_lost(self, error)


def make_options(**changes):
    """A client's options."""
    settings = {
        'logger': logging.getLogger('test'),
        'verbose': False,
        'dumps': json_functions(None).dumps,
        'loads': json_functions(None).loads,
        'parse_json': True,
        'request_timeout': 5,
        'timeouts': None,
        'write_limit': 1000,
        'max_message_size': None,
        'max_receive_delay': 0,
        'handle_sigint': False,
    }
    return Options(**{**settings, **changes})


class Room:
    """A session, its transport, and what its handlers saw."""

    def __init__(self, monkeypatch, first=(OPENED,), handlers=None, **changes):
        self.messages, self.ends = [], []
        self.handlers = {
            'message': self.messages.append,
            'disconnect': lambda reason: self.ends.append((reason, self.session.state)),
            **(handlers or {}),
        }
        self.options = make_options(**changes)
        self.session = Session(self.options, self.handlers, Route('http://a.test'))
        self.disowned = []
        self.transport = FakeTransport(self.session, first)

        def attach(connecting, session, name, upgrade):
            session.attach(self.transport)

        # connect() makes the transport itself; this is the one seam.
        monkeypatch.setattr(Connecting, '_attach', attach)

    def own(self, session):
        self.session = self.transport.sink = session

    def open(self):
        Connecting(
            self.options,
            self.handlers,
            Route('http://a.test'),
            own=self.own,
            disown=self.disowned.append,
        ).run(['websocket'], False)
        return self

    def wait_end(self):
        assert self.session.wait(5)
        settle()


def let_go(session):
    """End a session, and the heartbeat of one that was abandoned, as in a forked child."""
    session.disconnect(abort=True)
    if session.phase is FORKED and session._heartbeat is not None:
        session._heartbeat.stop()

"""Polling's responses in the hub, with random inputs: what a greenlet that waits would read."""

from __future__ import annotations

import contextlib
from random import Random

import gevent
from fuzz import targets
from fuzz.mutation import Corpus, cut
from gevent import socket

from engineio_gevent.exceptions import EngineIOError
from engineio_gevent.transports.direct import DirectHTTP
from engineio_gevent.transports.http import body_of_success
from engineio_gevent.transports.http_reader import read_response
from engineio_gevent.transports.redirects import home, next_destination
from engineio_gevent.transports.route import Route

INPUTS = 1500
TARGET = '/engine.io/'


class Dialer:
    """Connects to a server that sends these pieces, and closes."""

    def __init__(self, pieces):
        self._pieces = pieces

    def open(self, *_arguments):
        client, server = socket.socketpair()
        gevent.spawn(self._serve, server)
        return client

    def _serve(self, server):
        with server, contextlib.suppress(OSError):  # the client closes it when it has enough
            server.recv(1000)
            for piece in self._pieces:
                server.sendall(piece)
                gevent.sleep(0)


def kind(error):
    return type(error), str(error)


def read_in_greenlet(route, data):
    """What the response comes to; None: it is a redirect."""
    try:
        response = read_response(targets.Socket([data]), targets.LIMIT)
        place = home(route, TARGET)
        if next_destination(place, 'GET', response.status, response.headers) is not None:
            return None
        content = response.content(targets.LIMIT)
        return body_of_success('GET', route, TARGET, response.status, response.headers, content)
    except EngineIOError as exc:
        return kind(exc)


def read_in_hub(http):
    try:
        return http.get_and_wait(TARGET, 5)
    except EngineIOError as exc:
        return kind(exc)
    finally:
        http.close()


def test_the_hub_reads_what_a_greenlet_reads():
    random = Random(1)
    target = targets.RESPONSE
    corpus = Corpus(random, target.seeds, target.tokens, target.grown)
    bodies = errors = 0
    for number in range(INPUTS):
        data = corpus.next()
        pieces = [piece for piece in cut(random, data) if piece]
        route = Route('http://a.test', dialer=Dialer(pieces if number % 2 else [data] * bool(data)))
        expected = read_in_greenlet(route, data)
        if expected is None:
            continue
        found = read_in_hub(DirectHTTP(route, targets.LIMIT))
        if isinstance(expected, tuple) and 'not an HTTP response' in expected[1]:
            # It shows the bytes that have come by then.
            assert found[0] is expected[0], data
        else:
            assert found == expected, data
        bodies += isinstance(found, bytes)
        errors += isinstance(found, tuple)
    assert bodies > INPUTS / 10
    assert errors > INPUTS / 10

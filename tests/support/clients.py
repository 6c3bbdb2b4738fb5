"""What the tests of all kinds of clients share."""

import gevent

from .leaks import Leaks

WAYS = {'polling': ['polling'], 'websocket': ['websocket'], 'upgraded': None}
"""The `transports` of a connect: polling, websocket, polling upgraded to websocket."""


def made_clients(kind, end=lambda client: client.disconnect(abort=True), leaks=Leaks):
    """A fixture's function that makes clients; the test fails where one leaves something open.

    Servers that run in this process are made before the first client.

    :param kind: the class.
    :param end: called with each client after the test.
    :param leaks: a `Leaks`, or a class derived from it.
    """
    clients = []
    before = []

    def make(*args, **kwargs):
        if not before:
            before.append(leaks())
        clients.append(kind(*args, **kwargs))
        return clients[-1]

    yield make
    for client in clients:
        end(client)
    for one in before:
        one.check()


def outcome(function, *args, **kwargs):
    """What a call raises, or None; for greenlets, whose exceptions the hub would print."""
    try:
        function(*args, **kwargs)
    except (Exception, gevent.GreenletExit, gevent.Timeout) as exc:
        return exc
    return None

# ruff: noqa: E402 - it patches before it imports
"""A program that connects as it is told; for routes through proxies.

    python patched_client.py [module ..]

Each line of its standard input is a job, a JSON object:

    url, transports, headers    the arguments of `connect()`
    client      keyword arguments for the `Client`
    env         environment variables, set for this job alone
    session     attributes of a `requests.Session` to use: proxies, trust_env, auth, verify, ..
    send        texts to send, once connected; each is to be echoed
    quiet       whether warnings of unverified connections are no errors

For each it prints a line, a JSON object with the fields of `Outcome` in `conftest.py`, or with
`crash`, a traceback, alone. The modules that its arguments name cannot be imported. It
monkey-patches if the environment variable PATCHES is 1.
"""

import os

from gevent import monkey

if os.environ['PATCHES'] == '1':
    monkey.patch_all()

import contextlib
import gc
import json
import logging
import socket
import sys
import time
import traceback
import warnings
from collections import Counter

for module in sys.argv[1:]:
    sys.modules[module] = None

import gevent
import gevent.queue
import requests
from urllib3.exceptions import InsecureRequestWarning

import engineio_gevent
import support

StandardSocket = monkey.get_original('socket', 'socket')

LIMIT = 20
"""Seconds for a job."""


class Log(logging.Handler):
    """Keeps what it gets."""

    def __init__(self):
        super().__init__()
        self.lines = []

    def emit(self, record):
        self.lines.append(record.getMessage())


def peers():
    """The ports of all peers of this process's TCP connections.

    It needs no descriptor of its own: a socket of gevent's closes its descriptor only at the next
    turn of the event loop, and here the loop stands still between two jobs.
    """
    found = []
    for number in support.descriptors():
        try:
            sock = StandardSocket(fileno=number)
        except OSError:  # no socket
            continue
        try:
            if sock.family in (socket.AF_INET, socket.AF_INET6):
                found.append(sock.getpeername()[1])
        except OSError:  # not connected
            pass
        finally:
            sock.detach()
    return sorted(found)


def chain(error):
    """An exception and its causes, [[type, text], ..]."""
    found = []
    while error is not None:
        found.append([type(error).__name__, str(error.args[0]) if error.args else str(error)])
        error = error.__cause__
    return found


@contextlib.contextmanager
def environment(changes):
    """These variables as well, for a block."""
    before = dict(os.environ)
    os.environ.update(changes)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


def made_session(attributes):
    """A `requests.Session` with these attributes, or None."""
    if attributes is None:
        return None
    session = requests.Session()
    for name, value in attributes.items():
        if isinstance(value, dict):
            getattr(session, name).update(value)
        else:
            setattr(session, name, tuple(value) if name == 'auth' else value)
    return session


def work(job):
    """Do a job; its report."""
    logger = logging.Logger('job', logging.INFO)
    logger.addHandler(log := Log())
    session = made_session(job.get('session'))
    inbox = gevent.queue.Queue()
    report = {
        'transport': None,
        'sid': None,
        'echoes': [],
        'peers': [],
        'errors': [],
        'cookies': {},
        'lost': None,
    }
    before = peers()
    begun = time.monotonic()
    client = engineio_gevent.Client(
        logger=logger, http_session=session, handle_sigint=False, **job.get('client', {})
    )
    client.on('message', inbox.put)
    try:
        client.connect(job['url'], headers=job.get('headers'), transports=job.get('transports'))
    except engineio_gevent.exceptions.ConnectionError as error:
        report['errors'] = chain(error)
    else:
        report.update(sid=client.sid, transport=client.transport())
        for message in job.get('send', ()):
            client.send(message)
        wanted = len(job.get('send', ()))
        support.eventually(lambda: len(inbox) == wanted or client.state != 'connected')
        report['echoes'] = [inbox.get() for _ in range(len(inbox))]
        report['lost'] = client.disconnect_error and str(client.disconnect_error)
        report['peers'] = peers()
        if client.http is not None:
            report['cookies'] = {cookie.name: cookie.value for cookie in client.http.cookies}
    finally:
        report['seconds'] = time.monotonic() - begun
        client.disconnect()
        if session is not None:
            session.close()

    def left():
        gc.collect()  # all that closes what a time-out interrupted in PySocks or urllib3
        return sorted((Counter(peers()) - Counter(before)).elements())

    support.eventually(lambda: not left())
    return {**report, 'left': left(), 'log': log.lines}


def main():
    for order in iter(sys.stdin.readline, ''):
        job = json.loads(order)
        try:
            with gevent.Timeout(LIMIT), environment(job.get('env', {})), warnings.catch_warnings():
                if job.get('quiet'):
                    warnings.simplefilter('ignore', InsecureRequestWarning)
                line = json.dumps(work(job))
        except (Exception, gevent.Timeout):
            line = json.dumps({'crash': traceback.format_exc()})
        print(line, flush=True)


if __name__ == '__main__':
    main()

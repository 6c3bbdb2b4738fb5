"""A script that gets SIGINT when it is told to, and says how long KeyboardInterrupt took.

Arguments: the URL, a list of transports for each client, what the main greenlet does meanwhile,
options of the clients. The time counts from the signal, by the clock of this process: how busy the
machine is with others shows only in what happens between.
"""

import json
import os
import signal
import sys
import threading
import time

import gevent

import engineio_gevent

url, ways, doing, options = map(json.loads, sys.argv[1:])
# a test run in the background ignores SIGINT, and its children do, too
signal.signal(signal.SIGINT, signal.default_int_handler)


def say(value):
    print(json.dumps(value), flush=True)


def signals():
    """Everything of this process that a client might touch."""
    handlers = {number: signal.getsignal(number) for number in signal.valid_signals()}
    wakeup = signal.set_wakeup_fd(-1)
    signal.set_wakeup_fd(wakeup)
    return handlers, wakeup


def interrupt_when_told():
    """In a native thread, since the main one may be busy."""
    global struck
    sys.stdin.readline()
    struck = time.monotonic()
    os.kill(os.getpid(), signal.SIGINT)


# A signal that comes between gevent's look for signals and the system call that waits is seen
# at the next event: let there be one.
ticking = gevent.get_hub().loop.timer(0.05, 0.05)
ticking.start(lambda: None)

struck = None
ended = []
clients = []
for _ in ways:
    client = engineio_gevent.Client(**options)
    client.on(
        'disconnect',
        lambda reason: (ended.append(reason), gevent.sleep(60 if doing == 'slow handler' else 0)),
    )
    clients.append(client)


def connect():
    for client, transports in zip(clients, ways, strict=True):
        client.connect(url, transports=transports)


def do():
    if doing == 'spin':
        while True:
            gevent.sleep(0)
    elif doing == 'compute':
        while True:
            sum(range(1000))
            gevent.sleep(0.001)
    elif doing == 'block':
        time.sleep(60)
    elif doing == 'hog':
        while True:
            sum(range(1000))
    elif doing == 'send':
        while True:
            clients[0].send(b'x' * 100_000)
            gevent.sleep(0)
    elif doing == 'disconnect':
        clients[0].disconnect()
        gevent.sleep(60)
    elif doing == 'sleep':
        gevent.sleep(60)
    else:  # wait, slow handler
        clients[0].wait()
        gevent.sleep(60)


before = signals()
try:
    threading.Thread(target=interrupt_when_told, daemon=True).start()
    if doing == 'connect':
        gevent.spawn_later(0.05, say, 'ready')
        connect()
    else:
        connect()
        say('ready')
        do()
except KeyboardInterrupt:
    took = time.monotonic() - struck
    say(
        {
            'took': took,
            'states': [client.state for client in clients],
            'ended': ended,
            'untouched': signals() == before,
        }
    )

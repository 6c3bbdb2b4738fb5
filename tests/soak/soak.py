"""Clients that connect, send, are cut off and come back, for as long as one likes; nothing grows.

    python tests/soak/soak.py --seconds 1800 --clients 500

Each client connects by polling, websocket, or polling upgraded to websocket, in turn; sends counted
messages, some of them large, and receives a stream; and comes to its end in one of several ways: it
leaves, with and without `abort`; the server closes, or destroys its connections; a `gevent.Timeout`
or a kill hits its greenlet anywhere; a proxy cuts its connections after some bytes, all at once, or
carries nothing more; the server's process stands still for longer than the heartbeat allows. Then
it connects again, the same `Client`. Every few seconds a line tells what there is; at the end, and
every two minutes, all clients leave, and what is left over has to be what there was after the first
such rest.
"""

import argparse
import contextlib
import gc
import json
import random
import sys
import time
from collections import Counter
from pathlib import Path
from urllib.parse import quote

import gevent
import gevent.event
import gevent.pool

if __name__ == '__main__':
    tests = Path(__file__).resolve().parent.parent
    sys.path[:0] = [str(tests), str(tests.parent)]

import engineio_gevent
import support
from engineio_gevent.dispatcher import MAX_IDLE
from engineio_gevent.exceptions import ConnectionError

WAYS = [None, ['websocket'], ['polling']]
ENDS = {'leave': 5, 'abort': 2, 'close': 2, 'drop': 4, 'timeout': 2, 'kill': 2}

#: Bytes of memory of its own that the process may have more than after its warm-up.
MEMORY = 8 << 20
#: Objects of one type that there may be more. What lives as long as a client is counted by the
#: hundred: a leak of one object in a hundred connections shows in a minute.
OBJECTS = 100
#: Types that come and go with the interpreter's own caches, or with what this module counts.
UNCOUNTED = {'frame', 'cell', 'function', 'tuple', 'dict', 'list', 'ReferenceType', 'coroutine'}
#: How many of those there may be more.
UNCOUNTED_OBJECTS = 2000

#: Seconds between two lines.
REPORT = 5
#: Seconds between two rests in a long run.
REST = 120


class Wanderer:
    """One client that comes and goes."""

    def __init__(self, soak, number):
        self.soak = soak
        self.chance = random.Random(number)
        self.way = WAYS[number % len(WAYS)]
        self.eio = engineio_gevent.Client(handle_sigint=False, request_timeout=10)
        self.eio.on('connect', self._on_connect)
        self.eio.on('message', self._on_message)
        self.eio.on('disconnect', self._on_disconnect)
        self.connects = self.disconnects = 0
        self.streamed = 0
        self.ended = gevent.event.Event()

    def _on_connect(self):
        self.connects += 1
        self.streamed = 0
        self.ended.clear()

    def _on_message(self, message):
        if message == f's {self.streamed}':
            self.streamed += 1
            self.soak.counts['received'] += 1
        else:
            self.soak.faults.append(f'{message[:40]!r} after {self.streamed}')

    def _on_disconnect(self, reason):
        self.disconnects += 1
        self.soak.counts[reason] += 1
        self.ended.set()

    def wander(self):
        """Connect and come to an end, again and again."""
        while not self.soak.resting:
            end = self.chance.choices(list(ENDS), ENDS.values())[0]
            self.soak.counts[end] += 1
            try:
                self._once(end)
            except ConnectionError as exc:
                self.soak.counts['refused'] += 1
                self.soak.last_refusal = str(exc)
                gevent.sleep(self.chance.random())
            if self.connects > self.disconnects:
                # A connection that was made ends by its handler, whatever happened.
                self.eio.disconnect(abort=True)
                self.ended.wait(5)
            if self.connects != self.disconnects or self.eio.state != 'disconnected':
                self.soak.faults.append(
                    f'{end}: {self.connects} connects, {self.disconnects} disconnects, '
                    f'{self.eio.state}'
                )
                return

    def _once(self, end):
        if end == 'kill':
            greenlet = gevent.spawn(self._stay_or_fail)
            gevent.sleep(self.chance.random() * 0.5)
            greenlet.kill()
            return
        if end == 'timeout':
            with gevent.Timeout(0.001 + self.chance.random() * 0.5, False):
                self._stay(10)
            return
        self._stay(self.chance.random())
        if end == 'leave':
            self.eio.disconnect()
        elif end == 'abort':
            self.eio.disconnect(abort=True)
        else:
            self.eio.send(end)
            if not self.ended.wait(20):
                self.soak.faults.append(f'no disconnect after {end!r} over {self.eio.transport()}')

    def _stay_or_fail(self):
        with contextlib.suppress(ConnectionError):
            self._stay(10)

    def pass_by(self):
        """Connect and leave, without trouble: no client keeps the error of a cut then."""
        self.connect()
        self.eio.send('m 0')
        self.eio.disconnect()
        if self.eio.disconnect_error is not None:
            self.soak.faults.append(f'without trouble: {self.eio.disconnect_error!r}')

    def connect(self):
        self.eio.connect(f'{self.soak.proxy.url}/?check=1&stream=100', transports=self.way)

    def _stay(self, seconds):
        self.connect()
        until = time.monotonic() + seconds
        number = 0
        while time.monotonic() < until and self.eio.state == 'connected' and number < 100:
            size = self.chance.choice([0, 100, 100, 1000, 100_000 if not number % 20 else 0])
            message = f'm {number} {"x" * size}'
            self.eio.send(message.encode() if self.chance.random() < 0.3 else message)
            number += 1
            self.soak.counts['sent'] += 1
            gevent.sleep(self.chance.random() * 0.2)


class Cutter:
    """The proxy of the fault tests before a server, and somebody who plays with it."""

    PROGRAM = Path(__file__).resolve().parent.parent / 'faults' / 'proxy.py'
    MOMENTS = ('accept', 'get', 'post', 'probe', 'ws-open')

    def __init__(self, server):
        self._process = support.ServerProcess([sys.executable, self.PROGRAM])
        opened = self._control('open', target=server.port, mode='http')
        self._lane = opened['id']
        self.url = f'http://127.0.0.1:{opened["port"]}'
        self._chance = random.Random(1)

    def _control(self, name, **arguments):
        return self._process.control(f'{name}?{quote(json.dumps(arguments))}')

    def cut(self, count):
        """Cut some of the next connections within their first bytes, wherever that is."""
        self._control(
            'rule',
            lane=self._lane,
            on=[self._chance.choice(self.MOMENTS)],
            times=count,
            do='cut',
            after=self._chance.randrange(1, 3000),
            how=self._chance.choice(['reset', 'close', 'hole']),
        )

    def cut_all(self):
        """End all connections there are."""
        self._control(
            'act', lane=self._lane, at=None, do='end', how=self._chance.choice(['reset', 'close'])
        )

    def lift(self):
        """Let everything flow."""
        self._control('lift', lane=self._lane)

    def stop(self):
        self._process.stop()


class Soak:
    """A server, its clients, and what there is of everything.

    :param clients: how many there are.
    :param say: what to tell each line to.
    """

    def __init__(self, clients, say=print):
        self.say = say
        self.counts = Counter()
        self.faults = []
        self.last_refusal = None
        self.resting = True
        self.turns = 0
        # A server that stands still for a second is dead to its clients after 3.
        self.server = support.ServerProcess.js(
            pingInterval=1500, pingTimeout=1500, maxHttpBufferSize=1 << 20
        )
        self.proxy = Cutter(self.server)
        self.wanderers = [Wanderer(self, number) for number in range(clients)]

    def run(self, seconds):
        """Wander for so long. Returns a list of all that is wrong: texts."""
        started = time.monotonic()
        warm = min(seconds / 3, REST)
        before = None
        while not self.faults:
            left = seconds - (time.monotonic() - started)
            if before is not None and left < 1:
                break
            self._wander(warm if before is None else max(1, min(left, REST)))
            now = self._rest()
            if before is None:
                before = now
            else:
                self.faults += compare(before, now)
        checked = self.server.control('checked')
        self.counts['checked by the server'] = checked['messages']
        self.faults += [f'server: {fault}' for fault in checked['faults']]
        self.say(str(dict(self.counts)))
        return self.faults

    def stop(self):
        self.proxy.stop()
        self.server.stop()

    def _wander(self, seconds):
        self.resting = False
        self._greenlets = [gevent.spawn(wanderer.wander) for wanderer in self.wanderers]
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0 and not self.faults:
            self._break_something()
            gevent.sleep(min(REPORT / 5, left))
            self.turns += 1
            if self.turns % 5 == 0:
                self._report()
            if self.turns % 12 == 0 and left > 10:
                self.counts['server stood still'] += 1
                self.server.suspend()
                gevent.sleep(4)
                self.server.resume()
        self.proxy.lift()

    def _break_something(self):
        if self.turns % 8 == 7:
            self.counts['all cut'] += 1
            self.proxy.cut_all()
        else:
            self.counts['cuts'] += 1
            self.proxy.cut(len(self.wanderers) // 20)

    def _report(self):
        states = Counter(wanderer.eio.state for wanderer in self.wanderers)
        self.say(
            f'{sum(one.connects for one in self.wanderers):7} connects, '
            f'{states["connected"]:4} connected, {len(support.descriptors()):5} descriptors, '
            f'{memory() / 1048576:6.1f} MiB, sent {self.counts["sent"]}, '
            f'received {self.counts["received"]}, refused {self.counts["refused"]}'
        )

    def _rest(self):
        """Have all clients leave; returns what there is then."""
        self.resting = True
        with gevent.Timeout(60, False):
            gevent.joinall(self._greenlets)
        if waiting := [one for one in self._greenlets if not one.dead]:
            self.faults.append(f'{len(waiting)} clients hang: {waiting[0].gr_frame}')
            gevent.killall(waiting)
            del waiting
        self.faults += [repr(one.exception) for one in self._greenlets if one.exception]
        del self._greenlets
        pool = gevent.pool.Pool(20)
        passing = [pool.spawn(wanderer.pass_by) for wanderer in self.wanderers]
        self.faults += [repr(one.exception) for one in passing if not one.join() and one.exception]
        support.eventually(lambda: self.server.count() == 0, 20)
        gevent.sleep(0.5)
        now = Inventory()
        self.say(f'at rest: {now}')
        return now


class Inventory:
    """What there is of everything, with all clients disconnected."""

    def __init__(self):
        for _ in range(3):
            gc.collect()
        self.memory = memory()
        self.descriptors = Counter(
            what.partition(':[')[0] for what in support.descriptors().values()
        )
        self.greenlets = len(support.greenlets())
        self.objects = Counter(type(one).__name__ for one in gc.get_objects())

    def __str__(self):
        return (
            f'{self.memory / 1048576:.1f} MiB, {sum(self.descriptors.values())} descriptors, '
            f'{self.greenlets} greenlets, {sum(self.objects.values())} objects'
        )


def compare(before, now):
    """What has grown: texts."""
    grown = []
    if now.memory > before.memory + MEMORY:
        grown.append(f'memory: from {before.memory} to {now.memory} bytes')
    if more := now.descriptors - before.descriptors:
        grown.append(f'descriptors: {dict(more)} more')
    # The dispatcher keeps so many parked for the next handlers.
    if now.greenlets > before.greenlets + MAX_IDLE:
        grown.append(f'greenlets: from {before.greenlets} to {now.greenlets}')
    for name, count in (now.objects - before.objects).items():
        if count > (UNCOUNTED_OBJECTS if name in UNCOUNTED else OBJECTS):
            grown.append(f'objects: {count} more {name}')
    return grown


def memory():
    """Bytes of this process that no other shares; elsewhere than on Linux 0."""
    with contextlib.suppress(FileNotFoundError):
        text = Path('/proc/self/smaps_rollup').read_text()
        return 1024 * sum(
            int(line.split()[1]) for line in text.splitlines() if line.startswith('Private_')
        )
    return 0


def main():
    parser = argparse.ArgumentParser(description='Connect, send, be cut off, come back.')
    parser.add_argument('--seconds', type=float, default=1800, help='how long (%(default)g)')
    parser.add_argument('--clients', type=int, default=500, help='how many (%(default)d)')
    arguments = parser.parse_args()
    soak = Soak(
        arguments.clients, lambda line: print(f'{time.strftime("%H:%M:%S")} {line}', flush=True)
    )
    try:
        faults = soak.run(arguments.seconds)
    finally:
        soak.stop()
    for fault in faults[:50]:
        print('WRONG:', fault)
    sys.exit(bool(faults))


if __name__ == '__main__':
    main()

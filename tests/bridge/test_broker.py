"""The broker by itself: what is kept, what is missed, and who is cut off."""

import json
import logging
import socket

import gevent
import pytest

import support

from .conftest import load

broker_module = load('broker')
LOG = logging.getLogger('bridge')


@pytest.fixture
def broker():
    return broker_module.Broker(LOG, streams=3)


def events(chunk):
    """The events in what a stream gives: (id, kind, data); comments and times are left out."""
    found = []
    for text in chunk.decode().split('\n\n'):
        fields = dict(line.partition(': ')[::2] for line in text.splitlines() if line[0] != ':')
        if 'event' in fields:
            found.append((fields.get('id'), fields['event'], json.loads(fields['data'])))
    return found


def beginning(stream, kind='message'):
    """The data of the events of a kind with which a stream begins."""
    return [data for _, name, data in events(next(stream)) if name == kind]


def say(broker, *texts):
    for text in texts:
        broker.publish('message', {'text': text}, event_id=f'id-{text}')


def texts_of(data):
    return [each['text'] for each in data]


def test_each_stream_has_each_event_once_in_order(broker):
    streams = [broker.subscribe(None, None) for _ in range(2)]
    for stream in streams:
        assert [name for _, name, _ in events(next(stream))] == ['hello']
    say(broker, 'one', 'two')
    assert events(next(streams[0])) == [
        ('id-one', 'message', {'text': 'one'}),
        ('id-two', 'message', {'text': 'two'}),
    ]
    say(broker, 'three')
    assert texts_of(beginning(streams[0])) == ['three']
    assert texts_of(beginning(streams[1])) == ['one', 'two', 'three']


def test_a_stream_that_waits_is_woken(broker):
    stream = broker.subscribe(None, None)
    next(stream)
    waiting = gevent.spawn(next, stream)
    gevent.sleep(0)
    say(broker, 'one')
    assert texts_of([events(waiting.get(timeout=5))[0][2]]) == ['one']


def test_who_comes_back_gets_what_was_missed(broker):
    say(broker, 'one', 'two', 'three')
    for last_id, missed in [
        ('id-one', ['two', 'three']),
        ('id-three', []),
        ('id-elsewhere', ['one', 'two', 'three']),
        (None, ['one', 'two', 'three']),
    ]:
        stream = broker.subscribe(last_id, None)
        assert texts_of(beginning(stream)) == missed
        stream.close()
    assert broker.last_id == 'id-three'


def test_the_backlog_is_bounded(broker):
    say(broker, *map(str, range(500)))
    assert texts_of(beginning(broker.subscribe(None, None))) == [
        str(number) for number in range(300, 500)
    ]


def test_the_latest_of_a_kind_are_retained(broker):
    for number in range(5):
        broker.publish('status', {'number': number}, retain=1)
        broker.publish('latency', {'number': number}, retain=3)
        broker.publish('other', {'number': number})
    found = events(next(broker.subscribe(None, None)))
    assert [(name, data.get('number')) for _, name, data in found[1:]] == [
        ('status', 4),
        ('latency', 2),
        ('latency', 3),
        ('latency', 4),
    ]


def test_who_is_too_far_behind_goes_on_with_what_is_there(broker):
    stream = broker.subscribe(None, None)
    next(stream)
    numbers = [str(number) for number in range(broker.LAG + 20)]
    say(broker, *numbers)
    heard = []
    while len(heard) < broker.LAG:
        heard += texts_of(beginning(stream))
    assert heard == numbers[20:]


def test_who_has_missed_events_is_told_how_things_are(broker):
    broker.publish('status', {'state': 'waiting'}, retain=1)
    stream = broker.subscribe(None, None)
    next(stream)
    broker.publish('status', {'state': 'connected'}, retain=1)
    say(broker, *map(str, range(broker.LAG)))
    assert [data['state'] for data in beginning(stream, 'status')] == ['connected']


def test_a_stream_writes_a_bounded_piece_at_a_time(broker):
    stream = broker.subscribe(None, None)
    next(stream)
    size = 10_000
    for number in range(20):
        broker.publish('message', {'text': 'x' * size, 'number': number})
    pieces = []
    while sum(len(events(piece)) for piece in pieces) < 20:
        pieces.append(next(stream))
        assert len(pieces[-1]) < stream.WRITE + 2 * size
    assert [data['number'] for piece in pieces for _, _, data in events(piece)] == [*range(20)]


def test_no_more_streams_than_may_be(broker):
    streams = [broker.subscribe(None, None) for _ in range(3)]
    with pytest.raises(broker_module.TooMany):
        broker.subscribe(None, None)
    assert broker.streams == 3
    streams[0].close()
    streams[0].close()
    assert broker.streams == 2
    broker.subscribe(None, None)


def test_the_end_comes_after_the_rest(broker):
    stream = broker.subscribe(None, None)
    next(stream)
    say(broker, 'one')
    broker.close()
    say(broker, 'two')
    assert texts_of(beginning(stream)) == ['one', 'two']
    with pytest.raises(StopIteration):
        next(stream)
    late = broker.subscribe('id-one', None)
    assert texts_of(beginning(late)) == ['two']
    with pytest.raises(StopIteration):
        next(late)


def test_the_end_wakes_who_waits(broker):
    stream = broker.subscribe(None, None)
    waiting = gevent.spawn(list, stream)
    gevent.sleep(0)
    broker.close()
    assert len(waiting.get(timeout=5)) >= 1


def test_silence_is_filled(broker, monkeypatch):
    monkeypatch.setattr(broker_module.Stream, 'HEARTBEAT', 0.01)
    stream = broker.subscribe(None, None)
    next(stream)
    assert next(stream) == b': heartbeat\n\n'
    say(broker, 'one')
    assert texts_of(beginning(stream)) == ['one']


def test_who_takes_nothing_is_cut_off(broker):
    """Only where it is the write that waits: who has nothing to take is left alone."""
    ours, theirs = socket.socketpair()
    idle, idle_peer = socket.socketpair()
    stalled = broker.subscribe(None, ours)
    waiting = broker.subscribe(None, idle)
    next(stalled)  # it has been given something, and has not come for more
    next(waiting)
    waits = gevent.spawn(next, waiting)
    gevent.sleep(0.02)
    broker.cut_stalled(10)
    ours.send(b'it is still there')
    broker.cut_stalled(0.01)
    with pytest.raises(BrokenPipeError):
        ours.send(b'it is not')
    assert theirs.recv(100) == b'it is still there'
    assert theirs.recv(100) == b''
    idle.send(b'it is')
    assert idle_peer.recv(100) == b'it is'
    waits.kill()
    # One that is gone already is no error.
    ours.close()
    broker.cut_stalled(0)
    for sock in (theirs, idle, idle_peer):
        sock.close()


def test_nothing_in_an_event_ends_it(broker):
    stream = broker.subscribe(None, None)
    next(stream)
    nasty = 'a\n\nb\r\rc\u2028d\x85e\x00f\x0bg\x1dh data: {}'
    say(broker, 'first')
    broker.publish('message', {'text': nasty})
    chunk = next(stream)
    assert chunk.isascii()
    assert [data['text'] for _, _, data in events(chunk)] == ['first', nasty]
    for bad in ('a\nb', 'a\rb', 'a\x00b', 'a\u2028b'):
        with pytest.raises(ValueError, match='contains unprintable characters'):
            broker.publish('message', {'text': 'x'}, event_id=bad)
    assert broker.last_id == 'id-first'


def test_publishing_waits_for_nobody(broker, leaks):
    with leaks():
        for _ in range(3):
            broker.subscribe(None, None)
        with gevent.Timeout(5):
            say(broker, *map(str, range(10_000)))
        assert broker.count == 10_000
    assert support.eventually(lambda: broker.streams == 3)

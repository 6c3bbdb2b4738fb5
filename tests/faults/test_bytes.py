"""Bytes that come late, one by one, in two pieces, or not all of them."""

import pytest

from engineio_gevent.exceptions import ConnectionClosed, EngineIOError

every_way = pytest.mark.parametrize(
    'way', ['polling', 'https', 'websocket', 'wss', 'upgraded'], indirect=True
)

TEXTS = {8: 'hello', 204: 'x' * 199, 70011: 'x' * 70000}
"""Messages by the size of the frames that they make, with a length of each form."""


def share(count):
    """Spread what a loop goes through over so many tests."""
    return pytest.mark.parametrize(
        ('first', 'step'),
        [(first, count) for first in range(count)],
        ids=[f'{first + 1}of{count}' for first in range(count)],
    )


# -- Late, but whole ------------------------------------------------------------------------------


@every_way
@pytest.mark.parametrize(
    ('pace', 'seconds'), [('delay', 0.01), ('trickle', 0)], ids=['delayed', 'trickled']
)
def test_slow_bytes(make_subject, way, pace, seconds):
    """From the first one on, both ways; it works all the same."""
    subject = make_subject(way)
    subject.lane.everywhere(pace, seconds=seconds)
    subject.connect()
    for text in ('hello', 'x' * 200, 'one\ntwo'):
        subject.ask(text)
    subject.leaves()


@pytest.mark.parametrize('way', ['polling', 'websocket', 'wss'], indirect=True)
@pytest.mark.parametrize(
    ('pace', 'seconds'), [('delay', 0.5), ('trickle', 0.02)], ids=['delayed', 'trickled']
)
@pytest.mark.parametrize('kind', ['js'], indirect=True)
def test_a_handshake_that_is_too_slow(make_subject, way, pace, seconds):
    """Each byte is in time, the whole is not."""
    subject = make_subject(way, request_timeout=0.4)
    subject.lane.everywhere(pace, seconds=seconds)
    subject.expires()
    subject.client.request_timeout = 5
    subject.recovers()


# -- In two pieces --------------------------------------------------------------------------------


def longest(subject):
    """How many bytes the server says at most on one connection, in `visit`."""
    subject.connect()
    subject.ask()
    subject.leaves()
    subject.lane.wait_open(0)
    return subject.lane.state['most']


@share(2)
@pytest.mark.parametrize(
    ('way', 'mode'),
    [('polling', 'http'), ('websocket', 'http'), ('wss', 'tls'), ('upgraded', 'http')],
    indirect=['way'],
)
def test_a_connection_split_at_every_boundary(make_subject, way, mode, first, step):
    """Of all that the server says from the handshake to the farewell."""
    subject = make_subject(way, mode=mode)
    boundaries = range(first + 1, longest(subject) + 1, step)
    assert len(boundaries) > 50
    for boundary in boundaries:
        subject.ends.clear()
        subject.lane.lift()
        subject.lane.rule('accept', 'split', times=None, after=boundary)
        subject.connect()
        subject.ask()
        subject.leaves()


@pytest.mark.parametrize(
    ('way', 'size'),
    [('polling', 400), ('https', 400), ('websocket', 12), ('wss', 45)],
    indirect=['way'],
)
def test_a_message_split_at_every_boundary(make_subject, way, size):
    """Of its frame, its answers, or, where the server does the TLS, of its records."""
    subject = make_subject(way).connect()
    for boundary in range(1, size):
        subject.lane.act('split', after=boundary)
        subject.ask()
    assert (subject.ends, subject.connects) == ([], 1)
    subject.leaves()


# -- Not all of them ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ('way', 'mode', 'step'),
    [('polling', 'http', 1), ('websocket', 'http', 1), ('wss', 'tls', 1), ('wss', 'opaque', 13)],
    indirect=['way'],
)
def test_a_handshake_cut_at_every_boundary(make_subject, way, mode, step):
    """By turns by a FIN and a reset; with the server's own TLS at some of the 3,000 bytes."""
    subject = make_subject(way, mode=mode).connect()
    size = subject.lane.state['most']
    subject.leaves()
    subject.ends.clear()
    for boundary in range(0, size - (4 if mode == 'opaque' else 0), step):
        subject.connects = 0
        subject.lane.rule('accept', 'cut', after=boundary, how=['close', 'reset'][boundary % 2])
        subject.fails(EngineIOError)
    subject.recovers()


@pytest.mark.parametrize('how', ['close', 'reset'])
@pytest.mark.parametrize('way', ['websocket', 'wss'], indirect=True)
@pytest.mark.parametrize('kind', ['js'], indirect=True)
def test_a_frame_cut_at_every_boundary(make_subject, way, how):
    """In all three forms of its header and in what follows; nothing of it is delivered."""
    subject = make_subject(way, mode='tls' if way.tls else 'http')
    for size, text in TEXTS.items():
        cuts = [*range(min(size, 14)), size // 2, size - 1]
        for after in cuts:
            subject.again()
            subject.lane.act('cut', after=after, how=how)
            subject.client.send(text)
            subject.loses(ConnectionClosed)
            assert subject.inbox.empty()
    subject.recovers()


@pytest.mark.parametrize('how', ['close', 'reset'])
@pytest.mark.parametrize('way', ['wss'], indirect=True)
def test_a_record_cut_at_every_boundary(make_subject, way, how):
    subject = make_subject(way)
    for after in range(30):
        subject.again()
        subject.lane.act('cut', after=after, how=how)
        subject.client.send('hello')
        subject.loses(ConnectionClosed)
        assert subject.inbox.empty()
    subject.recovers()


@pytest.mark.parametrize('how', ['close', 'reset'])
@pytest.mark.parametrize('moment', ['get', 'post'])
@pytest.mark.parametrize('way', ['polling'], indirect=True)
def test_an_answer_cut_within(make_subject, way, moment, how):
    """In its head and its body; of what is cut nothing is delivered."""
    subject = make_subject(way)
    for after in [0, 1, 8, *range(12, 120, 9)]:
        subject.again()
        if moment == 'get':
            subject.lane.wait_seen('get')
            subject.lane.act('cut', 'get', after=after, how=how)
        else:
            subject.lane.rule('post', 'cut', after=after, how=how)
        subject.client.send('hello')
        subject.loses(EngineIOError)
        while not subject.inbox.empty():  # by the GET, while the POST's answer was cut
            assert (subject.inbox.get(), moment) == ('hello', 'post')
    subject.recovers()

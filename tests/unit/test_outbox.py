"""What is queued for a socket: the order of the bytes, and what is known of them."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engineio_gevent.net.outbox import GATHER_SIZE, Outbox


class Large:
    """An entry that is made in pieces of `size` bytes."""

    def __init__(self, data, size=3):
        self.data = data
        self.size = size
        self.taken = 0

    def __len__(self):
        return len(self.data) - self.taken

    def __repr__(self):
        return f'Large({self.data})'

    def take(self):
        piece = self.data[self.taken : self.taken + self.size]
        self.taken += len(piece)
        assert piece, 'asked for a piece when there is none'
        return piece


def send_all(outbox):
    """The chunks of all that is queued, each sent whole."""
    chunks = []
    while outbox.size:
        chunks.append(outbox.next_chunk())
        outbox.sent(len(chunks[-1]))
    return chunks


@pytest.fixture
def outbox():
    return Outbox()


# -- The queue -------------------------------------------------------------------------------------


def test_a_new_one_is_empty(outbox):
    assert outbox.size == 0
    assert outbox.unsent() == []


def test_small_entries_are_one_chunk(outbox):
    assert [outbox.put(entry) for entry in (b'one', b'two', b'three')] == [3, 6, 11]
    assert outbox.size == 11
    assert send_all(outbox) == [b'onetwothree']
    assert outbox.size == 0


def test_one_entry_is_not_copied(outbox):
    entry = b'x' * 1000
    outbox.put(entry)
    assert outbox.next_chunk() is entry


@pytest.mark.parametrize(
    ('sizes', 'chunks'),
    [
        ([GATHER_SIZE, 1], [GATHER_SIZE, 1]),
        ([GATHER_SIZE - 1, 5, 1], [GATHER_SIZE + 4, 1]),
        ([GATHER_SIZE - 2, 1, 1, 1], [GATHER_SIZE, 1]),
        ([1, GATHER_SIZE, 1], [GATHER_SIZE + 1, 1]),
    ],
)
def test_a_chunk_has_a_size(outbox, sizes, chunks):
    """No entry is cut for it, and none is added to a chunk that is large enough."""
    for size in sizes:
        outbox.put(bytes(size))
    assert [len(chunk) for chunk in send_all(outbox)] == chunks


def test_a_chunk_is_the_same_until_some_of_it_is_sent(outbox):
    outbox.put(b'one')
    outbox.put(b'two')
    chunk = outbox.next_chunk()
    outbox.put(b'three')
    assert outbox.next_chunk() is chunk
    outbox.sent(0)
    assert outbox.next_chunk() == chunk == b'onetwo'
    assert outbox.size == 11


def test_a_chunk_that_is_sent_in_part(outbox):
    outbox.put(b'onetwo')
    for left in (b'onetwo', b'netwo', b'etwo', b'o'):
        outbox.sent(len(outbox.next_chunk()) - len(left))
        assert outbox.next_chunk() == left
        assert outbox.size == len(left)
        outbox.next_chunk()
    outbox.put(b'three')
    outbox.sent(1)
    assert send_all(outbox) == [b'three']


# -- Priority --------------------------------------------------------------------------------------


def test_priority_goes_first(outbox):
    outbox.put(b'message')
    assert outbox.put_first(1, b'pong') == 11
    assert outbox.size == 11
    assert outbox.unsent() == [b'pong', b'message']
    assert send_all(outbox) == [b'pong', b'message']


def test_one_entry_of_each_kind(outbox):
    outbox.put_first(1, b'one')
    outbox.put_first(2, b'other')
    outbox.put(b'message')
    assert outbox.size == 15
    for entry in (b'two', b'and three'):
        before = outbox.size
        assert outbox.put_first(1, entry) - before == len(entry) - 3
    assert outbox.unsent() == [b'other', b'and three', b'message']
    assert send_all(outbox) == [b'otherand three', b'message']
    assert outbox.size == 0


def test_no_priority_over_a_chunk_that_has_begun(outbox):
    outbox.put(b'one')
    outbox.put(b'two')
    outbox.next_chunk()
    outbox.put_first(1, b'pong')
    outbox.sent(0)
    outbox.put(b'three')
    assert send_all(outbox) == [b'onetwo', b'pong', b'three']


def test_an_entry_with_priority_that_has_begun_is_not_replaced(outbox):
    outbox.put_first(1, b'one')
    outbox.next_chunk()
    outbox.put_first(1, b'two')
    assert outbox.size == 6
    assert send_all(outbox) == [b'one', b'two']


# -- Large entries ---------------------------------------------------------------------------------


def test_a_large_entry_leaves_in_pieces(outbox):
    outbox.put(b'one')
    assert outbox.put(Large(b'abcdefgh')) == 11
    outbox.put(b'two')
    assert outbox.size == 14
    assert send_all(outbox) == [b'one', b'abc', b'def', b'gh', b'two']
    assert outbox.size == 0


def test_a_piece_is_made_when_it_is_needed(outbox):
    large = Large(b'abcdef')
    outbox.put(large)
    assert large.taken == 0
    outbox.sent(len(outbox.next_chunk()) - 1)
    assert outbox.next_chunk() == b'c'
    assert large.taken == 3
    assert outbox.size == 4


def test_priority_over_a_large_entry_that_has_not_begun(outbox):
    outbox.put(Large(b'abcdef'))
    outbox.put_first(1, b'pong')
    assert send_all(outbox) == [b'pong', b'abc', b'def']


@pytest.mark.parametrize('sent', [0, 1, 3, 5])
def test_no_priority_within_a_large_entry(outbox, sent):
    outbox.put(Large(b'abcdef'))
    outbox.put(b'message')
    chunks = []
    while sent >= 0:
        chunks.append(bytes(outbox.next_chunk()[:sent]))
        outbox.sent(len(chunks[-1]))
        sent -= len(chunks[-1]) or 1
    outbox.put_first(1, b'pong')
    assert b''.join([*chunks, *send_all(outbox)]) == b'abcdefpongmessage'


def test_large_entries_one_after_the_other(outbox):
    entries = [Large(b'abcd'), Large(b'e'), Large(b'fgh')]
    for entry in entries:
        outbox.put(entry)
    assert outbox.unsent() == entries
    assert send_all(outbox) == [b'abc', b'd', b'e', b'fgh']


# -- What has not been sent ------------------------------------------------------------------------


def test_an_entry_counts_until_its_last_byte_is_sent(outbox):
    for entry in (b'one', b'two', b'three'):
        outbox.put(entry)
    outbox.next_chunk()
    outbox.put(b'four')
    outbox.put_first(1, b'pong')
    for sent, left in (
        (0, [b'one', b'two', b'three']),
        (2, [b'one', b'two', b'three']),
        (1, [b'two', b'three']),
        (4, [b'three']),
        (3, [b'three']),
        (1, []),
    ):
        outbox.next_chunk()
        outbox.sent(sent)
        assert outbox.unsent() == [*left, b'pong', b'four']


def test_a_large_entry_counts_until_its_last_byte_is_sent(outbox):
    large = Large(b'abcde')
    for entry in (b'one', large, b'two'):
        outbox.put(entry)
    for sent, left in (
        (1, [b'one', large, b'two']),
        (2, [large, b'two']),
        (3, [large, b'two']),
        (1, [large, b'two']),
        (1, [b'two']),
    ):
        outbox.next_chunk()
        outbox.sent(sent)
        assert outbox.unsent() == left


# -- Whatever happens ------------------------------------------------------------------------------

SMALL = st.integers(min_value=1, max_value=9)
STEPS = st.one_of(
    st.tuples(st.just('put'), SMALL),
    st.tuples(st.just('put'), st.integers(GATHER_SIZE - 3, GATHER_SIZE + 3)),
    st.tuples(st.just('put_first'), SMALL, st.integers(1, 3)),
    st.tuples(st.just('put_large'), SMALL),
    st.tuples(st.just('send'), st.one_of(st.integers(0, 9), st.just(None))),
)


@given(st.lists(STEPS, max_size=40))
def test_every_sequence(steps):
    """Each entry leaves whole and in one piece, in the right order, and the counts add up."""
    outbox = Outbox()
    wire = bytearray()
    queue, priority, begun = [], {}, []  # the entries' bytes in the order of sending
    serial = 0

    def check():
        expected = [*begun, *priority.values(), *queue]
        assert [getattr(one, 'data', one) for one in outbox.unsent()] == expected
        assert outbox.size == sum(map(len, expected)) - offset

    offset = 0  # bytes sent of the first that has begun
    large = set()
    for step, size, *kind in [*steps, *[('send', None)] * (len(steps) + 60)]:
        if step != 'send':
            serial += 1
            data = bytes([serial]) * size
            if step == 'put_first':
                priority.pop(kind[0], None)
                priority[kind[0]] = data
                assert outbox.put_first(kind[0], data) == outbox.size
            elif step == 'put_large':
                queue.append(data)
                large.add(data)
                assert outbox.put(Large(data)) == outbox.size
            else:
                queue.append(data)
                assert outbox.put(data) == outbox.size
        elif outbox.size:
            chunk = outbox.next_chunk()
            if not begun:  # these have begun now
                if priority:
                    begun, priority = [*priority.values()], {}
                elif queue[0] in large:
                    begun = [queue.pop(0)]
                else:
                    joined = 0
                    while queue and queue[0] not in large and joined < GATHER_SIZE:
                        begun.append(queue.pop(0))
                        joined += len(begun[-1])
            assert b''.join(begun)[offset:].startswith(chunk)
            sent = len(chunk) if size is None else min(size, len(chunk))
            wire += chunk[:sent]
            outbox.sent(sent)
            offset += sent
            while begun and offset >= len(begun[0]):
                offset -= len(begun.pop(0))
        check()
    assert outbox.size == 0
    # No entry has another one within it.
    assert len([*itertools.groupby(wire)]) == len(set(wire))

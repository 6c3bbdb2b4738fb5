"""The heartbeat's deadline, by a clock and a loop of the test's own."""

from __future__ import annotations

import pytest

from engineio_gevent import heartbeat
from engineio_gevent.heartbeat import GRACE, Heartbeat
from support import ScriptedLoop


@pytest.fixture
def loop(monkeypatch):
    return ScriptedLoop.install(monkeypatch, heartbeat)


@pytest.fixture
def silences():
    """The moments when it said that the server is silent."""
    return []


@pytest.fixture
def beating(loop, silences):
    return Heartbeat(10, lambda: silences.append(loop.now))


def test_silence_is_told_once_and_after_the_grace(beating, loop, silences):
    loop.run_to(110)
    assert silences == []
    loop.run_to(110 + GRACE)
    assert silences == [110 + GRACE]
    loop.run_to(1000)
    assert len(silences) == 1
    assert loop.armed == []


def test_a_beat_moves_the_deadline(beating, loop, silences):
    for moment in (105, 114, 123):
        loop.run_to(moment)
        beating.beat()
    loop.run_to(132.9)
    assert silences == []
    loop.run_to(133 + GRACE)
    assert silences == [133 + GRACE]


def test_the_timer_is_not_armed_anew_for_each_beat(beating, loop):
    for _ in range(1000):
        beating.beat()
    assert len(loop.made) == 1
    loop.run_to(109)
    beating.beat()
    loop.run_to(111)
    assert len(loop.made) == 2  # for the rest


def test_a_beat_that_lay_unread(beating, loop, silences):
    """The process was busy for long; the PING is read just after the timer has fired."""
    loop.now = 500
    loop.run_to(500)
    assert silences == []
    beating.beat()
    loop.run_to(509)
    assert silences == []
    loop.run_to(510 + GRACE)
    assert silences == [510 + GRACE]


def test_every_deadline_has_its_grace(beating, loop, silences):
    loop.run_to(110)
    beating.beat()  # within the grace of the first
    loop.run_to(120)
    assert silences == []
    loop.run_to(120 + GRACE)
    assert len(silences) == 1


@pytest.mark.parametrize('moment', [100, 105, 110, 110 + GRACE, 200])
def test_after_the_end_there_is_nothing(beating, loop, silences, moment):
    loop.run_to(moment)
    told = list(silences)
    beating.stop()
    beating.stop()
    loop.run_to(1000)
    assert silences == told
    assert loop.armed == []
    assert all(one.closed for one in loop.made)


def test_timers_that_no_loop_takes(loop, silences):
    Heartbeat(1e300, lambda: silences.append(loop.now))
    loop.run_to(100 + 40 * 86400)
    assert silences == []
    assert max(one.moment for one in loop.made) < 100 + 50 * 86400


def test_many_share_one_timer(loop):
    told = []
    beating = [Heartbeat(10, lambda number=number: told.append((number, loop.now)))
               for number in range(100)]
    assert len(loop.armed) == 1
    for moment in range(101, 150):
        loop.run_to(moment)
        for one in beating[:50]:
            one.beat()
    assert len(loop.armed) == 1
    assert told == [(number, 110 + GRACE) for number in range(50, 100)]
    assert len(loop.made) < 20  # not one for each and each time
    for one in beating[1:]:
        one.stop()
    loop.run_to(1000)
    assert told[50:] == [(0, 159 + GRACE)]
    assert loop.armed == []


def test_each_in_its_time(loop):
    told = []
    beating = []
    for number in range(10):
        loop.run_to(100 + number)
        beating.append(Heartbeat(20, lambda number=number: told.append((number, loop.now))))
    beating[0].stop()  # the one that the timer is for
    beating[3].beat()
    loop.run_to(1000)
    assert sorted(number for number, _ in told) == list(range(1, 10))
    for number, moment in told:
        due = 129 if number == 3 else 120 + number
        assert due < moment <= due + 2 * GRACE


def test_different_patiences_do_not_mix(loop, silences):
    short, long = (Heartbeat(seconds, lambda: silences.append(loop.now)) for seconds in (5, 50))
    short.beat()
    long.beat()
    loop.run_to(1000)
    assert silences == [105 + GRACE, 150 + GRACE]


def test_one_that_ends_another(loop):
    """A disconnect handler may end other connections."""
    told = []
    second = None

    def first_is_silent():
        told.append('first')
        second.stop()

    Heartbeat(10, first_is_silent)
    loop.run_to(105)
    second = Heartbeat(10, lambda: told.append('second'))
    loop.run_to(1000)
    assert told == ['first']


def test_a_server_may_name_any_number_of_patiences(loop, silences):
    beating = [Heartbeat(number + 1, lambda: silences.append(loop.now)) for number in range(1000)]
    assert len(heartbeat._per_thread.watches) <= 64
    for one in beating[::2]:
        one.stop()
    loop.run_to(5000)
    assert silences == [100 + number + 1 + GRACE for number in range(1, 1000, 2)]

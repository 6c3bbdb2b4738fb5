"""The heartbeat's deadline, by a clock and a loop of the test's own."""

from __future__ import annotations

import gc
import threading
import weakref

import gevent
import gevent.event
import pytest

from engineio_gevent import heartbeat
from engineio_gevent.heartbeat import GRACE, Heartbeat
from support import ScriptedLoop


@pytest.fixture
def loop(monkeypatch):
    return ScriptedLoop.install(monkeypatch)


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
    assert loop.armed == loop.open == []


def test_the_grace_is_a_moment():
    """Long enough for what lies unread in the socket, and nothing that anybody would notice."""
    assert 0.01 <= GRACE <= 0.5


def test_the_deadline_is_told(beating, loop):
    assert beating.deadline == 110
    loop.run_to(103)
    beating.beat()
    assert beating.deadline == 113


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
    beating = [
        Heartbeat(10, lambda number=number: told.append((number, loop.now)))
        for number in range(100)
    ]
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
    assert len(heartbeat._timers.get().by_patience) <= 64
    for one in beating[::2]:
        one.stop()
    loop.run_to(5000)
    assert silences == [100 + number + 1 + GRACE for number in range(1, 1000, 2)]


@pytest.mark.parametrize('left', [1e-9, 0.0004, 0.0009])
def test_what_is_left_is_less_than_a_loop_takes(loop, silences, left):
    """The shared timer fires for the first; the second's deadline follows closely."""
    Heartbeat(10, lambda: silences.append('first'))
    loop.now += left
    Heartbeat(10, lambda: silences.append('second'))
    loop.run_to(110)
    loop.run_to(1000)
    assert silences == ['first', 'second']
    assert loop.open == []


def test_a_beat_leaves_a_timer_that_fires_too_early(beating, loop, silences):
    """By less than the shortest time that a loop takes: libuv cuts timers to whole milliseconds."""
    loop.run_to(101)
    loop.now = 109.9995
    loop.armed[0].moment = 109.9995
    loop.run_to(109.9995)
    assert silences == []
    loop.run_to(1000)
    assert len(silences) == 1


def test_a_server_that_gives_no_time_at_all(loop, silences):
    one = Heartbeat(0, lambda: silences.append(loop.now))
    loop.run_to(100)
    assert silences == []
    loop.run_to(100 + GRACE)
    assert silences == [100 + GRACE]
    one.stop()


def test_what_has_been_told_may_beat_again(beating, loop, silences):
    """It does not come back by itself; the session stops it, but may read a PING before."""
    loop.run_to(111)
    assert len(silences) == 1
    beating.beat()
    loop.run_to(120)
    assert len(silences) == 1
    loop.run_to(122)
    assert len(silences) == 2


def test_one_that_stops_leaves_the_timer_to_the_others(loop, silences):
    first, second = (Heartbeat(10, lambda: silences.append(loop.now)) for _ in range(2))
    first.stop()
    assert len(loop.armed) == 1
    second.stop()
    assert loop.open == []
    loop.run_to(1000)
    assert silences == []


def test_one_that_stops_within_its_grace(beating, loop, silences):
    loop.run_to(110)
    other = Heartbeat(10, lambda: silences.append(loop.now))
    beating.stop()
    loop.run_to(115)
    assert silences == []
    loop.run_to(121)
    assert silences == [120 + GRACE]
    other.stop()


def test_one_that_is_late_is_not_told_with_those_in_their_grace(loop, silences):
    """It became late within the grace of another; it has one of its own."""
    Heartbeat(10, lambda: silences.append(('first', loop.now)))
    loop.run_to(100 + GRACE / 2)
    Heartbeat(10, lambda: silences.append(('second', loop.now)))
    loop.run_to(110 + GRACE)
    assert silences == [('first', 110 + GRACE)]
    loop.run_to(1000)
    assert silences[1:] == [('second', pytest.approx(110 + 2 * GRACE))]


def test_a_callback_that_raises_is_nothing_to_the_others(loop, silences):
    """An application's logger may raise."""

    def fail():
        raise ZeroDivisionError

    failing = Heartbeat(10, fail)
    Heartbeat(10, lambda: silences.append(loop.now))
    loop.run_to(105)
    Heartbeat(10, lambda: silences.append(loop.now))
    loop.run_to(1000)
    assert silences == [110 + GRACE, 115 + GRACE]
    ((context, kind, error, traceback),) = loop.hub.errors
    assert (context, kind, error.__traceback__) == (failing, ZeroDivisionError, traceback)


def test_the_timer_goes_on_after_a_day(loop, silences):
    """No timer is longer than that."""
    one = Heartbeat(100_000, lambda: silences.append(loop.now))
    assert loop.armed[0].moment == 100 + 86400
    loop.run_to(100 + 86400)
    assert loop.armed[0].moment == 100 + 100_000
    assert len(loop.open) == 1
    loop.run_to(200_000)
    assert silences == [100 + 100_000 + GRACE]
    one.stop()


def test_nothing_holds_what_has_ended(loop, silences):
    def one(end):
        def on_silence():
            silences.append(end)

        return Heartbeat(10, on_silence), weakref.ref(on_silence)

    (stopped, first), (silent, second) = one('stopped'), one('silent')
    stopped.stop()
    loop.run_to(111)
    assert silences == ['silent']
    loop.made.clear()
    del stopped, silent
    gc.collect()
    assert (first(), second()) == (None, None)


def test_timers_are_shared_and_kept(loop):
    Heartbeat(10, int).stop()
    timer = heartbeat._timers.get().by_patience[10]
    Heartbeat(10, int).stop()
    assert heartbeat._timers.get().by_patience == {10: timer}


def test_as_many_timers_are_kept_as_said(loop):
    kept = 64
    first = Heartbeat(1, int)
    beating = [Heartbeat(number + 2, int) for number in range(kept - 1)]
    assert len(heartbeat._timers.get().by_patience) == kept
    beating.append(Heartbeat(kept + 2, int))
    assert list(heartbeat._timers.get().by_patience) == [kept + 2]
    for one in (first, *beating):
        one.stop()
    assert loop.open == []


def test_each_hub_has_timers_of_its_own(monkeypatch, loop, silences):
    """A thread may get another hub, after the first has been destroyed."""
    Heartbeat(10, lambda: silences.append(loop.now))
    other = ScriptedLoop()
    other.drive_heartbeats(monkeypatch)
    Heartbeat(10, lambda: silences.append('other'))
    assert (len(loop.armed), len(other.armed)) == (1, 1)
    other.run_to(111)
    assert silences == []  # by the clock of the first it is not late


def test_threads_share_nothing():
    """With the real hub, which belongs to its thread."""
    one = Heartbeat(60, int)
    timers = []

    def run():
        there = Heartbeat(60, int)
        timers.append(there._shared_timer is one._shared_timer)
        there.stop()
        gevent.get_hub().destroy()

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    one.stop()
    assert timers == [False]


def test_a_real_timer():
    silent = gevent.event.Event()
    one = Heartbeat(0.01, silent.set)
    assert silent.wait(5)
    one.stop()

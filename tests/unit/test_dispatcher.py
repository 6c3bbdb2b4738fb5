"""Handlers start in order, none waits for another, and none can break anything."""

from __future__ import annotations

import contextvars
import gc
import itertools
import logging
import subprocess
import sys
import threading
import weakref

import gevent
import pytest
from gevent.event import Event

from engineio_gevent import dispatcher as module
from engineio_gevent.dispatcher import BATCH, MAX_IDLE, MIN_IDLE, Dispatcher, dispatchers
from support import eventually, patience, settle

CONTEXT = contextvars.copy_context()
VARIABLE = contextvars.ContextVar('VARIABLE', default='unset')


@pytest.fixture
def dispatcher():
    one = Dispatcher(gevent.get_hub())
    yield one
    gevent.killall(workers(one), block=True, timeout=5)


def workers(dispatcher):
    """All workers of this dispatcher that live."""
    return [
        item
        for item in gc.get_objects()
        if isinstance(item, module._Worker) and item._dispatcher is dispatcher and not item.dead
    ]


def submit(dispatcher, function, argument=None):
    dispatcher.submit(CONTEXT, function, argument)


def finish(dispatcher):
    """Wait until everything submitted so far has started."""
    done = Event()
    submit(dispatcher, lambda _: done.set())
    assert done.wait(5)


def test_nothing_runs_within_submit(dispatcher):
    ran = []
    submit(dispatcher, ran.append, 1)
    assert ran == []
    finish(dispatcher)
    assert ran == [1]


@pytest.mark.parametrize('count', [1, 2, BATCH - 1, BATCH, BATCH + 1, 10 * BATCH + 7])
def test_jobs_run_in_order(dispatcher, count):
    ran = []
    for number in range(count):
        submit(dispatcher, ran.append, number)
    finish(dispatcher)
    assert ran == list(range(count))
    assert len(workers(dispatcher)) == 1


def test_jobs_start_in_order_though_some_block(dispatcher):
    started, ended = [], []

    def job(number):
        started.append(number)
        if number % 3 == 0:
            gevent.sleep(0.01)
        ended.append(number)

    for number in range(500):
        submit(dispatcher, job, number)
        if number % 50 == 0:
            gevent.sleep(0)
    assert eventually(lambda: len(ended) == 500)
    assert started == list(range(500))


def test_a_job_that_blocks_delays_none(dispatcher):
    blocked, ran = Event(), []
    submit(dispatcher, lambda _: blocked.wait())
    for number in range(3):
        submit(dispatcher, ran.append, number)
    assert eventually(lambda: ran == [0, 1, 2])
    submit(dispatcher, ran.append, 3)
    assert eventually(lambda: ran == [0, 1, 2, 3])
    blocked.set()


def test_a_job_that_has_blocked_leaves_the_next_to_others(dispatcher):
    """Whoever took over goes on; what blocked comes back to a queue that is not its own."""
    release, log = Event(), []

    def slow(_):
        log.append('slow')
        release.wait()
        log.append('slow again')

    def second(_):
        log.append('second')
        release.set()
        gevent.sleep(0)
        log.append('second again')

    for job in (slow, second, lambda _: log.append('third')):
        submit(dispatcher, job)
    assert eventually(lambda: len(log) == 5)
    assert log.index('slow') < log.index('second') < log.index('third')


def test_jobs_that_submit_jobs(dispatcher):
    ran = []

    def job(number):
        ran.append(number)
        if number < 3 * BATCH:
            submit(dispatcher, job, number + 1)

    submit(dispatcher, job, 0)
    assert eventually(lambda: len(ran) == 3 * BATCH + 1)
    assert ran == list(range(3 * BATCH + 1))


def test_jobs_that_submit_jobs_need_one_worker(dispatcher):
    """A worker is used again within one turn of the hub, too."""
    seen = []

    def job(number):
        seen.append(id(gevent.getcurrent()))
        if number < 2 * BATCH:
            submit(dispatcher, job, number + 1)

    submit(dispatcher, job, 0)
    assert eventually(lambda: len(seen) == 2 * BATCH + 1)
    assert len(set(seen)) == 1


def test_jobs_that_are_submitted_together(dispatcher):
    ran = []
    submit(dispatcher, ran.append, 'before')
    dispatcher.submit_all(CONTEXT, ran.append, iter(range(2 * BATCH)))
    submit(dispatcher, ran.append, 'after')
    assert ran == []
    finish(dispatcher)
    assert ran == ['before', *range(2 * BATCH), 'after']


def test_thousands_of_jobs_that_block(dispatcher):
    count = 3000
    release, running, done = Event(), [], []

    def job(number):
        running.append(number)
        release.wait()
        done.append(number)

    for number in range(count):
        submit(dispatcher, job, number)
    assert eventually(lambda: len(running) == count)
    assert running == list(range(count))
    finish(dispatcher)  # still there
    release.set()
    assert eventually(lambda: len(done) == count)
    assert eventually(lambda: len(workers(dispatcher)) <= MAX_IDLE)
    finish(dispatcher)
    assert sorted(done) == list(range(count))


def test_workers_are_used_again(dispatcher):
    seen = set()
    for _ in range(10):
        submit(dispatcher, lambda _: seen.add(id(gevent.getcurrent())))
        finish(dispatcher)
    assert len(seen) == 1
    assert len(workers(dispatcher)) == 1


@pytest.mark.parametrize('blocks', [False, True])
def test_the_hub_gets_its_turn_after_each_batch(dispatcher, blocks):
    done, seen, release = [], [], Event()

    def job(number):
        done.append(number)
        if blocks:
            release.wait()

    def look():
        while len(done) < 10 * BATCH:
            seen.append(len(done))
            gevent.sleep(0)

    looking = gevent.spawn(look)
    for number in range(10 * BATCH):
        submit(dispatcher, job, number)
    looking.get(timeout=5)
    release.set()
    steps = {after - before for before, after in itertools.pairwise(seen)}
    assert steps <= {0, BATCH}
    assert BATCH in steps


def test_an_idle_dispatcher_keeps_no_hub_running():
    """A program whose last greenlet has ended can end."""
    program = (
        'import contextvars, gevent, gevent.event\n'
        'from engineio_gevent import dispatcher\n'
        'dispatcher.IDLE_SECONDS = 1000\n'
        'context, release = contextvars.copy_context(), gevent.event.Event()\n'
        'for _ in range(2 * dispatcher.MIN_IDLE):\n'
        '    dispatcher.dispatchers.get().submit(context, lambda _: release.wait(), None)\n'
        'gevent.spawn_later(0.05, release.set)\n'
        'print(gevent.get_hub().join(timeout=30))\n'
    )
    result = subprocess.run(
        [sys.executable, '-c', program], capture_output=True, text=True, check=True
    )
    assert result.stdout == 'True\n'


def test_it_says_whether_jobs_wait_to_begin(dispatcher):
    seen = []
    assert dispatcher.has_jobs is False
    for _ in range(2):
        submit(dispatcher, lambda _: seen.append(dispatcher.has_jobs))
    assert dispatcher.has_jobs is True
    settle()
    assert seen == [True, False]
    assert dispatcher.has_jobs is False


class Owner:
    def __init__(self, dispatcher):
        self.dispatcher = dispatcher
        self.seen = []

    def look(self, _):
        self.seen.append(self.dispatcher.job_owner())
        self.seen.append(gevent.spawn(self.dispatcher.job_owner).get(timeout=5))


def test_it_says_whose_job_runs(dispatcher):
    """A greenlet that a job spawns runs no job."""
    owner, seen = Owner(dispatcher), []
    submit(dispatcher, owner.look)
    submit(dispatcher, lambda _: seen.append(dispatcher.job_owner()))
    finish(dispatcher)
    settle()
    assert owner.seen == [owner, None]
    assert seen == [None]
    assert dispatcher.job_owner() is None


# -- Jobs that fail --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    'error',
    [
        ValueError('wrong'),
        gevent.GreenletExit(),
        SystemExit(3),
        GeneratorExit(),
        gevent.Timeout(),
        RecursionError(),
    ],
    ids=lambda error: type(error).__name__,
)
@pytest.mark.parametrize('first_blocks', [False, True])
def test_an_exception_is_logged_and_ends_its_job_alone(dispatcher, caplog, error, first_blocks):
    def fail(_):
        if first_blocks:
            gevent.sleep(0.01)
        raise error

    ran = []
    submit(dispatcher, ran.append, 1)
    submit(dispatcher, fail)
    submit(dispatcher, ran.append, 2)
    assert eventually(lambda: ran == [1, 2] and caplog.records)
    finish(dispatcher)
    (record,) = caplog.records
    assert record.levelno == logging.ERROR
    assert record.name.startswith('engineio_gevent')
    assert record.exc_info[1] is error


def test_keyboard_interrupt_is_the_main_greenlet_s(dispatcher):
    def interrupt(_):
        raise KeyboardInterrupt

    ran = []
    submit(dispatcher, interrupt)
    submit(dispatcher, ran.append, 1)
    with pytest.raises(KeyboardInterrupt):
        gevent.sleep(5)
    finish(dispatcher)
    assert ran == [1]


def test_a_worker_can_be_killed(dispatcher, caplog):
    """By a handler that hands out its own greenlet, say; who kills it waits for its end."""
    found, ran = [], []

    def job(_):
        found.append(gevent.getcurrent())
        Event().wait()

    submit(dispatcher, job)
    submit(dispatcher, ran.append, 1)
    assert eventually(lambda: ran)
    with gevent.Timeout(5):
        found[0].kill()
    assert found[0].dead
    submit(dispatcher, ran.append, 2)
    finish(dispatcher)
    assert ran == [1, 2]


def test_a_parked_worker_can_be_killed(dispatcher):
    ran = []
    crowd(dispatcher, 10)
    gevent.killall(workers(dispatcher), timeout=5)
    assert workers(dispatcher) == []
    assert dispatcher._idle == []
    submit(dispatcher, ran.append, 1)
    finish(dispatcher)
    assert ran == [1]


def test_a_job_that_kills_itself(dispatcher):
    ran = []
    submit(dispatcher, lambda _: gevent.getcurrent().kill())
    submit(dispatcher, ran.append, 1)
    finish(dispatcher)
    assert ran == [1]


# -- Contexts --------------------------------------------------------------------------------------


def test_each_job_has_a_copy_of_its_context(dispatcher):
    seen = []

    def job(value):
        seen.append(VARIABLE.get())
        VARIABLE.set(value)
        seen.append(VARIABLE.get())

    own = contextvars.copy_context()
    own.run(VARIABLE.set, 'own')
    dispatcher.submit(own, job, 'a')
    dispatcher.submit(own, job, 'b')
    submit(dispatcher, job, 'c')
    dispatcher.submit(own, job, 'd')
    finish(dispatcher)
    assert seen == ['own', 'a', 'own', 'b', 'unset', 'c', 'own', 'd']
    assert own[VARIABLE] == 'own'


def test_a_context_outlives_a_wait(dispatcher):
    seen = []

    def job(value):
        VARIABLE.set(value)
        gevent.sleep(0.01)
        seen.append((value, VARIABLE.get()))

    for value in range(20):
        submit(dispatcher, job, value)
    assert eventually(lambda: len(seen) == 20)
    assert all(value == found for value, found in seen)


# -- What it keeps ---------------------------------------------------------------------------------


class Thing:
    def use(self, used):
        used.append(True)


def is_gone(reference):
    """Whether nothing keeps the thing any more; where nobody counts, that takes a collection."""
    if sys.implementation.name != 'cpython':
        gc.collect()
    return reference() is None


@pytest.mark.parametrize(
    'job',
    [
        lambda thing: None,
        lambda thing: gevent.sleep(0),
        lambda thing: 1 / 0,
    ],
    ids=['returns', 'blocks', 'fails'],
)
def test_no_argument_is_kept(dispatcher, job, caplog):
    caplog.set_level(logging.CRITICAL)  # a log record keeps its traceback
    thing = Thing()
    gone = weakref.ref(thing)
    submit(dispatcher, job, thing)
    finish(dispatcher)
    settle()
    caplog.clear()
    del thing
    assert sys.exc_info() == (None, None, None)
    assert is_gone(gone)


def test_no_argument_is_kept_while_later_jobs_run(dispatcher):
    """Not even by a worker whose next job waits for long."""
    thing, blocked = Thing(), Event()
    gone = weakref.ref(thing)
    submit(dispatcher, lambda thing: None, thing)
    submit(dispatcher, lambda _: blocked.wait())
    finish(dispatcher)
    del thing
    assert is_gone(gone)
    blocked.set()


def test_no_owner_of_a_job_is_kept(dispatcher):
    """A connection whose last message was handled may be freed."""
    owner, used = Thing(), []
    gone = weakref.ref(owner)
    submit(dispatcher, owner.use, used)
    settle()
    assert used == [True]
    del owner
    assert is_gone(gone)


def test_idle_workers_are_few(dispatcher):
    release, count, begun = Event(), MAX_IDLE + 1000, []
    for number in range(count):
        submit(dispatcher, lambda _, number=number: (begun.append(number), release.wait()))
    assert eventually(lambda: len(begun) == count)
    crowd = workers(dispatcher)
    assert len(crowd) >= count
    release.set()
    settle()  # at once, not when the idle ones are released
    assert sum(not worker.dead for worker in crowd) <= MAX_IDLE


# -- One per hub -----------------------------------------------------------------------------------


def test_there_is_one_for_each_hub():
    own = dispatchers.get()
    assert dispatchers.get() is own
    others = []

    def work():
        other = dispatchers.get()
        others.append(other)
        ran = []
        other.submit(CONTEXT, ran.append, threading.get_ident())
        settle()
        others.append(ran == [threading.get_ident()])
        gevent.get_hub().destroy(destroy_loop=True)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join(10)
    assert others[0] is not own
    assert others[0].hub is not own.hub
    assert others[1] is True


def crowd(dispatcher, count):
    """Have so many workers at once, and park them all."""
    release = Event()
    for _ in range(count):
        submit(dispatcher, lambda _: release.wait())
    finish(dispatcher)
    release.set()
    assert eventually(lambda: len(dispatcher._idle) == len(workers(dispatcher)) > count)


def test_workers_that_nobody_needs_are_let_go(dispatcher, monkeypatch):
    monkeypatch.setattr(module, 'IDLE_SECONDS', 0.05)
    crowd(dispatcher, 3 * MIN_IDLE)
    assert eventually(lambda: len(workers(dispatcher)) == MIN_IDLE)
    assert dispatcher._releaser is None
    crowd(dispatcher, 2 * MIN_IDLE)  # and again
    assert eventually(lambda: len(workers(dispatcher)) == MIN_IDLE)
    finish(dispatcher)


def test_few_idle_workers_need_no_timer(dispatcher):
    """An idle process is not woken for them."""
    crowd(dispatcher, MIN_IDLE - 1)
    assert len(workers(dispatcher)) == MIN_IDLE
    assert dispatcher._releaser is None
    crowd(dispatcher, MIN_IDLE)
    assert dispatcher._releaser is not None


def test_workers_that_are_needed_again_and_again_are_kept(dispatcher, monkeypatch):
    monkeypatch.setattr(module, 'IDLE_SECONDS', 1000)
    needed = 2 * MIN_IDLE
    crowd(dispatcher, needed + 2 * MIN_IDLE)
    for _ in range(3):
        crowd(dispatcher, needed)
        kept = set(map(id, workers(dispatcher)))  # who holds one keeps it from being used again
        dispatcher.hub.loop.run_callback(dispatcher._release)
        settle()
    assert len(kept) == needed + 1 + MIN_IDLE
    assert kept == set(map(id, workers(dispatcher)))


# -- What a job leaves behind ----------------------------------------------------------------------


needs_counts = pytest.mark.skipif(
    not hasattr(sys, 'getrefcount'), reason='this Python does not count references'
)


def at_once(start):
    start()


def before_waiting(start):
    start()
    gevent.sleep(0)


def after_waiting(start):
    gevent.sleep(0)
    start()


def before_failing(start):
    start()
    raise ValueError('a handler failed')


@needs_counts
@pytest.mark.parametrize('exception', [None, ValueError('mine')])
@pytest.mark.parametrize('together', [False, True], ids=['one by one', 'in one batch'])
@pytest.mark.parametrize('how', [at_once, before_waiting, after_waiting, before_failing])
def test_a_timeout_that_a_job_has_left_fires_in_no_other_job(
    dispatcher, caplog, hub_errors, how, together, exception
):
    """The greenlet of a job whose Timeout is pending runs no job of anybody else."""
    fired, ended, left = Event(), [], []

    class Left(gevent.Timeout):
        def _on_expiration(self, greenlet, throws):  # gevent's hook for subclasses
            super()._on_expiration(greenlet, throws)
            fired.set()

    def leave(_):
        timeout = Left(0.01, exception)
        left.append(timeout)
        how(timeout.start)

    def wait(number):
        try:
            assert fired.wait(patience(5))
            gevent.sleep(0)
            ended.append(number)
        except BaseException as exc:
            ended.append(exc)

    submit(dispatcher, leave)
    if not together:
        settle()
    for number in range(5):
        submit(dispatcher, wait, number)
    assert eventually(lambda: len(ended) == 5)
    assert sorted(ended, key=str) == [0, 1, 2, 3, 4]
    assert hub_errors == []
    left[0].close()


@needs_counts
def test_a_timeout_that_a_job_has_left_fires_in_a_greenlet_that_waits_for_none(
    dispatcher, hub_errors
):
    """No traceback, and the next job runs."""
    fired = Event()

    class Left(gevent.Timeout):
        def _on_expiration(self, greenlet, throws):
            super()._on_expiration(greenlet, throws)
            fired.set()

    submit(dispatcher, lambda _: Left(0.01).start())
    assert fired.wait(patience(5))
    assert hub_errors == []
    assert eventually(lambda: workers(dispatcher) == [])
    finish(dispatcher)


@needs_counts
def test_whoever_keeps_the_greenlet_of_a_job_cannot_kill_another_job(dispatcher):
    kept, ended = [], []

    def wait(number):
        gevent.sleep(0.01)
        ended.append(number)

    submit(dispatcher, lambda _: kept.append(gevent.getcurrent()))
    submit(dispatcher, wait, 1)
    settle()
    kept[0].kill(block=False)
    submit(dispatcher, wait, 2)
    assert eventually(lambda: sorted(ended) == [1, 2])


def test_a_timeout_of_a_job_s_own_works(dispatcher):
    seen = []

    def job(number):
        with gevent.Timeout(0.001, False):
            Event().wait()
            seen.append('waited')
        seen.append(number)

    for number in range(3):
        submit(dispatcher, job, number)
    assert eventually(lambda: sorted(seen, key=str) == [0, 1, 2])


@pytest.mark.parametrize('waits', [False, True])
def test_jobs_that_leave_nothing_use_workers_again(dispatcher, waits, monkeypatch):
    """Also after an exception, and a wait."""
    found = []
    monkeypatch.setattr(module.DISPATCHER, 'disabled', True)
    monkeypatch.setattr(module, 'enabled', lambda logger: logger)  # caplog keeps tracebacks

    def job(number):
        found.append(id(gevent.getcurrent()))
        with gevent.Timeout(5):
            if waits:
                gevent.sleep(0)
        if number % 2:
            raise ValueError(number)

    for number in range(20):
        submit(dispatcher, job, number)
        settle()
    made = workers(dispatcher)
    assert len(found) == 20
    assert len(made) == 1
    assert set(found) == {id(made[0])}

"""Requests by code that waits: which greenlets make them, and what ends them."""

from __future__ import annotations

import contextlib

import gevent
import pytest
from gevent.event import AsyncResult, Event

from engineio_gevent.exceptions import ConnectionClosed
from engineio_gevent.transports.in_greenlets import InGreenlets
from support import no_leaks, settle


class FakeHTTP:
    """Requests wait here until the test answers them."""

    def __init__(self):
        #: of each request: what it was asked with, and in which greenlet
        self.asked = []
        self.answer = AsyncResult()

    def get(self, target, timeout):
        return self._wait('GET', target, timeout)

    def post(self, target, body, timeout):
        return self._wait('POST', target, body, timeout)

    def _wait(self, *asked):
        self.asked.append((asked, gevent.getcurrent()))
        return self.answer.get()


@pytest.fixture
def inner():
    return FakeHTTP()


@pytest.fixture
def http(inner):
    one = InGreenlets(inner)
    yield one
    one.close()
    settle()


def test_the_handshake_waits_where_it_is_asked_for(http, inner):
    inner.answer.set(b'body')
    assert http.get_and_wait('/', 5) == b'body'
    assert inner.asked == [(('GET', '/', 5), gevent.getcurrent())]


def test_an_answer_comes_later(http, inner):
    inner.answer.set(b'body')
    answers = []
    http.get('/get', 5, answers.append)
    http.post('/post', b'x', 6, answers.append)
    assert answers == inner.asked == []
    settle()
    assert answers == [b'body'] * 2
    assert [asked for asked, _ in inner.asked] == [
        ('GET', '/get', 5),
        ('POST', '/post', b'x', 6),
    ]


@pytest.mark.parametrize(
    'error', [ValueError('of a library'), ConnectionClosed('gone'), gevent.Timeout(3)]
)
def test_an_error_is_an_answer(http, inner, error):
    inner.answer.set_exception(error)
    answers = []
    http.get('/', 5, answers.append)
    settle()
    assert answers == [error]


def test_one_request_after_the_other_is_made_in_one_greenlet(http, inner):
    inner.answer.set(b'body')
    answers = []

    def again(answer):
        answers.append(answer)
        if len(answers) < 5:
            http.get('/', 5, again)

    http.get('/', 5, again)
    settle()
    assert len(answers) == 5
    greenlets = {greenlet for _, greenlet in inner.asked}
    assert len(greenlets) == 1
    assert greenlets.pop().dead  # there is no next request
    http.get('/', 5, answers.append)
    settle()
    assert len(answers) == 6


@pytest.mark.parametrize('end', ['close', 'abandon'])
def test_the_end_kills_what_waits(http, inner, end):
    answers = []
    with no_leaks():
        http.get('/', 5, answers.append)
        http.post('/', b'x', 5, answers.append)
        settle()
        ending = getattr(http, end)()
        settle()
        greenlets = [greenlet for _, greenlet in inner.asked]
        assert [greenlet.dead for greenlet in greenlets] == [True, True]
        assert answers == []
        if end == 'close':
            assert ending == greenlets


def test_the_end_before_a_greenlet_has_begun(http, inner):
    http.get('/', 5, pytest.fail)
    http.close(gently=True)
    settle()
    assert inner.asked == []


def test_an_abandon_that_wakes_nobody(http, inner):
    http.get('/', 5, lambda answer: None)
    settle()
    http.abandon(wake=False)
    settle()
    assert not inner.asked[0][1].dead


def test_an_answer_may_end_it(http, inner):
    """Its greenlet is not killed, and makes no other request."""
    inner.answer.set(b'body')
    ended = []

    def end(answer):
        ended.append((answer, http.close()))
        http.get('/', 5, pytest.fail)
        gevent.sleep(0)
        ended.append('went on')

    http.get('/', 5, end)
    settle()
    assert ended == [(b'body', []), 'went on']
    assert len(inner.asked) == 1


def test_a_request_that_swallows_the_end_has_no_answer(http, inner):
    """An adapter of the caller's session may catch everything."""
    release = Event()

    def get(target, timeout):
        while not release.is_set():
            with contextlib.suppress(gevent.GreenletExit):
                release.wait()
        return b'late'

    inner.get = get
    http.get('/', 5, pytest.fail)
    settle()
    (ending,) = http.close()
    settle()
    assert not ending.dead
    release.set()
    ending.join(5)
    assert ending.successful()


@pytest.mark.parametrize('begun', [True, False], ids=['begun', 'not-begun'])
def test_a_greenlet_that_the_application_kills(http, inner, begun):
    """Some programs kill all greenlets. The connection ends, and does not hang."""
    answers = []
    http.get('/', 5, answers.append)
    if begun:
        settle()
    assert len(inner.asked) == begun
    http._getter._greenlet.kill()
    settle()
    (error,) = answers
    assert isinstance(error, ConnectionClosed)
    assert 'killed' in str(error)
    assert isinstance(error.__cause__, gevent.GreenletExit) is begun
    inner.answer.set(b'body')
    http.get('/', 5, answers.append)
    settle()
    assert answers[1:] == [b'body']

"""The link by itself: it asks, comes back, and leaves; whatever the upstream does."""

import logging
import time

import gevent
import pytest
from gevent.event import Event

import support

from .conftest import PATIENCE, Upstream, load

link_module = load('link')
LOG = logging.getLogger('bridge')


class Link(link_module.Link):
    """A link that keeps its statuses and messages, in a hurry."""

    FIRST_DELAY = 0.01
    LONGEST_DELAY = 0.02
    PROBE_INTERVAL = 0.05

    def __init__(self, url):
        super().__init__(url, 'worker 1', LOG)
        self.statuses = []
        self.messages = []
        self.latencies = []
        self.on_status = self.statuses.append
        self.on_message = self.messages.append
        self.on_latency = self.latencies.append

    def until(self, condition):
        assert support.eventually(condition, PATIENCE), self.statuses[-5:]

    def lose(self, upstream):
        """The upstream is killed; how many failures the link has counted then."""
        self.statuses.clear()
        upstream.kill()
        self.until_told('waiting')
        return self.statuses[0]['failures']

    def until_told(self, state, **fields):
        expected = {'state': state, **fields}
        self.until(lambda: any(expected.items() <= status.items() for status in self.statuses))


@pytest.fixture
def make_link():
    """Start a `Link`; at the end nothing of it may go on."""
    made = []

    def make(url, **changes):
        made.append(Link(url))
        for name, value in changes.items():
            setattr(made[-1], name, value)
        made[-1].start()
        return made[-1]

    yield make
    for link in made:
        link.leave()
        gevent.joinall(link._greenlets, timeout=support.patience(5))
        assert all(greenlet.ready() for greenlet in link._greenlets)
        assert link._client.state == 'disconnected'
        assert link._asked == {}


def test_ask(upstream, make_link):
    link = make_link(upstream.url)
    link.until_told('connected', transport='websocket')
    answers = [gevent.spawn(link.ask, 'post', 10, text=f'text {number}') for number in range(20)]
    gevent.joinall(answers, timeout=PATIENCE)
    # Each has its own answer, though they are under way at once.
    ids = [answer.get()['id'] for answer in answers]
    assert len(set(ids)) == 20
    link.until(lambda: len(link.messages) == 20)
    assert [(message['id'], message['text']) for message in link.messages] == [
        (number, f'text {index}') for index, number in enumerate(ids)
    ]
    refused = link.ask('post', 10, text='x' * 1001)
    assert refused['type'] == 'refused'
    assert '1000' in refused['error']
    # The first measurement may find the link not connected, which is None.
    link.until(lambda: any(link.latencies))
    assert all(0 < latency < 10 for latency in link.latencies if latency is not None)


def test_nobody_is_there(make_link):
    link = make_link(f'http://127.0.0.1:{support.free_port()}')
    with pytest.raises(link_module.Away):
        link.ask('ping', 10)
    link.until(lambda: None in link.latencies)


def test_it_goes_on_trying_for_hours(make_link, upstream):
    """A thousand failures, which are hours at the real pace, are no end."""
    upstream.kill()
    link = make_link(upstream.url, FIRST_DELAY=1e-5, LONGEST_DELAY=1e-5)
    link.until_told('waiting', failures=1100)
    upstream.start()
    link.until_told('connected')


def test_it_waits_longer_and_longer(make_link):
    link = make_link(f'http://127.0.0.1:{support.free_port()}', FIRST_DELAY=0.01, LONGEST_DELAY=0.1)
    link.until_told('waiting', failures=8)
    delays = [status['delay'] for status in link.statuses if status['state'] == 'waiting']
    bounds = [0.01, 0.02, 0.04, 0.08, 0.1, 0.1, 0.1, 0.1]
    parts = [delay / longest for delay, longest in zip(delays, bounds, strict=False)]
    assert all(0.5 <= part <= 1 for part in parts), delays
    assert len(set(parts)) == len(parts)  # by chance: two links do not wait for the same times


def test_the_waits_begin_anew_after_a_good_connection_alone(make_link, upstream):
    """One that the upstream has welcomed, and that has lasted."""
    link = make_link(upstream.url, STEADY=3600.0)
    link.until(link.joined.is_set)
    upstream.kill()
    link.until_told('waiting', failures=5)
    upstream.start()
    link.until(link.joined.is_set)
    failures = link.lose(upstream)
    assert failures > 5
    upstream.start()
    link.until(link.joined.is_set)
    link.STEADY = 0.0
    assert link.lose(upstream) == 1


def test_an_upstream_that_says_no_welcome(make_link, python_server):
    """Another kind of server: it echoes."""
    link = make_link(python_server.url, JOIN_TIMEOUT=0.2, STEADY=0.1)
    link.until_told('waiting', failures=3, why='no answer to hello')
    assert not link.joined.is_set()
    # It leaves each time, so that they do not gather there.
    link.leave()
    python_server.wait_count(0)


def test_an_answer_that_does_not_come(make_link, upstream):
    link = make_link(upstream.url)
    link.until(link.joined.is_set)
    upstream.signal('SIGSTOP')
    began = time.monotonic()
    with pytest.raises(link_module.Unconfirmed, match='did not answer'):
        link.ask('post', 0.1, text='hello')
    assert time.monotonic() - began < support.patience(5)
    gevent.spawn_later(0.1, upstream.kill)
    with pytest.raises(link_module.Unconfirmed, match='connection was lost'):
        link.ask('post', PATIENCE, text='hello')


def test_leaving_while_it_connects(make_link, hostile_server):
    """To somebody who accepts, and says nothing."""
    came = Event()

    def silent(sock):
        came.set()
        sock.recv(1000)
        gevent.sleep(PATIENCE)

    link = make_link(hostile_server(silent).url)
    assert came.wait(PATIENCE)
    began = time.monotonic()
    link.leave()
    assert time.monotonic() - began < support.patience(4)


def test_what_was_missed_comes_with_the_connection(make_link, upstream):
    upstream.say('one', 'two')
    link = make_link(upstream.url)
    link.until(link.joined.is_set)
    assert [message['text'] for message in link.messages] == ['one', 'two']
    link.leave()
    upstream.say('three')
    again = make_link(upstream.url, after=lambda: link.messages[-1]['id'])
    again.until(again.joined.is_set)
    assert [message['text'] for message in again.messages] == ['three']
    stranger = make_link(upstream.url, after=lambda: 'elsewhere-7')
    stranger.until(stranger.joined.is_set)
    assert [message['text'] for message in stranger.messages] == ['one', 'two', 'three']


def test_what_it_does_not_understand_is_no_matter(make_link, hostile_server):
    texts = [
        'text',
        '[]',
        'null',
        '{}',
        '{"type": 7}',
        '{"type": []}',
        '{"type": "pong"}',
        '{"type": "posted", "ref": []}',
        '{"type": "welcome"}',
        '{"type": "message", "id": "a-1", "text": "hello", "at": 0}',
    ]

    def polling(sock):
        while True:
            request = support.read_request(sock)
            if 'sid=' not in request.target:
                support.respond(sock, support.open_packet())
            elif request.method == 'POST':
                support.respond(sock, 'ok')
            elif texts:
                support.respond(sock, '\x1e'.join(f'4{text}' for text in texts))
                texts.clear()
            else:
                gevent.sleep(PATIENCE)

    link = make_link(hostile_server(polling).url)
    link.until_told('connected', transport='polling')
    link.until(lambda: link.messages)
    assert [message['text'] for message in link.messages] == ['hello']


def test_a_long_history_by_polling(make_link):
    """All of it comes in one response."""
    upstream = Upstream(transports=['polling'])
    try:
        texts = [f'{number} ' + '\U0001f600' * 990 for number in range(100)]
        upstream.say(*texts)
        link = make_link(upstream.url)
        link.until_told('connected', transport='polling')
        assert [message['text'] for message in link.messages] == texts
    finally:
        upstream.kill()


def test_a_post_that_comes_again_is_one_message(upstream, make_link):
    link, other = make_link(upstream.url), make_link(upstream.url)
    for one in (link, other):
        one.until(one.joined.is_set)
    first = link.ask('post', 10, text='hello', key='key 1')['id']
    assert other.ask('post', 10, text='hello', key='key 1')['id'] == first
    assert other.ask('post', 10, text='hello', key='key 2')['id'] != first
    link.ask('post', 10, text='the last')
    other.until(lambda: other.messages[-1:] and other.messages[-1]['text'] == 'the last')
    assert [message['text'] for message in other.messages] == ['hello', 'hello', 'the last']

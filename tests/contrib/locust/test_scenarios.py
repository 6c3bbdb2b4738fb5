"""Load tests as load testers write them: Locust's report has the numbers that the server counted.

The server is `counting_server.js`. It counts each connection, event and message in a file, also
over a restart. In most runs it is silent for 5 seconds, as an overloaded server is, and later ends
and is started again.

Each user ends in order: it finishes its task, then it leaves. So the numbers are equal, but for
what one end cannot know:

- What a user sends at the moment when the server closes the connection is sent and not received. No
  user has sent more than one such message, because it waits for an answer after each.
- A call that timed out fails, and the server answers it all the same. The scenarios name the answer
  that nobody awaits any more "late", so that these numbers can be compared, too.
- A server that is killed has counted its last event, and has perhaps not yet sent what belongs to
  it: the answer, and a message to each user. The call is a failure then.
"""

import json
import re
from collections import Counter
from pathlib import Path

import gevent
import pytest

import support

HERE = Path(__file__).parent
SERVER_JS = HERE / 'counting_server.js'

USERS = 8
FAILED = 1
"""Locust's exit code where a request has failed."""
GRACE = ('--stop-timeout', 30)
"""Users may finish their task."""
SILENCE = 5
"""Seconds for which the server stops."""
ROUNDS = 3
"""How often each user has its turn, on average, before and after each trouble."""
LOST = 'disconnected while waiting: transport error'
KICKED = 'disconnected while waiting: server disconnect'
#: Failures that are no difference between the ends, or are compared.
TOLD = r'check failed|(no acknowledgement|no matching \w+|not connected) within \d+ seconds'

SOCKETIO = '/socket.io/'
#: The types that the report and the server have by the same names.
COMMON = {'call', 'emit', 'send', 'request', 'refusal', 'recv', 'GET', 'POST'}
#: Types of messages that have no answer.
ONE_WAY = ('emit', 'send')
#: Types that a killed server has counted, and has perhaps not answered.
ANSWERED = ('call', 'request')


class CountingServer(support.ServerProcess):
    """A process of `counting_server.js`."""

    def __init__(self, folder, **options):
        self._file = folder / 'counts'
        super().__init__(['node', SERVER_JS], {'counts': str(self._file), **options})

    @property
    def counts(self):
        """How many there were of each type and name."""
        lines = self._file.read_text().splitlines(keepends=True)
        return Counter(tuple(json.loads(line)) for line in lines if line.endswith('\n'))

    def be_silent(self):
        self.suspend()
        gevent.sleep(SILENCE)
        self.resume()


@pytest.fixture
def make_server(tmp_path):
    support.need_node(support.JS_SERVER.parent, HERE.parent / 'socketio' / 'js')
    servers = []

    def make(**options):
        servers.append(CountingServer(tmp_path, **options))
        return servers[-1]

    yield make
    for server in servers:
        server.stop()


@pytest.fixture
def server(make_server):
    return make_server()


@pytest.fixture
def scenario(locust):
    """`scenario('chat', server)` starts a `Locust` with a file in `scenarios/`."""

    def start(name, server, *arguments, users=USERS):
        files = [HERE / 'scenarios' / f'{name}.py']
        files += [HERE / 'locustfiles' / helper for helper in ('recorder.py', 'orderly.py')]
        return locust(','.join(map(str, files)), server.url, *arguments, users=users)

    return start


# The course of a run


def go_on(run, server, row):
    """Let the users do more of what the server counts by this type and name."""
    enough = server.counts[row] + ROUNDS * USERS
    run.until(lambda: server.counts[row] >= enough)


def trouble(run, server, row, end=CountingServer.stop):
    """The server is silent for a while, goes on, ends, and is started again.

    :param row: what the users do all the time, by type and name.
    :param end: how the server ends.
    """
    run.until(lambda: server.count() == USERS)
    go_on(run, server, row)
    server.be_silent()
    go_on(run, server, row)
    end(server)
    server.restart()
    run.until(lambda: server.count() == USERS)
    go_on(run, server, row)


def finish(run, server, code=FAILED):
    """End the run in order, and wait until the server has received all of it."""
    run.quit(code)
    server.wait_count(0)


# The comparison


class Comparison:
    """What Locust's report says, and what the server has counted."""

    def __init__(self, run, server):
        self._report = run.report
        self._events = run.events
        self.counts = server.counts
        #: {(type, name, text): how many}
        self.failures = Counter({
            (row['method'], row['name'], row['error']): row['occurrences']
            for row in self._report['failures_statistics']
        })  # fmt: skip
        #: {(type, name): how many did not fail, or failed and were answered all the same}
        self.rows = Counter({
            (row['method'], row['name']): row['num_requests'] - row['num_failures']
            for row in self._report['requests_statistics']
            if row['name'] != 'Aggregated'
        })  # fmt: skip
        #: {name: how many requests timed out}
        self.timeouts = Counter()
        for (type_, name, text), count in self.failures.items():
            if text == 'check failed':
                self.rows['refusal', name] += count
            elif text.startswith('no acknowledgement within'):  # the late one has no row
                self.rows[type_, name] += count
            elif text.startswith('no matching') and type_ == 'request':
                self.timeouts[name] += count
        #: {name: how many of these were answered late}
        self.late = Counter()
        for type_, name in list(self.rows):
            if name.startswith('late '):
                count = self.rows.pop((type_, name))
                _, type_, name = name.split(' ', 2)
                self.rows[type_, name] += count
                self.late[name] += count
        assert not self._report['exceptions_statistics']

    def of_type(self, type_):
        """How many of a type did not fail."""
        return sum(count for key, count in self.rows.items() if key[0] == type_)

    def failed(self, type_, name=None):
        """How many of a type, or of a row, failed."""
        return sum(
            count
            for key, count in self.failures.items()
            if key[0] == type_ and name in (None, key[1])
        )

    def counted(self, type_, *paths):
        """How many connections of a type the server has counted."""
        return sum(
            count
            for (counted_type, path), count in self.counts.items()
            if counted_type == type_ and (not paths or path in paths)
        )

    def check_numbers(self, namespaces=(), bounds=None):
        """The numbers are equal.

        :param namespaces: those that each user of Socket.IO connects to.
        :param bounds: by type, how much more the report may have than the server: (at least, at
                       most), or a function that returns this for the name of a row.
        """
        pairs = {
            key: (self.rows[key], self.counts[key])
            for key in (*self.rows, *self.counts)
            if key[0] in COMMON
        }
        engineio = self.counted('open') - self.counted('open', SOCKETIO)
        for namespace in namespaces or ('Engine.IO alone',):
            pairs['connect', namespace] = (
                self.of_type('connect'),
                self.counts['connect', namespace] + engineio,
            )
        pairs['upgrade', 'websocket'] = (
            self.of_type('upgrade'),
            self.counted('upgrade') - self.counted('upgrade', SOCKETIO),
        )
        # Connections that the users did not end.
        pairs['disconnect', ''] = (
            self.failed('disconnect'),
            self.counted('open') - self.counted('leave'),
        )
        wrong = {}
        for (type_, name), pair in pairs.items():
            bound = (bounds or {}).get(type_, (0, 0))
            low, high = bound(name) if callable(bound) else bound
            if not low <= pair[0] - pair[1] <= high:
                wrong[type_, name] = pair
        assert not wrong, f'(reported, counted): {wrong}\n{self.failures}'
        assert not self.counted('timeout')

    def check_failures(self, in_flight=USERS, lost=(LOST,), expected=()):
        """Nothing has failed but connections that the server refused or ended, what was in flight
        then, and what timed out.

        :param in_flight: how many calls there may be at the same time.
        :param lost: the texts of their failures.
        :param expected: further failures, as `failures` has them.
        """
        calls = 0
        for key, count in self.failures.items():
            type_, _, text = key
            if text in lost:
                calls += count
            elif type_ in {'connect', 'GET', 'POST'}:
                assert 'refused' in text or key in expected, key
            elif type_ != 'disconnect':
                assert re.fullmatch(TOLD, text), key
        assert calls <= in_flight
        assert self.late == self.timeouts
        # An outage does not improve the averages.
        for event in self._events:
            if event['exception'] in lost or event['request_type'] == 'disconnect':
                assert event['response_time'] is None

    def check_silence(self, seconds=SILENCE):
        """The report tells of the seconds in which the server was silent."""
        rows = self._report['requests_statistics']
        assert max(row['max_response_time'] for row in rows) > 1000 * seconds - 500


def after(comparison, end):
    """The bounds after the server has ended in this way."""
    bounds = dict.fromkeys(ONE_WAY, (0, USERS))
    if end is CountingServer.kill:
        bounds['recv'] = (-USERS, 0)
        for type_ in ANSWERED:
            bounds[type_] = lambda name, type_=type_: (-comparison.failed(type_, name), 0)
    return bounds


either_end = pytest.mark.parametrize(
    'end',
    [
        pytest.param(CountingServer.stop, id='ended'),
        pytest.param(CountingServer.kill, id='killed'),
    ],
)


@either_end
def test_chat(scenario, server, end):
    run = scenario('chat', server, *GRACE)
    trouble(run, server, ('call', '/members say'), end)
    finish(run, server)
    comparison = Comparison(run, server)
    comparison.check_numbers(['/members'], bounds=after(comparison, end))
    comparison.check_failures()
    comparison.check_silence(SILENCE - 2)  # after a call that timed out
    assert comparison.failures['call', '/members who', 'no acknowledgement within 2 seconds'] > 0


def test_auction(scenario, server):
    """Bids are late when the server is silent. Their answers are messages that nobody awaits."""
    run = scenario('auction', server, *GRACE)
    trouble(run, server, ('request', 'watch'))
    finish(run, server)
    comparison = Comparison(run, server)
    comparison.check_numbers(bounds=after(comparison, CountingServer.stop))
    comparison.check_failures()
    comparison.check_silence(SILENCE - 2)  # after a bid that timed out
    assert comparison.late['bid'] > 0


@either_end
def test_game(scenario, server, end):
    """Handlers make calls, beside those of the tasks."""
    run = scenario('game', server, *GRACE)
    trouble(run, server, ('call', 'play'), end)
    finish(run, server)
    comparison = Comparison(run, server)
    comparison.check_numbers(['/'], bounds=after(comparison, end))
    comparison.check_failures(in_flight=2 * USERS)
    comparison.check_silence()
    assert comparison.rows['request', 'play']


def test_a_game_that_ends_in_the_midst(scenario, server):
    """What is in flight then, in tasks and in handlers, is not reported: it is no failure."""
    run = scenario('game', server)
    go_on(run, server, ('call', 'play'))
    finish(run, server, 0)
    comparison = Comparison(run, server)
    in_flight = dict.fromkeys((*ANSWERED, *ONE_WAY, 'recv'), (-USERS, 0))
    comparison.check_numbers(['/'], bounds=in_flight)
    assert not comparison.failures


def test_dashboard(scenario, server):
    run = scenario('dashboard', server, *GRACE)
    left = ('leave', SOCKETIO)
    run.until(lambda: server.counts[left] == USERS // 2)
    trouble(run, server, ('request', 'query'))
    finish(run, server)
    comparison = Comparison(run, server)
    comparison.check_numbers(['/'])
    # A viewer queries, and awaits metrics at the same time.
    comparison.check_failures(in_flight=2 * USERS)
    assert comparison.late['query'] > 0
    assert comparison.rows['recv', 'metrics'] > comparison.rows['request', 'query']
    assert comparison.counts[left] == USERS // 2 + USERS


def test_members(scenario, server):
    """Two strangers are refused again and again; each refusal is a failure."""
    run = scenario('members', server, *GRACE, users=USERS + 2)
    trouble(run, server, ('request', 'whoami'))
    finish(run, server)
    comparison = Comparison(run, server)
    # A stranger whose connection is open when the server ends has not connected, by its report.
    comparison.check_numbers(['/members'], bounds={'disconnect': (-1, 0)})
    refusals = set()
    for place, text in (
        ('/members', 'One or more namespaces failed to connect'),
        ('/members/engine.io/', 'Unexpected status code 403'),
    ):
        ((key, reported),) = (item for item in comparison.failures.items() if text in item[0][2])
        refusals.add(key)
        # At the moment when the server ends, a stranger may be refused and not hear of it. Or it is
        # not refused any more: python-socketio has one text for both.
        assert abs(comparison.counts['refuse', place] - reported) <= 1
    comparison.check_failures(expected=refusals)
    comparison.check_silence()


def test_workers(scenario, server):
    """The master's report is the sum of what its workers have reported."""
    run = scenario('game', server, '--processes', 2)
    trouble(run, server, ('call', 'play'))
    run.leave()
    server.wait_count(0)
    run.until(lambda: run.count('', 'Aggregated') == len(run.events))
    run.quit(FAILED)
    comparison = Comparison(run, server)
    comparison.check_numbers(['/'], bounds=after(comparison, CountingServer.stop))
    comparison.check_failures(in_flight=2 * USERS)
    comparison.check_silence()


def test_visits(scenario, server):
    """Connections come and go all the time, also when the server is silent."""
    run = scenario('visits', server, *GRACE)
    go_on(run, server, ('request', 'browse'))
    server.be_silent()
    go_on(run, server, ('request', 'browse'))
    finish(run, server, 0)
    comparison = Comparison(run, server)
    comparison.check_numbers(['/'])
    assert not comparison.failures
    comparison.check_silence()
    assert comparison.of_type('connect') > 2 * ROUNDS * USERS


def test_visits_to_a_server_that_ends(scenario, server):
    """Of a user that connects or leaves at this moment one end may not hear."""
    run = scenario('visits', server, *GRACE)
    go_on(run, server, ('request', 'browse'))
    server.stop()
    server.restart()
    go_on(run, server, ('request', 'browse'))
    finish(run, server)
    comparison = Comparison(run, server)
    bounds = after(comparison, CountingServer.stop)
    bounds |= {'connect': (-USERS, 0), 'disconnect': (-USERS, 0), 'upgrade': (-USERS, USERS)}
    comparison.check_numbers(['/'], bounds=bounds)


@pytest.mark.parametrize(
    ('options', 'reason', 'lost'),
    [
        pytest.param({}, 'transport error', LOST, id='ended'),
        # The server disconnects both, and then the connection.
        pytest.param({'farewell': 0}, 'server disconnect', KICKED, id='disconnected'),
    ],
)
def test_two_namespaces(scenario, make_server, options, reason, lost):
    """A connection that the server ends is one disconnect."""
    server = make_server(**options)
    run = scenario('namespaces', server, *GRACE)
    trouble(run, server, ('call', '/members say'))
    finish(run, server)
    comparison = Comparison(run, server)
    comparison.check_numbers(['/', '/members'], bounds=after(comparison, CountingServer.stop))
    comparison.check_failures(lost=(lost,))
    assert comparison.failed('disconnect', reason) == USERS


def test_calls_between_two_farewells(scenario, make_server):
    """The user is not blamed for a call in the namespace that was disconnected first.

    If such a call was on its way, this server closes the connection: the reasons differ.
    """
    server = make_server(farewell=30)
    run = scenario('eager', server, *GRACE)
    run.until(lambda: server.count() == USERS)
    go_on(run, server, ('call', 'whoami'))
    server.stop()
    server.restart()
    run.until(lambda: server.count() == USERS)
    go_on(run, server, ('call', 'whoami'))
    finish(run, server)
    comparison = Comparison(run, server)
    comparison.check_numbers(['/', '/members'])
    comparison.check_failures(lost=(LOST, KICKED))
    assert comparison.failed('disconnect') == USERS

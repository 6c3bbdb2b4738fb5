"""`probe` without problems: the steps, their facts, the report, the exit codes."""

import json
import re

import pytest

import support

#: The stable names of the facts by step.
FACTS = {
    'dns': {'host', 'of', 'addresses', 'pinned'},
    'tcp': {'address', 'port', 'refused_by'},
    'handshake': {
        'transport',
        'status',
        'headers',
        'content_encoding',
        'cookies',
        'sid',
        'ping_interval_ms',
        'ping_timeout_ms',
        'max_payload',
        'upgrades',
    },
    'polling': {'connect_ms', 'status', 'headers', 'content_encoding', 'cookies'},
    'upgrade': {
        'connect_ms',
        'opening_ms',
        'probe_ms',
        'status',
        'permessage_deflate',
        'headers',
        'content_encoding',
        'cookies',
    },
    'leave': {'transport'},
}

INDENT = ' ' * 23


def gone(server, sid):
    """The client closed the connection normally."""
    assert server.close_reason(sid) in ('transport close', 'client disconnect')


def test_all_is_well(probe, any_server):
    outcome = probe(any_server.url)
    assert outcome.code == 0, outcome
    assert outcome.verdict == {
        'status': 'ok',
        'step': None,
        'text': 'connected by polling, then upgraded to websocket',
    }
    assert list(outcome.steps) == ['dns', 'tcp', 'handshake', 'polling', 'upgrade', 'leave']
    assert all(
        step['ms'] > 0 and step['problem'] is None and step['status'] == 'ok'
        for step in outcome.steps.values()
    )
    assert outcome.facts('dns') == {
        'host': '127.0.0.1',
        'of': 'server',
        'addresses': ['127.0.0.1'],
        'pinned': False,
    }
    assert outcome.facts('tcp') == {
        'address': '127.0.0.1',
        'port': any_server.port,
        'refused_by': [],
    }
    handshake = outcome.facts('handshake')
    assert handshake['status'] == 200
    assert handshake['upgrades'] == ['websocket']
    assert (handshake['ping_interval_ms'], handshake['ping_timeout_ms']) == (25000, 20000)
    assert handshake['max_payload'] == 1_000_000
    assert outcome.facts('upgrade')['status'] == 101
    assert outcome.facts('leave') == {'transport': 'websocket'}
    gone(any_server, handshake['sid'])


def test_the_report_keeps_its_names(probe, any_server):
    outcome = probe(any_server.url)
    assert set(outcome.report) == {'schema', 'url', 'verdict', 'runs', 'times'}
    assert outcome.report['schema'] == 1
    assert outcome.report['url'] == any_server.url
    assert set(outcome.run) == {'ms', 'verdict', 'steps'}
    for step in outcome.run['steps']:
        assert set(step) == {'name', 'status', 'ms', 'problem', 'facts'}
    assert {name: set(step['facts']) for name, step in outcome.steps.items()} == FACTS
    assert set(outcome.report['times']) == set(outcome.steps)
    for times in outcome.report['times'].values():
        assert set(times) == {'count', 'min', 'median', 'max'}


def test_nothing_reaches_the_application(probe, any_server):
    """There is no message and no error, so that a probe is safe in production."""
    sid = probe(any_server.url).facts('handshake')['sid']
    assert any_server.received(sid) == []
    methods = [
        (request['method'], 'websocket' in request['url']) for request in any_server.requests(sid)
    ]
    assert methods == [('GET', False), ('POST', False), ('GET', True)]


@pytest.mark.parametrize('transports', ['polling', 'websocket', 'websocket,polling'])
def test_one_transport(probe, any_server, transports):
    outcome = probe(any_server.url, '--transports', transports)
    assert outcome.code == 0, outcome
    way = transports.partition(',')[0]
    second = ['handshake', 'polling'] if way == 'polling' else ['websocket', 'handshake']
    assert list(outcome.steps) == ['dns', 'tcp', *second, 'leave']
    assert outcome.text == f'connected by {way}'
    assert outcome.facts('handshake')['transport'] == way
    assert outcome.facts('leave') == {'transport': way}
    gone(any_server, outcome.facts('handshake')['sid'])


def test_settings_of_the_server(probe, make_any_server):
    server = make_any_server(
        pingInterval=7000,
        pingTimeout=3000,
        maxHttpBufferSize=12345,
        allowUpgrades=False,
        cookie={'name': 'sticky', 'httpOnly': True, 'sameSite': 'strict'},
    )
    outcome = probe(server.url)
    handshake = outcome.facts('handshake')
    assert outcome.code == 0
    assert (handshake['ping_interval_ms'], handshake['ping_timeout_ms']) == (7000, 3000)
    assert handshake['max_payload'] == 12345
    assert handshake['upgrades'] == []
    assert 'upgrade' not in outcome.steps
    assert 'offers no websocket upgrade' in outcome.text
    (cookie,) = handshake['cookies']
    assert cookie['name'] == 'sticky'
    assert {'httponly', 'samesite=strict', 'path=/'} == {
        attribute.lower() for attribute in cookie['attributes']
    }
    # the values of cookies are secret, and the value of this one is the sid
    assert json.dumps(outcome.report).count(handshake['sid']) == 1
    assert server.requests(handshake['sid'])[1]['headers']['cookie'].startswith('sticky=')


@pytest.mark.parametrize('compressed', [True, False])
def test_compression(probe, make_any_server, compressed):
    server = make_any_server(httpCompression={'threshold': 1} if compressed else False)
    coding = probe(server.url).facts('handshake')['content_encoding']
    assert coding in ({'gzip', 'deflate'} if compressed else {None})


@pytest.mark.parametrize('transports', ['polling', 'websocket', 'polling,websocket'])
def test_wait_ping(probe, make_any_server, transports):
    server = make_any_server(pingInterval=500, pingTimeout=20000)
    outcome = probe(server.url, '--wait-ping', '--transports', transports)
    assert outcome.code == 0, outcome
    assert outcome.steps['ping']['ms'] > 50
    assert outcome.facts('ping') == {'transport': transports.rpartition(',')[2]}
    gone(server, outcome.facts('handshake')['sid'])


def test_path_headers_and_query(probe, make_js_server):
    server = make_js_server(path='/socket.io/')
    outcome = probe(f'{server.url}/?token=7', '--path', 'socket.io', '-H', 'X-Who: me')
    assert outcome.code == 0, outcome
    requests = server.requests(outcome.facts('handshake')['sid'])
    assert len(requests) == 3
    for request in requests:
        assert 'token=7' in request['url']
        assert request['headers']['x-who'] == 'me'


def test_credentials_go_to_the_server_alone(probe, shown, js_server):
    url = f'http://me:secret@{js_server.netloc}'
    outcome = probe(url)
    assert outcome.report['url'] == js_server.url
    requests = js_server.requests(outcome.facts('handshake')['sid'])
    assert [r['headers'].get('authorization') for r in requests] == ['Basic bWU6c2VjcmV0'] * 3
    assert 'secret' not in json.dumps(outcome.report)
    assert 'secret' not in shown(url)[1]


@pytest.mark.skipif(not support.has_ipv6(), reason='no IPv6 here')
def test_ipv6(probe, make_python_server):
    outcome = probe(make_python_server(host='::1').url)
    assert outcome.code == 0, outcome
    assert outcome.facts('tcp')['address'] == '::1'


def test_count(probe, shown, any_server):
    outcome = probe(any_server.url, '--count', 3)
    assert outcome.code == 0
    assert len(outcome.report['runs']) == 3
    sids = {
        step['facts']['sid']
        for run in outcome.report['runs']
        for step in run['steps']
        if step['name'] == 'handshake'
    }
    assert len(sids) == 3
    for times in outcome.report['times'].values():
        assert times['count'] == 3
        assert 0 < times['min'] <= times['median'] <= times['max']

    code, text = shown(any_server.url, '--count', 3)
    assert code == 0
    assert text.count('sid ') == 1  # the facts of the first run, then only times
    assert re.search(r'^step +runs +min +median +max$', text, re.M)
    assert re.search(r'^upgrade +3 +[\d.]+ ms +[\d.]+ ms +[\d.]+ ms$', text, re.M)


def test_for_people(shown, without_times, make_js_server):
    server = make_js_server(cookie='io')
    code, text = shown(server.url)
    assert code == 0
    assert '\x1b' not in text  # no colours in a pipe
    sid = re.search(r'sid (\S+),', text)[1]
    assert re.sub(r' +TIME', ' TIME', without_times(text)).splitlines() == [
        'dns TIME  127.0.0.1 is an IP address: no lookup',
        f'tcp TIME  connected to 127.0.0.1 port {server.port}',
        'handshake TIME  HTTP 200',
        f'{INDENT}cookie io; Path=/; HttpOnly; SameSite=Lax',
        f'{INDENT}sid {sid}, pingInterval 25000 ms, pingTimeout 20000 ms, '
        'maxPayload 1,000,000 bytes',
        f'{INDENT}upgrades offered: websocket; response compression: none',
        'polling TIME  HTTP 200, over a second connection (TIME)',
        'upgrade TIME  connect TIME, opening TIME, probe TIME',
        f'{INDENT}not compressed: this client does not support permessage-deflate',
        'leave TIME  over websocket',
        '',
        'OK: connected by polling, then upgraded to websocket, in TIME',
    ]


def test_no_cookies(shown, any_server):
    _, text = shown(any_server.url)
    assert 'response compression: none; no cookies\n' in text


def test_steps_are_shown_as_they_happen(cli, make_js_server):
    server = make_js_server()
    server.suspend()
    try:
        process = cli.start('probe', server.url, '--timeout', 30)
        assert process.stdout.readline().startswith('dns ')
        assert process.stdout.readline().startswith('tcp ')
        assert process.poll() is None
    finally:
        server.resume()
    assert process.stdout.readline().startswith('handshake ')
    assert process.wait(20) == 0


def test_on_a_terminal(cli, js_server):
    terminal = cli.terminal('probe', js_server.url)
    assert terminal.end() == 0
    assert 'OK: connected by polling' in terminal.text
    assert '\x1b[38;5;28m' in terminal.raw
    assert ' ...' not in terminal.text  # the status lines were removed


def test_a_verdict_on_a_narrow_terminal(cli, make_js_server, certificates):
    server = make_js_server(tls=certificates.tls)
    terminal = cli.terminal('probe', server.url, columns=60)
    assert terminal.end() == 1
    verdict = terminal.text[terminal.text.index('Failed: ') :]
    assert len(verdict.splitlines()) > 2
    assert 'sent only one certificate' in ' '.join(verdict.split())  # it wraps between words


def test_ctrl_c(cli, hostile_server):
    import signal

    server = hostile_server(support.read_to_end)
    process = cli.start('probe', server.url, '--timeout', 60)
    assert support.eventually(lambda: server.accepted, 30)
    process.send_signal(signal.SIGINT)
    assert support.eventually(lambda: process.poll() is not None, 20)
    assert process.returncode == 130
    assert 'Traceback' not in process.stderr.read()


class TestUsage:
    def test_no_url(self, cli):
        result = cli('probe', 'ftp://127.0.0.1/')
        assert result.code in (1, 2)
        assert 'ftp' in result.err

    @pytest.mark.parametrize('host', ['a..b', f'{"a" * 70}.example'])
    def test_no_host_name(self, cli, host):
        result = cli('probe', f'http://{host}')
        assert result.code == 2
        assert f"invalid host name: '{host}'" in result.err

    @pytest.mark.parametrize('count', ['0', 'many'])
    def test_count(self, cli, count):
        result = cli('probe', 'http://127.0.0.1', '--count', count)
        assert result.code == 2
        assert 'count' in result.err

    def test_authorities_that_are_none(self, cli, tmp_path):
        (tmp_path / 'empty.pem').write_text('nothing')
        result = cli('probe', 'https://127.0.0.1', '--ca', tmp_path / 'empty.pem')
        assert result.code == 2
        assert 'is not a valid CA bundle' in result.err

    def test_help(self, cli):
        result = cli('probe', '--help')
        assert result.code == 0
        assert '--wait-ping' in result.out
        assert 'Exit codes' in result.out

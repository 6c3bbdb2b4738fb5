"""`engineio-gevent load`: its counts are those of the server, and its Locust command runs."""

import collections
import json
import re
import shlex
import signal
import socket
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import gevent
import gevent.event
import pytest

import support
from engineio_gevent.cli.loading import crowd
from engineio_gevent.cli.loading.summary import histogram


def figures(done):
    return json.loads(done.out)


def seen_by(server):
    """All messages that the server received."""
    return [message for sid, _ in server.control('closed') for message in server.received(sid)]


@pytest.mark.parametrize('transports', ['polling', 'websocket', 'polling,websocket'])
@pytest.mark.parametrize('rate', ['20', '0'])
def test_the_counts_are_the_server_s(cli, make_js_server, transports, rate):
    server = make_js_server()
    done = cli(
        'load',
        server.url,
        '--clients',
        '5',
        '--rate',
        rate,
        '--duration',
        '1',
        '--json',
        '--transports',
        transports,
    )
    assert done.code == 0, done
    found = figures(done)
    assert found['clients'] == found['connected'] == 5
    assert (found['failed'], found['lost'], found['early']) == ({}, {}, False)
    assert found['sent'] == found['answered'] == found['received']
    assert (found['unanswered'], found['unexpected']) == (0, 0)
    if rate == '20':
        assert found['sent'] == 100
    assert sorted(seen_by(server), key=lambda text: int(text.split()[1])) == [
        f'message {number}' for number in range(1, found['sent'] + 1)
    ]
    assert sum(bar['count'] for bar in found['histogram']) == found['answered']
    times = list(found['round_trip_ms'].values())
    assert times == sorted(times)


def test_messages_are_what_they_are_told_to_be(cli, make_js_server):
    server = make_js_server()
    done = cli(
        'load',
        server.url,
        '--clients',
        '2',
        '--rate',
        '5',
        '--duration',
        '1',
        '--json',
        '--message',
        'ü {n}',
        '--size',
        '2000',
    )
    assert figures(done)['answered'] == 10
    messages = seen_by(server)
    assert len(messages) == 10
    assert {len(message.encode()) for message in messages} == {2000}
    assert all(re.fullmatch(r'ü \d+\.+', message) for message in messages)


def test_binary(cli, make_js_server):
    server = make_js_server()
    done = cli(
        'load', server.url, '--clients', '2', '--rate', '5', '--duration', '1', '--json', '--binary'
    )
    assert figures(done)['answered'] == 10
    assert sorted(seen_by(server))[0] == b'message 1'
    assert len(seen_by(server)) == 10


def peers_of(port):
    """The addresses of this machine that have connections to a port of 127.0.0.1."""
    found = collections.Counter()
    for line in Path('/proc/net/tcp').read_text().splitlines()[1:]:
        _, here, there, state, *_ = line.split()
        if there.endswith(f':{port:04X}') and state == '01':
            found[socket.inet_ntoa(bytes.fromhex(here.partition(':')[0])[::-1])] += 1
    return found


@pytest.mark.skipif(sys.platform != 'linux', reason='127.0.0.2 is of this machine on Linux alone')
@pytest.mark.parametrize(
    'given',
    [['127.0.0.2', '--source', '127.0.0.3'], ['127.0.0.2, 127.0.0.3']],
    ids=['twice', 'list'],
)
def test_source_addresses(cli, make_js_server, given):
    """The clients use them in turn, for each transport."""
    server = make_js_server()
    process = cli.start(
        'load', server.url, '--clients', 10, '--duration', 3, '--json', '--source', *given
    )
    wanted = {'127.0.0.2': 5, '127.0.0.3': 5}
    assert support.eventually(lambda: peers_of(server.port) == wanted, 20), peers_of(server.port)
    out, err = process.communicate(timeout=support.patience(40))
    found = json.loads(out)
    assert (process.returncode, found['connected'], found['failed']) == (0, 10, {}), err
    assert ' --engineio-source 127.0.0.2,127.0.0.3 ' in f'{found["locust"]} '


@pytest.mark.parametrize(
    ('value', 'told'),
    [
        ('here', "'here' is not an IP address"),
        ('127.0.0.1,', "'' is not an IP address"),
        ('192.0.2.1', '192.0.2.1'),
    ],
)
def test_source_addresses_that_are_none(cli, value, told):
    done = cli('load', 'http://127.0.0.1:1', '--source', value)
    assert done.code == 2, done
    line = done.err.splitlines()[-1]
    assert line.startswith("Error: Invalid value for '--source': ")
    assert told in line
    if value == '192.0.2.1':
        assert line.endswith('"ip address" lists the addresses')


@pytest.mark.skipif(not support.has_ipv6(), reason='no IPv6 here')
def test_a_source_address_of_another_family(cli, js_server, one_error):
    done = cli('load', js_server.url, '--clients', 2, '--source', '::1')
    assert 'the server has no address of the family of ::1 (--source)' in one_error(done)


def test_all_messages_alike(cli, js_server):
    done = cli(
        'load',
        js_server.url,
        '--clients',
        '3',
        '--rate',
        '30',
        '--duration',
        '1',
        '--message',
        'the same',
        '--json',
    )
    found = figures(done)
    assert found['sent'] == found['answered'] == 90


def test_the_summary(cli, js_server):
    done = cli('load', js_server.url, '--clients', '10', '--rate', '10', '--duration', '1')
    assert done.code == 0, done
    assert done.err == ''
    out = done.out
    assert re.search(r'^connecting 10 of 10$', out, re.MULTILINE)
    assert re.search(r'^connected +10 of 10 clients in ', out, re.MULTILINE)
    assert re.search(r'^sent +100 messages in 1\.\d s: \d+ per second', out, re.MULTILINE)
    assert re.search(r'^received +100 answers\s*$', out, re.MULTILINE)
    assert re.search(
        r'^round trips +min [\d.]+ m?s, p50 [\d.]+ m?s, p90 [\d.]+ m?s, *\n'
        r' +p99 [\d.]+ m?s, p99.9 [\d.]+ m?s, max [\d.]+ m?s *$',
        out,
        re.MULTILINE,
    )
    assert (
        sum(int(count) for count in re.findall(r'^ *< [\d.]+ m?s +(\d+)', out, re.MULTILINE)) == 100
    )
    assert max(map(len, out.split('For more load')[0].splitlines())) <= 100


def test_a_terminal_has_a_bar(cli, js_server):
    terminal = cli.terminal('load', js_server.url, '--clients', '5', '--duration', '2')
    terminal.until(lambda text: '%' in text and ' answered' in text)
    terminal.until('For more load')
    assert terminal.end() == 0
    assert '%' not in terminal.text.split('per client')[0].replace('% of a core', '')


def test_warnings_on_a_narrow_terminal(cli, js_server):
    terminal = cli.terminal(
        'load', js_server.url, '--clients', '1', '--duration', '0.2', columns=52
    )
    assert terminal.end() == 0
    warning = terminal.text[terminal.text.index('! ') : terminal.text.index('For more')]
    assert len(warning.splitlines()) > 1
    assert ' '.join(warning.split()) == (  # it wraps between words
        '! The server runs on this machine and competes with the clients for CPU time.'
    )


def test_a_server_that_does_not_echo(cli, js_server):
    url = f'{js_server.url}/?check=1'
    silent = ['load', url, '--clients', '2', '--rate', '5', '--duration', '1', '--message', 's {n}']
    done = cli(*silent, '--patience', '0.2')
    assert done.code == 1
    assert '! The server does not send messages back' in done.out
    assert '0 answers, 10 unanswered' in done.out
    assert cli(*silent, '--no-echo').code == 0


def test_it_ends_with_its_duration(cli, js_server):
    """It does not wait until the message after the last would be due."""
    found = figures(
        cli(
            'load',
            js_server.url,
            '--clients',
            '1',
            '--rate',
            '0.1',
            '--duration',
            '0.2',
            '--patience',
            '30',
            '--json',
        )
    )
    assert found['sent'] == found['answered'] == 1
    assert found['sending_seconds'] < 5


def test_no_echo_has_a_rate(cli):
    done = cli('load', 'http://127.0.0.1:1', '--no-echo', '--rate', '0')
    assert done.code == 2


def test_no_server(cli, one_error):
    port = support.free_port()
    done = cli('load', f'http://127.0.0.1:{port}', '--clients', '3')
    assert 'connection refused' in one_error(done)


def test_the_same_trouble_is_one_cause(cli, js_server):
    """The errors of requests for a dead proxy contain the time of each request."""
    proxy = f'http://127.0.0.1:{support.free_port()}'
    found = figures(cli('load', js_server.url, '--clients', '3', '--proxy', proxy, '--json'))
    ((cause, count),) = found['failed'].items()
    assert count == 3
    assert 'Connection refused' in cause
    assert 'Max retries' not in cause


def test_a_rate_that_cannot_be_kept(cli, make_js_server):
    """The sockets still get turns, and unsent messages are reported."""
    server = make_js_server()
    done = cli(
        'load',
        server.url,
        '--clients',
        '2',
        '--rate',
        '1e9',
        '--duration',
        '1',
        '--patience',
        '0',
        '--message',
        'x',
        '--json',
    )
    assert done.code == 1
    found = figures(done)
    assert found['sent'] + found['unsent'] == 2_000_000_000
    assert found['answered'] > found['sent'] / 100
    assert any('this process was too slow' in warning for warning in found['warnings'])
    assert not any('does not send messages back' in warning for warning in found['warnings'])


def test_all_are_refused(cli, make_python_server, one_error):
    """The server's text is printed without control characters."""
    server = make_python_server(refuse=401, refuseMessage='full \x1b[2J')
    said = one_error(cli('load', server.url, '--clients', '3', '--duration', '1'))
    assert '401' in said
    assert '\x1b' not in said


def test_a_server_that_refuses_all_is_left_alone(cli, make_python_server):
    """It does not try all 1,000 clients, and the JSON contains the number of attempts."""
    server = make_python_server(refuse=401)
    done = cli('load', server.url, '--clients', '1000', '--duration', '1', '--json')
    assert done.code == 1
    found = figures(done)
    assert found['connected'] == found['sent'] == 0
    assert 50 <= sum(found['failed'].values()) <= 101
    assert found['early'] is True


def test_too_few_descriptors(cli, js_server):
    """The error comes before the first connection."""
    done = subprocess.run(
        [
            'sh',
            '-c',
            'ulimit -n 100; exec "$0" -m engineio_gevent load "$1" --clients 500',
            sys.executable,
            js_server.url,
        ],
        env=cli.environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )
    assert done.returncode == 1
    assert done.stdout == ''
    assert 'the limit is 100' in done.stderr


def test_a_server_that_stands_still(cli, make_js_server):
    """Unanswered messages are counted and reported in a warning."""
    server = make_js_server()
    process = cli.start(
        'load',
        server.url,
        '--clients',
        '4',
        '--rate',
        '10',
        '--duration',
        '2',
        '--patience',
        '0.2',
        '--json',
    )
    for line in process.stderr:
        if line.startswith('sending'):
            break
    server.suspend()
    try:
        out, _ = process.communicate(timeout=60)
    finally:
        server.resume()
    found = json.loads(out)
    assert process.returncode == 1
    assert found['sent'] + found['unsent'] == 80
    assert found['unanswered'] > 0
    assert found['answered'] + found['unanswered'] == found['sent']
    assert any('unanswered messages are not included' in warning for warning in found['warnings'])


def test_a_message_from_a_file(cli, make_js_server, tmp_path):
    server = make_js_server()
    (tmp_path / 'message').write_bytes(b'\xff{n}\xff')
    done = cli(
        'load',
        server.url,
        '--clients',
        '1',
        '--rate',
        '2',
        '--duration',
        '1',
        '--binary',
        '--message',
        f'@{tmp_path / "message"}',
        '--json',
    )
    assert figures(done)['answered'] == 2
    assert sorted(seen_by(server)) == [b'\xff1\xff', b'\xff2\xff']


@pytest.mark.parametrize(
    ('message', 'told'),
    [('@/no/such/file', 'cannot read'), ('a\x1eb', 'U+001E'), (b'\xff', 'not UTF-8')],
)
def test_messages_that_cannot_be_sent(cli, message, told):
    done = subprocess.run(
        [
            sys.executable,
            '-m',
            'engineio_gevent',
            'load',
            'http://127.0.0.1:1',
            '--message',
            message,
        ],
        env=cli.environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )
    assert done.returncode == 2
    assert told in done.stderr


def test_clients_connect_at_a_rate(cli, js_server):
    done = cli(
        'load', js_server.url, '--clients', '5', '--connect-rate', '10', '--duration', '1', '--json'
    )
    found = figures(done)
    assert found['connected'] == 5
    assert found['connect_seconds'] >= 0.4
    assert found['transports'] == {'websocket': 5}
    assert found['same_machine'] is True
    assert '--spawn-rate 10 ' in found['locust']


def test_the_server_goes(cli, make_js_server):
    server = make_js_server()
    process = cli.start(
        'load', server.url, '--clients', '4', '--rate', '10', '--duration', '60', '--json'
    )
    for line in process.stderr:
        if line.startswith('connecting 4 of 4'):
            break
    support.eventually(lambda: server.count() == 4)
    server.kill()
    out, _ = process.communicate(timeout=30)
    assert process.returncode == 1
    found = json.loads(out)
    assert sum(found['lost'].values()) == 4
    assert found['early'] is True
    assert found['sending_seconds'] < 30


def test_ctrl_c_tells_what_there_was(cli, js_server):
    process = cli.start('load', js_server.url, '--clients', '2', '--rate', '50', '--duration', '60')
    for line in process.stdout:
        if line.startswith('connecting 2 of 2'):
            break
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=30)
    assert process.returncode == 130
    assert 'connected    2 of 2 clients' in out
    assert err == ''


def test_the_histogram():
    times = [0.0004, 0.0005, 0.0009, 0.0031, 2.5]
    found = histogram(times)
    assert found[0] == (0.5, 1)
    assert dict(found)[1.0] == 2
    assert dict(found)[5.0] == 1
    assert found[-1] == (5000.0, 1)
    assert sum(count for _, count in found) == len(times)
    assert histogram([]) == []


@pytest.fixture
def run_locust(cli, tmp_path):
    """`run_locust(done, ...)`: run the Locust command of a `load`; its rows by name."""
    locust = Path(sys.executable).with_name('locust')
    if not locust.exists():
        support.missing('Locust', 'pip install "engineio-gevent[locust]"')

    def run(done, *more):
        shown = done.out.split('[locust]')[1].split('\n\n')[1]
        assert shown.count('\n') >= 3  # a line for each part
        command = shlex.split(shown.replace('\\\n', ' '))
        command[command.index('locust')] = str(locust)
        ran = subprocess.run(
            [*command, *more, '--only-summary', '--csv', tmp_path / 'run'],
            check=False,
            env={**cli.environment, **support.locust_port()},
            capture_output=True,
            text=True,
            timeout=60,
            cwd=tmp_path,
        )
        assert ran.returncode == 0, ran.stderr
        rows = (tmp_path / 'run_stats.csv').read_text().splitlines()
        asked = next((row.split(',') for row in rows if row.startswith('request,message,')), None)
        assert asked is not None, (rows, ran.stderr)
        assert int(asked[2]) > 10
        assert int(asked[3]) == 0
        return shown

    return run


@pytest.mark.parametrize('processes', [1, 2])
def test_the_locust_command_runs(cli, make_js_server, processes, run_locust):
    server = make_js_server()
    done = cli(
        'load', server.url, '--clients', '4', '--rate', '5', '--duration', '5',
        '--message', "it's {n}", '--size', '50', '--transports', 'websocket',
        '-H', 'X-Load: some of it',
    )  # fmt: skip
    shown = run_locust(done, *(['--processes', str(processes)] if processes > 1 else []))
    assert '--run-time 16s' in shown  # 5 s to send, 1 s to connect, 10 s for Locust to start
    assert {asked['headers'].get('x-load') for asked in server.requests()} == {'some of it'}
    assert all(
        re.fullmatch(r"it's \d+\.+", message) and len(message) == 50 for message in seen_by(server)
    )


@pytest.mark.skipif(sys.platform != 'linux', reason='127.0.0.2 is of this machine on Linux alone')
def test_the_locust_command_has_certificates_and_addresses(
    cli, make_js_server, certificates, run_locust
):
    server = make_js_server(tls=certificates.mutual_tls)
    addresses = ['127.0.0.2', '127.0.0.3']
    done = cli(
        'load', server.url, '--clients', '4', '--rate', '5', '--duration', '3',
        '--ca', certificates.ca, '--cert', certificates.client_cert,
        '--key', certificates.client_key, '--source', ','.join(addresses),
    )  # fmt: skip
    assert done.code == 0, done
    before = len(server.requests())
    run_locust(done)
    requests = server.requests()
    assert {request['peer'] for request in requests[:before]} == set(addresses)
    assert {request['peer'] for request in requests[before:]} == set(addresses)


def test_clients_that_abort_do_so_together(monkeypatch):
    """Each may wait for a dead server for a moment. Together they take no longer than one."""
    count = 3 * crowd.AT_ONCE
    began, all_began = [], gevent.event.Event()

    def disconnect(abort=False):
        began.append(abort)
        if len(began) == count:
            all_began.set()
        all_began.wait()

    monkeypatch.setattr(crowd, '_LEAVING', -1)
    one = crowd.Crowd(None, count, False)
    one.members = [SimpleNamespace(client=SimpleNamespace(disconnect=disconnect))] * count
    with gevent.Timeout(support.patience(5)):
        one.disconnect()
    assert began == [True] * count

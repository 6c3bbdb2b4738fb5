"""`engineio-gevent connect` with pipes and -x: messages, output and exit codes."""

import io
import json
import os
import re
import select
import signal
import subprocess
import sys
from pathlib import Path

import gevent
import pytest
from gevent.event import Event
from rich.console import Console

import support
from engineio_gevent.cli.connect import Conversation
from engineio_gevent.cli.errors import Exit, Interrupted
from engineio_gevent.cli.options import Connection
from engineio_gevent.cli.printer import ForPrograms
from engineio_gevent.cli.prompt import Given, Source

TIME = r'\d\d:\d\d:\d\d\.\d{3}'


def received(result):
    """The received messages in the output."""
    return re.findall(rf'^{TIME} < (.*)$', result.out, re.MULTILINE)


@pytest.mark.parametrize('transports', ['polling', 'websocket', 'polling,websocket'])
def test_messages_are_sent_and_the_answers_printed(cli, any_server, transports):
    done = cli(
        'connect',
        any_server.url,
        '-x',
        'one',
        '-x',
        'two words',
        '-w',
        '1',
        '--transports',
        transports,
    )
    assert done.code == 0, done
    assert done.err == ''
    by = 'websocket' if 'websocket' in transports else 'polling'
    first, *_, last = done.out.splitlines()
    assert re.fullmatch(rf'{TIME} \* connected by {by}, sid \S+', first)
    assert received(done) == ['one', 'two words']
    assert re.fullmatch(rf'{TIME} \* disconnected: client disconnect', last)


def test_json_is_sent_as_it_is_and_is_one_line_in_a_pipe(cli, js_server):
    text = '{"a":   [1.0, 2e3, null], "b": "ü"}'
    done = cli('connect', js_server.url, '-x', text, '-x', 'log', '-w', '1')
    shown, log = received(done)
    assert shown == text
    assert json.loads(log) == [text]


def test_binary_is_shown_in_hex(cli, js_server):
    done = cli('connect', js_server.url, '-x', 'bigbin 600', '-w', '1')
    assert received(done) == ['600 bytes']
    assert '\n  00000040  4041 4243 4445 4647 4849 4a4b 4c4d 4e4f  @ABCDEFGHIJKLMNO\n' in done.out
    assert '\n  ... 88 more\n' in done.out
    assert done.out.count('\n  0000') == 32


def test_hex_is_sent_as_binary(cli, js_server):
    done = cli('connect', js_server.url, '--hex', '-x', '00 ff 41', '--json', '-w', '1')
    messages = [event for event in done.events if event['event'] == 'message']
    assert [(one['type'], one['data']) for one in messages] == [('binary', '00ff41')]


def test_what_is_not_hex_is_told_before_there_is_a_connection(cli, one_error):
    done = cli('connect', 'http://127.0.0.1:1', '--hex', '-x', 'xyz')
    assert "'xyz' is not valid hex" in one_error(done)


def test_each_line_of_a_pipe_is_sent_in_order(cli, js_server):
    lines = [f'line {number} ü' for number in range(2000)]
    process = cli.start('connect', js_server.url, '-w', '0', '--json')
    assert json.loads(process.stdout.readline())['event'] == 'connect'
    process.stdin.write('\n'.join([*lines, '']))  # a pipe takes all of it at once
    process.stdin.flush()
    assert [json.loads(process.stdout.readline())['data'] for _ in lines] == lines
    process.stdin.close()
    assert process.wait(10) == 0


def test_a_pipe_is_a_conversation(cli, js_server):
    process = cli.start('connect', js_server.url, '-w', '0')
    assert ' * connected by ' in process.stdout.readline()
    for text in ('first', 'transport'):
        process.stdin.write(f'{text}\n')
        process.stdin.flush()
        answer = 'websocket' if text == 'transport' else text
        assert process.stdout.readline().rstrip().endswith(f' < {answer}')
    process.stdin.close()
    assert 'disconnected: client disconnect' in process.stdout.readline()
    assert process.wait(10) == 0


def test_large_input_goes_out_whole_before_it_leaves(cli, make_js_server):
    server = make_js_server()
    line = 'x' * 100_000
    done = cli(
        'connect',
        server.url,
        '-w',
        '0',
        '--transports',
        'websocket',
        '--json',
        given=f'{line}\n' * 200,
    )
    assert done.code == 0, done.err
    assert done.events[-1]['unsent'] == 0
    sid = done.events[0]['sid']
    counted = support.eventually(lambda: server.received(sid)[199:])
    assert counted == [line]


def test_headers_path_and_query_reach_the_server(cli, make_js_server):
    server = make_js_server(path='/elsewhere/')
    done = cli(
        'connect',
        f'{server.url}/?token=1',
        '--path',
        'elsewhere',
        '-H',
        'X-One: 1',
        '--header',
        'X-Two:two: 2',
        '-x',
        'headers',
        '-w',
        '1',
    )
    requests = json.loads(received(done)[0])
    assert {request['method'] for request in requests} == {'GET'}
    assert len(requests) >= 2
    for request in requests:
        assert request['headers']['x-one'] == '1'
        assert request['headers']['x-two'] == 'two: 2'
        assert request['url'].startswith('/elsewhere/?token=1&')


def test_verbose_shows_every_packet(cli, make_js_server):
    server = make_js_server(pingInterval=300)
    done = cli('connect', server.url, '-x', 'hello', '-w', '3', '-v', '--json')
    packets = [(one['direction'], one['type']) for one in done.events if one['event'] == 'packet']
    assert packets[0] == ('received', 'OPEN')
    assert ('sent', 'UPGRADE') in packets
    assert packets[-1] == ('sent', 'CLOSE')
    pings = packets.count(('received', 'PING'))
    assert pings >= 1
    assert packets.count(('sent', 'PONG')) == pings
    messages = [(one['direction'], one['data']) for one in done.events if one['event'] == 'message']
    assert messages == [('sent', 'hello'), ('received', 'hello')]


def test_without_a_server_it_says_where(cli, one_error):
    port = support.free_port()
    done = cli('connect', f'http://127.0.0.1:{port}', '-x', 'hello')
    assert one_error(done) == (
        f'cannot connect to http://127.0.0.1:{port}: connection refused: no server listens at '
        f'127.0.0.1 port {port}. Run "engineio-gevent probe http://127.0.0.1:{port}" for a '
        'diagnosis.'
    )
    assert done.out == ''


def test_what_a_server_says_when_it_refuses_is_told(cli, make_js_server, one_error):
    server = make_js_server(refuse=403, refuseMessage='not today')
    assert ': HTTP 403: forbidden: not today. Run ' in one_error(
        cli('connect', server.url, '-x', 'hello')
    )


def test_what_a_server_says_in_other_words_is_told(cli, make_python_server, one_error):
    server = make_python_server(transports=['websocket'])
    done = cli('connect', server.url, '-x', 'hello')
    assert (
        ': HTTP 400: the server does not allow a connection to begin with polling, but a websocket '
        'works: use --transports websocket. '
    ) in one_error(done)


def test_the_query_of_another_connection(cli, any_server):
    """Of a pasted URL, what this package puts into the query itself is left out."""
    url = f'{any_server.url}/?EIO=3&transport=polling&sid=unknown&t=1'
    done = cli('connect', url, '-x', 'hello', '-x', 'close', '-w', '-1')
    assert done.code == 0, done
    assert ' < hello' in done.out


@pytest.mark.parametrize('url', ['127.0.0.1:5000', 'example.com'])
def test_a_url_without_a_scheme(cli, url):
    done = cli('connect', url)
    assert done.code == 2
    assert f'Did you mean http://{url}?' in done.err


def test_the_server_closes(cli, any_server):
    done = cli('connect', any_server.url, '-x', 'close', '-w', '-1')
    assert done.code == 0, done
    # the JavaScript server sends only a close frame
    assert re.search(
        r'disconnected: (server disconnect|.* closed the websocket with code 1005)\n', done.out
    )


@pytest.mark.parametrize('wait', ['5', '-1'])
def test_a_message_that_the_server_does_not_take(cli, make_python_server, wait):
    """python-engineio only closes with 1000, which a script must not take for success."""
    server = make_python_server()
    done = cli(
        'connect',
        server.url,
        '-w',
        wait,
        '--transports',
        'websocket',
        given=f'one\n{"x" * 3_000_000}\n',
    )
    assert done.code == 3, done
    assert received(done) == ['one']
    assert 'the server closed the websocket with code 1000' in done.out


@pytest.mark.parametrize(('messages', 'code'), [([], Exit.DONE), (['hello'], Exit.LOST)])
def test_a_websocket_closed_with_1000(hostile_server, messages, code):
    all_given = Event()

    class Ending(Source):
        def lines(self):
            yield from messages
            all_given.set()

    def goodbye(sock):
        support.accept_websocket(sock)
        support.send_frame(sock, support.open_packet())
        all_given.wait()
        sock.sendall(support.close_frame(1000))
        support.read_to_end(sock)

    url = hostile_server(goodbye).url
    connection = Connection(url, {}, ['websocket'], 'engine.io', True, None, None, 5.0)
    conversation = Conversation(
        connection, ForPrograms(Console(file=io.StringIO())), as_hex=False, verbose=False
    )
    assert conversation.run(Ending(), -1) == code


def test_the_connection_is_lost(cli, js_server):
    done = cli('connect', js_server.url, '-x', 'drop', '-w', '-1')
    assert done.code == 3, done
    assert 'disconnected: transport error: ' in done.out


def test_the_server_leaves_before_all_is_sent(cli, js_server):
    process = cli.start('connect', js_server.url, '--json')
    process.stdout.readline()
    process.stdin.write('close\n')
    process.stdin.flush()
    out = process.stdout.read()
    assert json.loads(out.splitlines()[-1])['event'] == 'disconnect'
    assert process.wait(10) == 3  # the input had not ended


@pytest.mark.parametrize('how', ['-x', 'stdin'])
def test_ctrl_c(cli, js_server, how):
    arguments = ['-x', 'hello', '-w', '-1'] if how == '-x' else []
    process = cli.start('connect', js_server.url, '--json', *arguments)
    sid = json.loads(process.stdout.readline())['sid']
    process.send_signal(signal.SIGINT)
    assert process.wait(10) == 130
    assert process.stderr.read() == ''
    assert js_server.close_reason(sid) == 'transport close'


def test_the_reader_of_a_pipe_leaves(cli, js_server):
    process = cli.start('connect', js_server.url, '-x', 'numbers 10', '-w', '-1')
    process.stdout.readline()
    process.stdout.close()
    process.stdin.close()
    process.send_signal(signal.SIGINT)
    process.wait(10)
    assert 'Traceback' not in process.stderr.read()


def test_nothing_that_a_server_sends_is_a_control_sequence(cli, js_server):
    done = cli('connect', js_server.url, '-x', 'a\x1b[31mred\x07\x9b2J\r\u202eb', '-w', '1')
    assert received(done) == [r'a\x1b[31mred\x07\x9b2J\r\u202eb']


def test_what_cannot_be_sent(cli, js_server, one_error):
    done = cli('connect', js_server.url, '-x', 'a\x1eb', '--transports', 'polling')
    assert 'cannot send' in one_error(done)


def test_input_that_is_not_utf_8(cli, js_server):
    process = cli.start('connect', js_server.url, text=False, bufsize=-1)
    _, err = process.communicate(b'\xff\n', timeout=20)
    assert process.returncode == 1
    assert err.startswith(b'engineio-gevent: ')
    assert err.count(b'\n') == 1


def test_a_file_is_read_too(cli, js_server, tmp_path):
    path = tmp_path / 'lines'
    path.write_text('one\ntwo\r\nthree\nclose')  # the last line, too, though nothing ends it
    with open(path) as file:
        process = cli.start('connect', js_server.url, '-w', '-1', '--json', stdin=file)
        out, _ = process.communicate(timeout=support.patience(20))
    events = map(json.loads, out.splitlines())
    assert [one['data'] for one in events if one['event'] == 'message'] == ['one', 'two', 'three']
    assert process.returncode == 0


class TestTLS:
    def test_unknown_authorities(self, cli, make_js_server, certificates, one_error):
        server = make_js_server(tls=certificates.tls)
        assert 'the certificate was issued by trustme' in one_error(
            cli('connect', server.url, '-x', 'a')
        )

    @pytest.mark.parametrize('transports', ['polling', 'websocket'])
    def test_ca_and_no_verify(self, cli, make_js_server, certificates, transports):
        server = make_js_server(tls=certificates.tls)
        for how in (['--ca', certificates.ca], ['--no-verify']):
            done = cli(
                'connect', server.url, '-x', 'hello', '-w', '1', *how, '--transports', transports
            )
            assert (done.code, received(done)) == (0, ['hello']), done

    @pytest.mark.parametrize('transports', ['polling', 'websocket', 'polling,websocket'])
    def test_client_certificate(self, cli, make_js_server, certificates, transports):
        server = make_js_server(tls=certificates.mutual_tls)
        process = cli.start(
            'connect',
            server.url,
            '--ca',
            certificates.ca,
            '--cert',
            certificates.client_cert,
            '--key',
            certificates.client_key,
            '--transports',
            transports,
            '-w',
            '0',
        )
        assert ' * connected by ' in process.stdout.readline()
        for text in ('one', 'two'):  # a pending GET must not delay the lines
            process.stdin.write(f'{text}\n')
            assert process.stdout.readline().rstrip().endswith(f' < {text}')
        out, err = process.communicate(timeout=20)
        assert (process.returncode, err) == (0, '')
        assert 'disconnected: client disconnect' in out

    def test_no_such_file(self, cli):
        done = cli('connect', 'https://127.0.0.1:1', '--cert', '/nowhere')
        assert done.code == 2
        assert "'/nowhere' does not exist" in done.err


def test_options_that_do_not_go_together(cli):
    done = cli('connect', 'http://127.0.0.1:1', '--key', __file__)
    assert done.code == 2
    assert '--key requires --cert' in done.err


def test_module_and_script_are_the_same(cli):
    path = Path(sys.executable).with_name('engineio-gevent')
    if not path.exists():
        pytest.skip('the package is not installed here')
    script = subprocess.run(
        [path, '--help'], check=True, capture_output=True, text=True, env=cli.environment
    )
    assert script.stdout == cli('--help').out


def test_a_server_that_is_killed(cli, make_js_server):
    server = make_js_server()
    process = cli.start('connect', server.url, '--json')
    process.stdout.readline()
    server.kill()
    end = json.loads(process.stdout.readline())
    assert (end['event'], end['reason']) == ('disconnect', 'transport error')
    assert end['error']
    assert process.wait(10) == 3


def test_lines_after_the_servers_close_are_not_called_sent(cli, js_server):
    # More than the buffers of the sockets hold: the close arrives while there are lines.
    lines = ['close', *(f'line {number} {"x" * 100}' for number in range(200_000))]
    done = cli('connect', js_server.url, '--json', given='\n'.join(lines))
    assert done.code == 3, done.events[-1]


def test_no_more_is_read_than_the_server_takes(cli, make_js_server):
    """Back pressure: lines wait in the pipe if the server does not read, and none is lost."""
    server = make_js_server(pingInterval=60_000)
    process = cli.start(
        'connect',
        f'{server.url}/?check=1',
        '--json',
        '-w',
        '0',
        '--transports',
        'websocket',
        text=False,
        bufsize=0,
    )
    sid = json.loads(process.stdout.readline())['sid']
    server.suspend()
    stdin = process.stdin.fileno()
    os.set_blocking(stdin, False)
    rest = b''
    count = size = 0
    # The limit is the pipe, the queue of the client and the kernel buffers together.
    while size < 64_000_000:
        if not rest:
            rest = b'a %d %s\n' % (count, b'x' * 10_000)
            count += 1
        _, writable, _ = select.select([], [stdin], [], 3)
        if not writable:
            break
        written = os.write(stdin, rest)
        rest = rest[written:]
        size += written
    server.resume()
    os.set_blocking(stdin, True)
    os.write(stdin, rest)
    process.stdin.close()
    last = process.stdout.readlines()[-1]
    assert process.wait(30) == 0
    assert json.loads(last)['unsent'] == 0
    assert support.eventually(lambda: server.checked(sid).get('a') == count, 20)
    assert size < 32_000_000


def test_arguments_that_are_not_utf_8(cli, js_server):
    process = cli.start('connect', js_server.url, '-x', b'\xff'.decode(errors='surrogateescape'))
    _, err = process.communicate(timeout=20)
    assert process.returncode == 1
    assert err.startswith('engineio-gevent: cannot send ')
    assert err.count('\n') == 1


def test_a_closed_input_is_an_empty_one(cli, js_server):
    done = subprocess.run(
        [
            'sh',
            '-c',
            'exec "$0" -m engineio_gevent connect "$1" -w 0 <&-',
            sys.executable,
            js_server.url,
        ],
        env=cli.environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )
    assert (done.returncode, done.stderr) == (0, '')
    assert 'disconnected: client disconnect' in done.stdout


def test_it_leaves_while_messages_come_faster_than_they_are_printed(cli, make_js_server):
    server = make_js_server()
    done = cli('connect', f'{server.url}/?check=1', '-x', 'stream 0', '-w', '1')
    assert (done.code, done.err) == (0, '')
    *_, late, last = done.out.splitlines()
    assert re.search(r' \* [\d,]+ messages came too late to be shown$', late)
    assert last.endswith('disconnected: client disconnect')


def test_ctrl_c_while_messages_come_faster_than_they_are_printed(cli, make_js_server):
    server = make_js_server()
    process = cli.start('connect', f'{server.url}/?check=1', '-x', 'stream 0', '-w', '-1')
    for _ in range(8_000):  # many more are queued meanwhile
        process.stdout.readline()
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=40)
    assert (process.returncode, err) == (130, '')
    assert out.count('\n') < 10_000  # the content of the pipe


def test_hex_that_is_none_in_the_input(cli, js_server, one_error):
    done = cli('connect', js_server.url, '--hex', '-w', '0', given='no\n')
    assert one_error(done) == "'no' is not valid hex"


def test_an_empty_line_is_an_empty_message(cli, js_server):
    done = cli('connect', js_server.url, '--json', '-w', '-1', given='a\n\nb\nclose')
    assert [one['data'] for one in done.events if one['event'] == 'message'] == ['a', '', 'b']


@pytest.mark.parametrize('text', ['/binary 00', '!x', '> a', '-x', '\\n', '  spaces  '])
def test_no_line_means_anything_but_itself(cli, js_server, text):
    done = cli('connect', js_server.url, '--json', '-w', '-1', given=f'{text}\nclose')
    assert [one['data'] for one in done.events if one['event'] == 'message'] == [text]


def test_a_line_that_comes_just_after_the_servers_close_is_not_called_sent(any_server):
    class Late(Source):
        def lines(self):
            yield 'close'
            # before the greenlet that waits for the end
            while conversation._client.state == 'connected':
                gevent.sleep(0)
            yield 'late'

    out = io.StringIO()
    connection = Connection(any_server.url, {}, None, 'engine.io', True, None, None, 5.0)
    conversation = Conversation(
        connection, ForPrograms(Console(file=out)), as_hex=False, verbose=False
    )
    assert conversation.run(Late(), 5) == Exit.LOST


def test_ctrl_c_at_the_very_moment_of_the_connection(js_server):
    """It disconnects at once, and the server receives the CLOSE packet."""
    sids = []

    class Impatient(ForPrograms):
        def connected(self, transport, sid):
            sids.append(sid)
            raise Interrupted

    connection = Connection(js_server.url, {}, None, 'engine.io', True, None, None, 5.0)
    conversation = Conversation(connection, Impatient(Console()), as_hex=False, verbose=False)
    with pytest.raises(Interrupted):
        conversation.run(Given(['a']), 5)
    assert js_server.close_reason(sids[0]) == 'transport close'

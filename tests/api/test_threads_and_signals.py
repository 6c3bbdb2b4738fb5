"""What a client is in a process of its own: Ctrl-C, forks, threads, and no monkey-patching."""

import time

import pytest

import support

CONNECT = """
    import os
    import signal
    import gevent
    import engineio_gevent

    url, transports, *options = argv
    options = dict(*options)
    client = engineio_gevent.Client(**options)
    client.on('disconnect', lambda reason: say(['disconnect', reason]))
    # A signal that comes between gevent's look for signals and the system call that waits
    # is seen at the next event: let there be one.
    ticking = gevent.get_hub().loop.timer(0.05, 0.05)
    ticking.start(lambda: None)
"""
"""How the scripts below begin."""

EXIT_TIMEOUT = 2.5
"""Seconds in which a program ends after Ctrl-C: one for the farewell, the rest for the machine."""


def timed_end(script):
    """Interrupt the script; its last lines. It has to end soon."""
    began = time.monotonic()
    script.interrupt()
    lines = script.end()
    assert time.monotonic() - began < support.patience(EXIT_TIMEOUT), 'it took too long'
    return lines


# -- Ctrl-C -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ('way', 'waiting'),
    [
        (['polling'], 'client.wait()'),
        (['websocket'], 'client.wait()'),
        (None, 'client.wait()'),
        (['polling'], 'gevent.sleep(60)'),
        (None, 'gevent.sleep(60)'),
        (None, 'gevent.wait()'),
        (None, 'spin()'),
    ],
)
def test_sigint(js_server, script, way, waiting):
    one = script(
        CONNECT
        + f"""
    def spin():
        while True:
            gevent.sleep(0)

    client.connect(url, transports=transports)
    try:
        say(client.sid)
        {waiting}
    except KeyboardInterrupt:
        say(['interrupted', client.state])
        raise
    """,
        js_server.url,
        way,
    )
    sid = one.hear()
    lines = timed_end(one)
    assert lines == [['disconnect', 'client disconnect'], ['interrupted', 'disconnected']]
    assert one.process.returncode != 0
    assert one.stderr.rstrip().endswith('KeyboardInterrupt')
    assert 'BlockingSwitchOutError' not in one.stderr
    js_server.close_reason(sid)


def test_sigint_with_a_suspended_server(js_server_with, script):
    server = js_server_with()
    scripts = [
        script(
            CONNECT
            + """
    client.connect(url, transports=transports)
    say(client.sid)
    client.wait()
    say('waited')
    gevent.sleep(60)
    """,
            server.url,
            way,
        )
        for way in ['polling', None]
    ]
    for one in scripts:
        one.hear()
    server.suspend()
    try:
        for one in scripts:
            assert 'waited' not in timed_end(one)
            assert one.stderr.rstrip().endswith('KeyboardInterrupt')
    finally:
        server.resume()


def test_sigint_while_connecting(js_server_with, script):
    server = js_server_with()
    server.suspend()
    try:
        one = script(
            CONNECT
            + """
    gevent.spawn_later(0.1, say, 'connecting')
    client.connect(url, transports=transports)
    """,
            server.url,
            None,
            {'request_timeout': 60},
        )
        assert one.hear() == 'connecting'
        timed_end(one)
        assert one.stderr.rstrip().endswith('KeyboardInterrupt')
    finally:
        server.resume()


def test_sigint_with_many_clients(js_server, script):
    one = script(
        CONNECT
        + """
    clients = [engineio_gevent.Client() for _ in range(20)]
    for client in clients:
        client.connect(url, transports=transports)
    say([client.sid for client in clients])
    gevent.sleep(60)
    """,
        js_server.url,
        None,
    )
    sids = one.hear()
    timed_end(one)
    for sid in sids:
        js_server.close_reason(sid)


@pytest.mark.parametrize('kind', ['python', 'gevent'])
def test_another_sigint_handler_decides(js_server, script, kind):
    """It is called as it was before, and the client stays connected until it disconnects it."""
    one = script(
        CONNECT
        + f"""
    # The signal may interrupt a print, so its handler and what follows from it print nothing.
    calls = []
    client.on('disconnect', calls.append)

    def stop(*arguments):
        calls.append([client.state, len(arguments)])
        client.disconnect()

    if '{kind}' == 'python':
        signal.signal(signal.SIGINT, stop)
    else:
        watcher = gevent.signal_handler(signal.SIGINT, stop)
    before = signal.getsignal(signal.SIGINT)
    client.connect(url, transports=transports)
    say(signal.getsignal(signal.SIGINT) is before)
    client.wait()
    say(calls)
    """,
        js_server.url,
        None,
    )
    assert one.hear() is True
    count = 2 if kind == 'python' else 0
    assert timed_end(one) == [[['connected', count], 'client disconnect']]
    assert one.process.returncode == 0, one.stderr


def test_sigint_after_the_end_of_the_connection(js_server, script):
    one = script(
        CONNECT
        + """
    client.connect(url, transports=transports)
    client.disconnect()
    say('left')
    gevent.sleep(60)
    """,
        js_server.url,
        None,
    )
    assert one.hear() == ['disconnect', 'client disconnect']
    assert one.hear() == 'left'
    assert timed_end(one) == []
    assert one.stderr.rstrip().endswith('KeyboardInterrupt')


def test_handle_sigint_off(js_server, script):
    one = script(
        CONNECT
        + """
    before = signal.getsignal(signal.SIGINT)
    client.connect(url, transports=transports)
    try:
        say(signal.getsignal(signal.SIGINT) is before)
        client.wait()
    except KeyboardInterrupt:
        say(client.state)
    client.disconnect()
    """,
        js_server.url,
        None,
        {'handle_sigint': False},
    )
    assert one.hear() is True
    assert timed_end(one) == ['connected', ['disconnect', 'client disconnect']]


def test_import_and_construction_leave_the_process_alone(script):
    lines = script("""
        import logging
        import os
        import signal
        import socket
        import threading
        before = signal.getsignal(signal.SIGINT), socket.socket, len(os.listdir('/dev/fd'))
        import engineio_gevent
        engineio_gevent.Client()
        after = signal.getsignal(signal.SIGINT), socket.socket, len(os.listdir('/dev/fd'))
        import gevent._hub_local
        say([before == after, threading.active_count(), logging.getLogger().handlers,
             logging.getLogger('engineio_gevent.client').level,
             gevent._hub_local.get_hub_if_exists() is None])
    """).result()
    assert lines == [[True, 1, [], 0, True]]


def test_connect_in_another_thread(js_server, script):
    """No signal handler there, and no complaint: the thread has a hub of its own."""
    lines = script(
        CONNECT
        + """
    import threading
    before = signal.getsignal(signal.SIGINT)

    def run():
        client.on('message', lambda data: (say(data), client.disconnect()))
        client.connect(url, transports=transports)
        client.send('from a thread')
        client.wait()
        gevent.get_hub().destroy(destroy_loop=True)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    say(signal.getsignal(signal.SIGINT) is before)
    """,
        js_server.url,
        None,
    ).result()
    assert lines == ['from a thread', ['disconnect', 'client disconnect'], True]


# -- Forks --------------------------------------------------------------------------------------


def test_a_fork_after_a_thread_has_ended_while_it_was_sending(js_server, script):
    """The greenlet that would have opened the connection of a POST has not begun."""
    one = script(
        CONNECT
        + """
    import os
    import threading
    other = engineio_gevent.Client()

    def run():
        other.connect(url, transports=['polling'])
        other.send('never sent')
        gevent.sleep(0)  # the POST is asked for now, and its greenlet would begin in the next turn
        gevent.get_hub().destroy(destroy_loop=True)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    client.connect(url, transports=['polling'])
    pid = os.fork()
    if not pid:
        say([client.state, other.state])
        os._exit(0)
    os.waitpid(pid, 0)
    client.disconnect()
    """,
        js_server.url,
        None,
    )
    assert one.result() == [
        ['disconnected', 'disconnected'],
        ['disconnect', 'client disconnect'],
    ]
    assert one.stderr == ''


@pytest.mark.parametrize('fork', ['os.fork', 'gevent.os.fork'])
def test_fork(js_server, script, way, fork):
    one = script(
        CONNECT
        + f"""
    import gevent.os
    inbox = client.create_queue()
    client.on('message', inbox.put)
    client.connect(url, transports=transports)
    client.send('before')
    say(inbox.get(timeout=5))
    pid = {fork}()
    if not pid:
        for name, arguments in [('send', ['from the child']), ('wait', []), ('connect', [url])]:
            try:
                getattr(client, name)(*arguments)
            except RuntimeError as exc:
                say([name, 'fork' in str(exc)])
        client.disconnect()
        client.disconnect(abort=True)
        say(client.state)
        if 'gevent' in '{fork}':
            other = engineio_gevent.Client()
            others = other.create_queue()
            other.on('message', others.put)
            other.connect(url, transports=transports)
            other.send('own client')
            say(others.get(timeout=5))
            other.disconnect()
        else:
            say('own client')
        os._exit(0)
    if 'gevent' in '{fork}':
        gevent.os.waitpid(pid, 0)
    else:
        while os.waitpid(pid, os.WNOHANG) == (0, 0):
            gevent.sleep(0.01)
    client.send('after')
    say([inbox.get(timeout=5), client.state, client.sid])
    client.disconnect()
    """,
        js_server.url,
        way,
    )
    lines = one.result()
    assert lines[:7] == [
        'before',
        ['send', True],
        ['wait', True],
        ['connect', True],
        'disconnected',
        'own client',
        ['after', 'connected', lines[6][2]],
    ]
    assert lines[7] == ['disconnect', 'client disconnect']
    assert js_server.received(lines[6][2]) == ['before', 'after']


# -- Without monkey-patching --------------------------------------------------------------------


@pytest.mark.parametrize(
    ('way', 'tls'), [(['polling'], False), (['websocket'], False), (None, True)]
)
def test_everything_is_cooperative_without_patching(js_server_with, script, certificates, way, tls):
    """While the server does nothing another greenlet goes on; only then the server goes on, too."""
    server = js_server_with(
        maxHttpBufferSize=30_000_000, **({'tls': certificates.tls} if tls else {})
    )
    one = script(
        CONNECT
        + """
    import socket
    import threading
    from gevent import monkey
    plain = socket.socket, threading.Thread
    def tick(what):
        for _ in range(10):
            gevent.sleep(0.01)
        say(['others run', what])

    def ticked(what, function, *args, **kwargs):
        ticker = gevent.spawn(tick, what)
        function(*args, **kwargs)
        ticker.kill()
        say(['done', what])

    inbox = client.create_queue()
    client.on('message', inbox.put)
    ticked('connect', client.connect, url, transports=transports)
    sys.stdin.readline()
    client.send('hello')
    ticked('receive', inbox.get, timeout=10)

    def send():
        # more than write_limit, and more than the buffers of a websocket's sockets
        for _ in range(30 if transports == ['polling'] else 300):
            client.send(b'x' * 50_000)

    sys.stdin.readline()
    ticked('send', send)
    sys.stdin.readline()
    ticked('disconnect', client.disconnect)
    say([plain == (socket.socket, threading.Thread), monkey.saved == {}])
    """,
        server.url,
        way,
        {'request_timeout': 10, 'ssl_verify': not tls},
    )

    server.suspend()
    try:
        for what in ['connect', 'receive', 'send']:
            assert one.hear() == ['others run', what]
            server.resume()
            assert one.hear() == ['done', what]
            server.suspend()
            one.tell()
        assert one.hear() == ['others run', 'disconnect']
        server.resume()
        assert one.result() == [
            ['disconnect', 'client disconnect'],
            ['done', 'disconnect'],
            [True, True],
        ]
    finally:
        server.resume()

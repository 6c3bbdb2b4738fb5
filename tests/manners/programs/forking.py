"""Forks with clients that are connected, or connecting; says what child and parent see.

Arguments: the URL, transports, how to fork, what the client does at that moment ('connected',
'connecting' or 'sending'), the client's options. With 'connecting', a line on standard input says
that the server has come to where it stops; with 'sending', one says that the server takes nothing.
"""
# ruff: noqa: E402 - it patches before it imports

import json
import multiprocessing
import os
import stat
import sys

how = json.loads(sys.argv[3]) if __name__ == '__main__' else None
if how == 'patched':
    from gevent import monkey

    monkey.patch_all()

import gevent
import gevent.os
import gevent.select

import engineio_gevent


def say(*values):
    os.write(1, f'{json.dumps(values)}\n'.encode())


def make_client(**options):
    client = engineio_gevent.Client(**options)
    client.inbox = client.create_queue()
    client.on('message', client.inbox.put)
    client.on('disconnect', lambda reason: say('disconnect', os.getpid() == parent, reason))
    return client


def ask(client, message):
    client.send(message)
    return client.inbox.get(timeout=10)


def sockets():
    """How many connected sockets this process holds."""
    return sum(
        stat.S_ISSOCK(os.fstat(int(number)).st_mode)
        for number in os.listdir('/dev/fd')
        if exists(number)
    )


def exists(number):
    try:
        os.fstat(int(number))
    except OSError:
        return False
    return True


def error(function, *args):
    try:
        function(*args)
    except Exception as exc:
        return f'{type(exc).__name__}: {exc}'
    return None


def own_client(url, options):
    """A client of the child's own, which works there as anywhere."""
    with make_client(**options) as own:
        own.connect(url)
        return ask(own, 'own')


def in_child(client, url, options):
    say(
        'errors',
        [
            str(error(call, *args)).partition(':')[0]
            for call, args in [
                (client.send, ['from the child']),
                (client.wait, []),
                (client.connect, [url]),
            ]
        ],
    )
    client.disconnect()
    client.disconnect(abort=True)
    say('state', client.state, sockets())
    if how != 'os.fork':  # it leaves the hub as it was: gevent.reinit() is the application's
        say('own', own_client(url, options))


def spawned(url, options):
    """In a process that has nothing of its parent's."""
    global parent
    parent = os.getpid()
    say('own', own_client(url, options))


def fork(client, url, options):
    """Fork, run the child's part there, and wait for it, cooperatively."""
    if how in ('multiprocessing fork', 'spawn', 'forkserver'):
        context = multiprocessing.get_context(how.rpartition(' ')[2])
        target, args = spawned, (url, options)
        if how == 'multiprocessing fork':

            def target(*args):
                gevent.reinit()
                in_child(*args)

            args = (client, url, options)
        child = context.Process(target=target, args=args)
        child.start()
        while child.is_alive():
            gevent.sleep(0.01)
        say('exit', child.exitcode)
        return
    pid = {'gevent.fork': gevent.fork, 'gevent.os.fork': gevent.os.fork}.get(how, os.fork)()
    if not pid:
        in_child(client, url, options)
        sys.exit(0)  # in order: nothing that the interpreter does at its end reaches the server
    say('exit', exit_code(pid))


def exit_code(pid):
    """Wait for a child, cooperatively."""
    if how != 'os.fork':
        return os.waitstatus_to_exitcode(gevent.os.waitpid(pid, 0)[1])
    while True:
        done, status = os.waitpid(pid, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        gevent.sleep(0.01)


def fork_while_sending(client, url, transports):
    """One greenlet waits until the server takes something, another one for the end."""

    def send():
        nonlocal sent
        for _ in range(100):
            client.send(text)
            sent += 1

    text, sent = 'x' * (client.write_limit // 10), 0

    client.connect(url, transports=transports)
    say('connected')
    sys.stdin.readline()
    waiting = [gevent.spawn(error, send), gevent.spawn(client.wait)]
    before = -1
    while before != sent:
        before = sent
        gevent.sleep(0.1)  # the sender sends on, or waits in send()
    pid = gevent.fork()
    if not pid:
        gevent.joinall(waiting, timeout=20)
        say('child', [one.ready() for one in waiting], str(waiting[0].value).partition(':')[0])
        say('nothing left in its loop', gevent.get_hub().join(timeout=20))
        os._exit(0)
    say('exit', exit_code(pid))
    say('parent', [one.ready() for one in waiting], client.state)
    client.disconnect(abort=True)


parent = os.getpid()


def main():
    url, transports, _, doing, options = map(json.loads, sys.argv[1:])
    client = make_client(**options)
    if doing == 'connected':
        client.connect(url, transports=transports)
        say('answer', ask(client, 'before'))
        fork(client, url, options)
        say('answer', ask(client, 'after'), client.sid)
        client.disconnect()
        return
    if doing == 'sending':
        fork_while_sending(client, url, transports)
        return
    outcomes = []

    def connect():
        failure = error(lambda: client.connect(url, transports=transports))
        if os.getpid() == parent:
            outcomes.append(failure)
        else:
            say('child connects', failure)

    connecting = gevent.spawn(connect)
    gevent.select.select([sys.stdin], [], [])  # the connect goes on meanwhile
    sys.stdin.readline()
    pid = gevent.fork()
    if not pid:
        connecting.join(timeout=2)
        say('child', connecting.ready(), client.state, sockets())
        sys.exit(0)
    say('exit', exit_code(pid))
    connecting.join()
    say('parent', outcomes)
    say('answer', ask(client, 'hello'))
    client.disconnect()


if __name__ == '__main__':
    main()

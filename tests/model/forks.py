"""A fork in the midst of a round: the connections stay the parent's, which goes on."""

from __future__ import annotations

import os
import signal
import sys
import traceback
import warnings
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

import gevent
import greenlet

from engineio_gevent import process

if TYPE_CHECKING:
    from engineio_gevent import Client

#: Seconds after which the operating system ends the child.
_CHILD_LIMIT = 20
#: What the child says last.
_DONE = '.'


def fork(clients: Iterable[Client]) -> str:
    """Fork, and wait for the child, cooperatively.

    :returns: what is wrong in the child. It is empty if nothing is.
    """
    # A connection that has ended already, and whose disconnect handler runs, goes on in the child.
    owners = [client for client in clients if client._session in process._connections]
    reading, writing = os.pipe()
    raised: list[str] = []  # by what Python calls in the child before os.fork() returns
    hook = sys.unraisablehook
    with warnings.catch_warnings():
        warnings.simplefilter('ignore', DeprecationWarning)  # of a fork beside native threads
        sys.unraisablehook = lambda args: raised.extend(
            traceback.format_exception(args.exc_type, args.exc_value, args.exc_traceback)
        )
        try:
            pid = os.fork()
        finally:
            sys.unraisablehook = hook
    if not pid:
        _run_child(owners, writing, raised)
    os.close(writing)
    with open(reading, 'rb') as pipe:
        code = _wait(pid)
        said = pipe.read().decode()
    return said.removesuffix(_DONE) if said.endswith(_DONE) else f'the child ends with {code}'


def _wait(pid: int) -> int | None:
    """The exit code of a child; None if the loop has waited for the child first."""
    while True:
        try:
            ended, status = os.waitpid(pid, os.WNOHANG)
        except ChildProcessError:
            return None
        if ended:
            return os.waitstatus_to_exitcode(status)
        gevent.sleep(0.005)


def _run_child(owners: list[Client], writing: int, raised: list[str]) -> None:
    """In the child. It never lets another greenlet run: those are the parent's."""
    try:
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.alarm(_CHILD_LIMIT)
        greenlet.settrace(_refuse_switch)
        found = '; '.join([*raised, *(text for client in owners for text in _look(client))])
        if process._connections:
            found += f' connections: {process._connections}'
    except BaseException as exc:  # the parent reports it
        found = repr(exc)
    os.write(writing, found.encode()[:4000] + _DONE.encode())
    os._exit(0)


def _refuse_switch(event: str, _: object) -> None:
    os.write(2, f'a forked child lets other greenlets run: {event}\n'.encode())
    os._exit(3)


def _look(client: Client) -> Iterable[str]:
    """What is wrong with a client whose connection the parent has."""
    state, sid = client.state, client.sid
    if (state, sid) != ('disconnected', None):
        yield f'it is {state}, {sid}'
        return
    calls: dict[str, Callable[[], object]] = {
        'send': lambda: client.send('from a child'),
        'wait': client.wait,
        'connect': lambda: client.connect('http://127.0.0.1:1'),
    }
    for name, call in calls.items():
        try:
            call()
        except RuntimeError as exc:
            if 'fork' not in str(exc):
                yield f'{name} raises {exc!r}'
        else:
            yield f'{name} does not fail'
    client.disconnect()
    client.disconnect(abort=True)

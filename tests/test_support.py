"""What the tests are made of does what they rely on."""

import os
import re
import signal
import socket
import sys
import threading
import time
from pathlib import Path

import gevent
import pytest
from gevent import subprocess

import support
from support import waiting


def test_a_shared_process_that_was_killed_is_replaced(pool):
    def start():
        return support.ServerProcess.python()

    first = pool.get('to be killed', start)
    assert pool.get('to be killed', start) is first
    os.kill(first.pid, signal.SIGKILL)
    assert support.eventually(lambda: not first.alive)
    second = pool.get('to be killed', start)
    assert second.pid != first.pid
    assert second.count() == 0
    assert pool.get('to be killed', start) is second


class Process:
    """What a pool sees of a process."""

    def __init__(self):
        self.alive = True

    def stop(self):
        self.alive = False


def test_a_pool_stops_what_was_not_used_for_the_longest_time():
    pool = support.Pool(size=2)
    first, second = (pool.get(key, Process) for key in ('first', 'second'))
    assert pool.get('first', Process) is first
    third = pool.get('third', Process)
    assert (first.alive, second.alive, third.alive) == (True, False, True)
    pool.stop()
    assert (first.alive, third.alive) == (False, False)


def test_a_server_that_is_started_in_the_midst_of_a_test_is_no_leak():
    with support.no_leaks():
        server = support.ServerProcess.python()
    server.stop()


def test_a_thread_that_waits_for_the_next_job_is_no_leak():
    """gevent's pool starts another where all are busy, as with names that are slow to look up.

    It ends those that have had nothing to do for five seconds.
    """
    pool = gevent.get_hub().threadpool
    release = threading.Event()
    before = support.Leaks()
    jobs = [pool.spawn(release.wait) for _ in range(pool.size + 1)]
    try:
        assert before.left() == []
    finally:
        release.set()
        gevent.joinall(jobs)
    assert before.left() == []


class Clocks:
    """Clocks of a machine that gives this thread one moment of so many."""

    def __init__(self, slowness):
        self.slowness = slowness
        self.wall = self.worked = 0.0

    def thread_time(self):
        self.worked += 0.001
        self.wall += 0.001 * self.slowness
        return self.worked

    def monotonic(self):
        return self.wall


@pytest.mark.parametrize(('slowness', 'factor'), [(1, 1), (3, 3), (50, waiting.MOST)])
def test_patience_is_for_how_slow_the_machine_is(monkeypatch, slowness, factor):
    monkeypatch.setattr(waiting, 'time', Clocks(slowness))
    monkeypatch.setattr(waiting, '_measured', float('-inf'))
    monkeypatch.setattr(waiting, '_slowness', 1.0)
    support.measure_slowness()
    assert support.patience(2) == pytest.approx(2 * factor, rel=0.1)


def test_patience_ends_slowly_and_is_not_measured_all_the_time(monkeypatch):
    clocks = Clocks(1)
    monkeypatch.setattr(waiting, 'time', clocks)
    monkeypatch.setattr(waiting, '_measured', float('-inf'))
    monkeypatch.setattr(waiting, '_slowness', 4.0)
    for _ in range(2):
        support.measure_slowness()
        assert support.patience(1) == pytest.approx(3.2)
    clocks.wall += waiting.INTERVAL
    support.measure_slowness()
    assert support.patience(1) == pytest.approx(2.56)


@pytest.mark.parametrize(
    ('required', 'outcome'), [('0', pytest.skip.Exception), ('1', pytest.fail.Exception)]
)
def test_a_missing_part_skips_or_fails(monkeypatch, tmp_path, required, outcome):
    monkeypatch.setenv('ENGINEIO_GEVENT_REQUIRE_ALL', required)
    monkeypatch.setenv('PATH', str(tmp_path))
    with pytest.raises(outcome, match=r'^Node\.js is missing\. To run these tests: install node'):
        support.need_node()


def test_a_native_server_that_is_stopped_within_a_handshake():
    """The socket of TLS that comes later is closed, too."""
    began = threading.Event()

    class Late:
        def wrap_socket(self, sock, server_side):
            secure = socket.socket(fileno=sock.detach())
            secure.settimeout(20)
            began.set()
            while not server._stopped:
                time.sleep(0.001)
            time.sleep(0.05)  # stop() has gone through the sockets
            return secure

    server = support.NativeServer(lambda sock: sock.recv(1), ssl_context=Late())
    with socket.create_connection(('127.0.0.1', server.port)):
        assert began.wait(support.patience(5))
        server.stop()
        assert not any(thread.is_alive() for thread in server._threads)


def test_exit_codes_are_known_whoever_else_has_children():
    """gevent's `subprocess` takes the exit codes of all children."""
    subprocess.run([sys.executable, '-c', ''], check=True)
    program = support.Program('-c', 'raise SystemExit(3)')
    with pytest.raises(ChildProcessError):  # gevent has taken its exit code
        while True:
            os.waitid(os.P_PID, program.process.pid, os.WEXITED | os.WNOWAIT | os.WNOHANG)
            gevent.sleep(0.01)
    program.end()
    assert program.process.returncode == 3
    program.kill()


def test_nothing_starts_children_whose_exit_codes_gevent_takes():
    """Children of the standard library's seem to have ended well, then."""
    tests = Path(__file__).parent
    runner = tests / 'run.py'  # it has no loop, and shows that others would be found
    wrong = re.compile(r'^import subprocess$(?=.*\bsubprocess\.Popen\()', re.MULTILINE | re.DOTALL)
    assert [file for file in tests.rglob('*.py') if wrong.search(file.read_text())] == [runner]

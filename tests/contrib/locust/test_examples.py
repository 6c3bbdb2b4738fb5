"""`examples/locust/`, run as its docstrings say."""

import re
import sys
from pathlib import Path

import gevent
import gevent.subprocess
import pytest

import support

EXAMPLES = Path(__file__).resolve().parents[3] / 'examples' / 'locust'
RECORDER = Path(__file__).with_name('locustfiles') / 'recorder.py'


@pytest.fixture
def chat_server(locust_environment):
    """The URL of `chat_server.py`."""
    pytest.importorskip('simple_websocket')
    process = gevent.subprocess.Popen(
        [sys.executable, EXAMPLES / 'chat_server.py', '0'],
        stdout=gevent.subprocess.PIPE,
        env=locust_environment,
    )
    line = process.stdout.readline().decode()
    yield re.fullmatch(r'Chat server on (http://127\.0\.0\.1:\d+) \(Ctrl-C stops it\)\n', line)[1]
    process.kill()
    process.wait()
    process.stdout.close()


@pytest.mark.time_limit(150)
def test_chat(locust, chat_server):
    run = locust(f'{EXAMPLES / "chat.py"},{RECORDER}', chat_server, users=50)
    for key in (('request', 'say'), ('recv', 'said'), ('recv', 'joined'), ('push', 'chat')):
        run.until(lambda key=key: run.events_of(*key))
    run.quit()
    assert not run.failures
    assert len(run.events_of('send', 'join')) == 50
    pushes = run.events_of('push', 'chat')
    # Everybody in the room hears what one says, and so does the one.
    assert len(pushes) >= len(run.events_of('request', 'say'))
    assert all(0 <= event['response_time'] < 20_000 for event in pushes)


def test_cost(locust, js_server):
    run = locust(f'{EXAMPLES / "cost.py"},{RECORDER}', js_server.url, users=20)
    run.until(lambda: len(run.events_of('request', 'ask')) == 20)
    run.quit()
    assert re.search(r'20 users: \d+ KiB each, \d+\.\d\d ms of CPU each to start', run.output)
    assert re.search(r'\d+ round trips: \d+\.\d\d ms of CPU each', run.output)
    assert support.eventually(lambda: js_server.count() == 0)

"""Run `probe` in this process, which also runs the servers of a test."""

import contextlib
import json
import os
import re
import socket

import gevent
import pytest
from gevent import subprocess

import support
from engineio_gevent.cli import main

VARIABLES = (
    'http_proxy',
    'https_proxy',
    'all_proxy',
    'no_proxy',
    'REQUESTS_CA_BUNDLE',
    'CURL_CA_BUNDLE',
)


class Outcome:
    """The result of `probe --json`."""

    def __init__(self, code, text):
        self.code = code
        self.report = json.loads(text)
        self.verdict = self.report['verdict']
        self.text = self.verdict['text']
        self.run = self.report['runs'][0]
        #: the steps by name
        self.steps = {step['name']: step for step in self.run['steps']}

    def facts(self, name):
        return self.steps[name]['facts']

    def __repr__(self):
        return f'exit {self.code} {json.dumps(self.report, indent=1)}'


@pytest.fixture
def environment(monkeypatch):
    """An environment without proxies and CA bundles. Changes by options are undone."""
    for name in (*VARIABLES, *map(str.upper, VARIABLES)):
        monkeypatch.setenv(name, '')
        monkeypatch.delenv(name)
    monkeypatch.setenv('NETRC', os.devnull)
    return monkeypatch


@pytest.fixture
def shown(environment, capsys, leaks):
    """`shown(url, ...)`: exit code and text output. Checks that nothing is left open."""

    def run(url, *arguments):
        capsys.readouterr()
        gevent.get_hub().threadpool.apply(int)  # starts the thread pool, which looks up names
        with leaks():
            code = main(['probe', url, *map(str, arguments)])
        captured = capsys.readouterr()
        assert captured.err == ''
        return code, captured.out

    return run


@pytest.fixture
def probe(shown):
    """`probe(url, ...)`: an `Outcome`."""

    def run(url, *arguments):
        return Outcome(*shown(url, '--json', *arguments))

    return run


@pytest.fixture
def failed(probe):
    """`failed(step, url, ...)`: the text of a verdict that names this step."""

    def run(step, url, *arguments):
        outcome = probe(url, *arguments)
        assert outcome.code == 1, outcome
        assert outcome.verdict['status'] == 'failed', outcome
        assert outcome.verdict['step'] == step, outcome
        assert outcome.text.startswith(f'{step}: '), outcome
        return outcome.text

    return run


@pytest.fixture
def answering(hostile_server):
    """`answering(function)`: a server that sends `function(request)` for each request."""

    def start(function):
        def handle(sock):
            while True:
                request = support.read_request(sock)
                answer = function(request)
                if answer is None:
                    return
                sock.sendall(answer)

        return hostile_server(handle)

    return start


SERVER = """
const server = http.createServer();
require('engine.io').attach(server).generateId = () => { throw new Error('no id'); };
const kinds = { 'no-id': server, http2: require('http2').createServer() };
kinds[process.argv[1]].listen(0, '127.0.0.1', function () { console.log(this.address().port); });
process.stdin.resume().on('end', () => process.exit());
"""


@pytest.fixture
def node_server():
    """`node_server(kind)`: the URL of a server of Node.js.

    'no-id' is engine.io that cannot make session ids. 'http2' does not speak HTTP/1.1.
    """
    folder = support.JS_SERVER.parent
    support.need_node(folder)
    with contextlib.ExitStack() as running:

        def start(kind):
            process = running.enter_context(
                subprocess.Popen(
                    ['node', '-e', SERVER, kind],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    text=True,
                    cwd=folder,
                )
            )
            running.callback(process.kill)
            return f'http://127.0.0.1:{process.stdout.readline().strip()}'

        yield start


@pytest.fixture
def silent_address():
    """`(host, port)` that never answers: its queue is full, so that the system drops what comes."""
    with contextlib.ExitStack() as sockets:
        listener = sockets.enter_context(socket.socket())
        listener.bind(('127.0.0.2', 0))
        listener.listen(0)
        for _ in range(2):
            filler = sockets.enter_context(socket.socket())
            filler.setblocking(False)
            filler.connect_ex(listener.getsockname())
        yield listener.getsockname()


@pytest.fixture
def without_times():
    """The text output with all times replaced."""
    return lambda text: re.sub(r'[\d,]+\.\d m?s', 'TIME', text)

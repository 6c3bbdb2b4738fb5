"""Run `probe` in this process, which also runs the servers of a test."""

import contextlib
import json
import os
import re
import socket
import subprocess

import gevent
import pytest

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
const [what, where, cert, key] = process.argv.slice(1);
const engineio = require('engine.io');
const files = cert ? {cert: fs.readFileSync(cert), key: fs.readFileSync(key)} : null;
let server;
if (what === 'http2') {
  server = require('http2').createServer();
} else {
  const refuse = (request, response) => response.writeHead(404).end();
  server = files ? https.createServer(files, refuse) : http.createServer(refuse);
  const io = engineio.attach(server);
  if (what === 'no-id') io.generateId = () => { throw new Error('no id'); };
  io.on('connection', (socket) => socket.on('message', (data) => socket.send(data)));
}
server.listen(isNaN(where) ? where : +where, () => console.log(server.address().port || where));
process.stdin.resume().on('end', () => process.exit());
"""


@pytest.fixture
def node_server():
    """`node_server('engine.io', path)`: a server of Node.js at a UNIX socket or a port.

    It returns the port or the path. The other kinds are 'no-id', which refuses each client, and
    'http2', without HTTP/1.1.
    """
    folder = support.JS_SERVER.parent
    support.need_node(folder)
    with contextlib.ExitStack() as running:

        def start(kind, where, *tls):
            process = running.enter_context(
                subprocess.Popen(
                    ['node', '-e', SERVER, kind, str(where), *tls],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    text=True,
                    cwd=folder,
                )
            )
            running.callback(process.kill)
            return process.stdout.readline().strip()

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

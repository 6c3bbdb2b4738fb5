"""Run python-socketio's own client tests on this package's `Client` and `SimpleClient`.

The tests come with the sdist of the installed python-socketio, which pip downloads into a
temporary folder. None of them connects: they replace the methods of the transport by mocks.
The arguments are further options of pytest.
"""

import importlib.metadata
import os
import pathlib
import subprocess
import sys
import tarfile
import tempfile

import engineio
import gevent.event
import pytest
import socketio

from engineio_gevent.contrib.socketio import Client, EngineIOClient, SimpleClient

FILES = ['tests/common/test_client.py', 'tests/common/test_simple_client.py']
EXPECTED_FAILURES = {
    # It looks at what the transport is constructed with. This package sets handle_sigint later, so
    # that python-socketio does not install a handler.
    'test_client.py::TestClient::test_engineio_logger',
    # It passes json='foo', and this package refuses what has no dumps() and loads().
    'test_client.py::TestClient::test_custom_json',
    # It looks at send() without a connection, where the first part of a packet is dropped before
    # it comes to send(). On a connection both parts are sent.
    'test_client.py::TestClient::test_send_packet_binary',
}


class PatchableEvent(gevent.event.Event):
    """An event with methods that a test can replace, which gevent's own one does not allow."""


class PatchableTransport(EngineIOClient):
    """The transport, with a state and a session id that a test can set."""

    state = 'disconnected'
    sid = None
    create_event = PatchableEvent


class PatchableClient(Client):
    def _engineio_client_class(self):
        return PatchableTransport


class PatchableSimpleClient(SimpleClient):
    client_class = PatchableClient


class OnThisTransport:
    """A pytest plugin: it puts this package's clients in place of python-socketio's."""

    def __init__(self):
        self.unmatched = set(EXPECTED_FAILURES)

    def pytest_configure(self):
        socketio.Client = socketio.client.Client = PatchableClient
        socketio.SimpleClient = socketio.simple_client.SimpleClient = PatchableSimpleClient

    def pytest_collection_modifyitems(self, items):
        for item in items:
            name = item.nodeid.rpartition('/')[2]
            if name in EXPECTED_FAILURES:
                item.add_marker(pytest.mark.xfail(strict=True))
                self.unmatched.discard(name)

    def pytest_runtest_teardown(self):
        # A failed test_custom_json leaves its JSON module to all later tests.
        socketio.packet.Packet.json = engineio.packet.Packet.json = engineio.json


def unpacked_sdist(folder):
    version = importlib.metadata.version('python-socketio')
    subprocess.run(
        [
            sys.executable,
            '-m',
            'pip',
            'download',
            '--quiet',
            '--no-deps',
            '--dest',
            folder,
            '--no-binary',
            'python-socketio',
            f'python-socketio=={version}',
        ],
        check=True,
    )
    (archive,) = pathlib.Path(folder).glob('*.tar.gz')
    with tarfile.open(archive) as tar:
        tar.extractall(folder, filter='data')
    return archive.with_name(archive.name.removesuffix('.tar.gz'))


def main():
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(unpacked_sdist(folder))
        plugin = OnThisTransport()
        # One of their tests reads the levels of loggers, which pytest's own plugin sets.
        code = pytest.main(
            [
                '-c',
                os.devnull,
                '--rootdir=.',
                '-ra',
                '-p',
                'no:logging',
                '-p',
                'no:cacheprovider',
                *sys.argv[1:],
                *FILES,
            ],
            plugins=[plugin],
        )
    if plugin.unmatched:
        sys.exit(f'These expected failures name no test: {", ".join(sorted(plugin.unmatched))}')
    return code


if __name__ == '__main__':
    sys.exit(main())

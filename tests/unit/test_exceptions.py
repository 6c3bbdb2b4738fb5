"""One family of exceptions, which say what they know."""

from __future__ import annotations

import pickle

import pytest

import engineio_gevent
from engineio_gevent import exceptions


@pytest.mark.parametrize('name', [
    'ConnectionError', 'ProtocolError', 'HTTPError', 'ConnectionClosed', 'HeartbeatTimeout'])
def test_all_are_of_one_family(name):
    kind = getattr(exceptions, name)
    assert issubclass(kind, exceptions.EngineIOError)
    assert not issubclass(kind, OSError)  # it is not the built-in of the same name
    assert len(kind.__doc__.strip().splitlines()[0]) < 100


def test_the_package_shows_them():
    assert engineio_gevent.exceptions is exceptions


def test_protocol_error():
    error = exceptions.ProtocolError('what')
    assert (str(error), error.code, error.decoded) == ('what', 1002, [])
    error = exceptions.ProtocolError('what', 1009, ['before'])
    assert (error.code, error.decoded) == (1009, ['before'])
    assert exceptions.ProtocolError('a').decoded is not exceptions.ProtocolError('b').decoded


def test_http_error():
    error = exceptions.HTTPError('what', 400, {'code': 1})
    assert (str(error), error.status, error.body) == ('what', 400, {'code': 1})
    assert exceptions.HTTPError('what', 502).body is None


def test_connection_closed():
    error = exceptions.ConnectionClosed('what')
    assert (str(error), error.code, error.reason) == ('what', 1006, '')
    error = exceptions.ConnectionClosed('what', 4000, 'why')
    assert (error.code, error.reason) == (4000, 'why')


def test_connection_error_has_the_body_of_the_server_as_second_argument():
    error = exceptions.ConnectionError('what', {'code': 1})
    assert error.args == ('what', {'code': 1})


@pytest.mark.parametrize('error', [
    exceptions.ConnectionError('what', {'code': 1}), exceptions.HeartbeatTimeout('what'),
    exceptions.ProtocolError('what'), exceptions.ConnectionClosed('what')],
    ids=lambda error: type(error).__name__)
def test_they_travel_between_processes(error):
    again = pickle.loads(pickle.dumps(error))
    assert (type(again), again.args, again.__dict__) == (type(error), error.args, error.__dict__)

"""Options that are not valid: one `ValueError` that names the option, before anything is sent."""

from __future__ import annotations

import json
import logging
import sys
from types import SimpleNamespace

import pytest

from engineio_gevent import Client
from engineio_gevent.options import keyword_arguments, shared, size_limit, total_timeout
from support import free_port, make_options

BAD = [
    ('request_timeout', -1),
    ('request_timeout', '5'),
    ('request_timeout', True),
    ('request_timeout', float('nan')),
    ('request_timeout', ()),
    ('request_timeout', (1, 2, 3)),
    ('request_timeout', (1, -2)),
    ('request_timeout', (1, '2')),
    ('request_timeout', [1, 2]),
    ('http_session', 'http://a.test'),
    ('http_session', 5),
    ('http_session', object()),
    ('http_session', SimpleNamespace(request='no function')),
    ('http_session', lambda: 'http://a.test'),
    ('http_session', lambda: object),
    ('ssl_verify', ''),
    ('ssl_verify', 1.5),
    ('ssl_verify', ['ca.pem']),
    ('ssl_verify', None),
    ('ssl_cert', 5),
    ('ssl_cert', ('cert.pem',)),
    ('ssl_cert', (None, 'key.pem')),
    ('ssl_cert', ('cert.pem', 'key.pem', 'password')),
    ('ssl_cert', ['cert.pem', 5]),
    ('websocket_extra_options', 'header'),
    ('websocket_extra_options', [('header', {})]),
    ('websocket_extra_options', 5),
    ('sockopt', 5),
    ('sockopt', 'keepalive'),
    ('sockopt', [1, 2, 3]),
    ('sockopt', [[1, 2, 3]]),
    ('source_addresses', 5),
    ('source_addresses', ''),
    ('source_addresses', []),
    ('source_addresses', 'localhost'),
    ('source_addresses', ['127.0.0.1', None]),
    ('dial', 5),
    ('dial', 'a.test:80'),
    ('write_limit', -1),
    ('write_limit', '1000'),
    ('write_limit', True),
    ('write_limit', [1]),
    ('max_message_size', -1),
    ('max_message_size', '1000'),
    ('max_message_size', True),
    ('max_receive_delay', -0.001),
    ('max_receive_delay', 1.1),
    ('max_receive_delay', float('inf')),
    ('max_receive_delay', float('nan')),
    ('max_receive_delay', None),
    ('max_receive_delay', '0'),
    ('max_receive_delay', True),
    ('json', SimpleNamespace(dumps=json.dumps)),
    ('json', SimpleNamespace(loads=json.loads)),
    ('json', SimpleNamespace(dumps=5, loads=5)),
    ('json', 'ujson'),
    ('logger', 'engineio'),
    ('logger', None),
]


@pytest.mark.parametrize(('name', 'value'), BAD)
def test_an_option_that_is_not_valid(name, value):
    with pytest.raises(ValueError, match=rf'^{name}\b') as caught:
        Client(**{'handle_sigint': False, name: value}).connect(f'http://127.0.0.1:{free_port()}')
    assert len(str(caught.value)) < 300


def test_a_changed_attribute_is_checked_too():
    client = Client(handle_sigint=False)
    client.write_limit = 'much'
    with pytest.raises(ValueError, match='write_limit'):
        client.connect(f'http://127.0.0.1:{free_port()}')
    assert client.state == 'disconnected'


@pytest.mark.parametrize(
    ('argument', 'value'),
    [
        ('url', None),
        ('url', b'http://a.test'),
        ('engineio_path', None),
        ('engineio_path', 5),
        ('headers', [('X', 'x')]),
        ('headers', 'X: x'),
    ],
)
def test_an_argument_that_is_not_valid(argument, value):
    arguments = {'url': f'http://127.0.0.1:{free_port()}', argument: value}
    with pytest.raises(ValueError, match='URL' if argument == 'url' else argument):
        Client(handle_sigint=False).connect(**arguments)


@pytest.mark.parametrize(
    ('given', 'total'),
    [
        (5, 5),
        (0.5, 0.5),
        (0, 0),
        (None, None),
        ((3, 5), 8),
        ((3,), 3),
        ((0, 5), 5),
        ((None, 5), None),
        ((5, None), None),
        (float('inf'), float('inf')),
    ],
)
def test_the_total_timeout(given, total):
    assert total_timeout(given) == total


@pytest.mark.parametrize(
    ('given', 'limit'),
    [
        (None, None),
        (0, 0),
        (1, 1),
        (1.5, 1),
        (1e6, 1000000),
        (1 << 40, 1 << 40),
        (sys.maxsize - 1, sys.maxsize - 1),
        (sys.maxsize, None),
        (1 << 80, None),
        (1e30, None),
        (float('inf'), None),
    ],
)
def test_sizes(given, limit):
    found = size_limit('write_limit', given)
    assert found == limit
    assert type(found) is type(limit)


def test_keyword_arguments_are_copied():
    given = {'a': 1}
    copied = keyword_arguments('x', given)
    assert copied == given
    assert copied is not given
    assert keyword_arguments('x', None) == {}


def test_what_has_the_interface_of_a_logger():
    adapter = logging.LoggerAdapter(logging.getLogger('of.the.application'))
    assert Client(logger=adapter).logger is adapter


def test_clients_with_the_same_options_share_them():
    one, other = make_options(), make_options()
    assert shared(one) is shared(other)
    another = make_options(write_limit=5)
    assert shared(another) is another

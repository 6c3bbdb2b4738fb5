"""Errors of the operating system: what they are called, and which pass by themselves."""

import errno
import os
import ssl

import pytest

from engineio_gevent.exceptions import ConnectionClosed
from engineio_gevent.net.errors import OutOfResources, connection_error, error_text


@pytest.mark.parametrize('name', ['EMFILE', 'ENFILE', 'EADDRNOTAVAIL', 'ENOBUFS', 'ENOMEM'])
def test_a_machine_that_has_no_more(name):
    number = getattr(errno, name)
    assert connection_error(OSError(number, os.strerror(number))) is OutOfResources


class NotOfTheSystem(Exception):
    errno = errno.EMFILE


@pytest.mark.parametrize(
    'error',
    [
        ConnectionRefusedError(errno.ECONNREFUSED, 'refused'),
        OSError('without a number'),
        ssl.SSLError('of TLS'),
        ValueError('of another kind'),
        NotOfTheSystem(),
    ],
)
def test_other_errors(error):
    assert connection_error(error) is ConnectionClosed


class Silent(OSError):
    def __str__(self):
        return ''


@pytest.mark.parametrize(
    ('error', 'text'),
    [
        (OSError(errno.ECONNREFUSED, 'refused'), 'refused'),
        (OSError('without a number'), 'without a number'),
        (ValueError('text'), 'text'),
        (ValueError(5), '5'),
        (ValueError(), 'ValueError'),
        (Silent(), 'Silent'),
        (Silent(errno.EIO, 'but with words'), 'but with words'),
    ],
)
def test_an_error_in_words(error, text):
    assert error_text(error) == text

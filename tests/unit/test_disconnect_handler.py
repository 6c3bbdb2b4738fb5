"""Disconnect handlers with a reason and without."""

from __future__ import annotations

import functools

import pytest

from engineio_gevent.disconnect_handler import call_disconnect


class Application:
    def __init__(self, seen):
        self.seen = seen

    def with_reason(self, reason):
        self.seen.append(reason)

    def without(self):
        self.seen.append('none')

    def with_default(self, reason=None):
        self.seen.append(reason)

    def any(self, *args):
        self.seen.append(args[0])

    @classmethod
    def of_the_class(cls, reason):
        cls.last = reason

    def __call__(self, reason):
        self.seen.append(reason)


def decorated(function):
    """Takes anything; the function that it wraps decides."""

    @functools.wraps(function)
    def wrapper(*args):
        return function(*args)

    return wrapper


class Unsigned:
    """Has no signature, as some functions that are written in C."""

    def __init__(self, error, seen):
        self._error = error
        self._seen = seen

    @property
    def __signature__(self):
        raise self._error

    def __call__(self, *args):
        self._seen.append(args)


@pytest.mark.parametrize(
    ('make', 'expected'),
    [
        (lambda seen: lambda reason: seen.append(reason), 'why'),
        (lambda seen: lambda reason=None: seen.append(reason), 'why'),
        (lambda seen: lambda *args: seen.append(*args), 'why'),
        (lambda seen: lambda: seen.append('none'), 'none'),
        (lambda seen: lambda *, key=1: seen.append('none'), 'none'),
        (lambda seen: Application(seen).with_reason, 'why'),
        (lambda seen: Application(seen).with_default, 'why'),
        (lambda seen: Application(seen).any, 'why'),
        (lambda seen: Application(seen).without, 'none'),
        (lambda seen: Application(seen), 'why'),
        (lambda seen: functools.partial(lambda fixed, reason: seen.append(reason), 1), 'why'),
        (lambda seen: functools.partial(lambda fixed: seen.append('none'), 1), 'none'),
        (lambda seen: decorated(lambda reason: seen.append(reason)), 'why'),
        (lambda seen: decorated(lambda: seen.append('none')), 'none'),
        (lambda seen: seen.append, 'why'),
        (lambda seen: Unsigned(TypeError(), seen), ('why',)),
        (lambda seen: Unsigned(ValueError(), seen), ('why',)),
    ],
)
def test_disconnect_handlers_with_a_reason_and_without(make, expected):
    seen = []
    call_disconnect(make(seen), 'why')
    assert seen == [expected]


def test_a_class_method():
    call_disconnect(Application.of_the_class, 'why')
    assert Application.last == 'why'


def test_a_handler_that_takes_too_much_is_called_with_the_reason():
    """Its TypeError then says what is missing."""
    with pytest.raises(TypeError, match="missing 1 required positional argument: 'second'"):
        call_disconnect(functools.partial(lambda first, second: None), 'why')


def test_a_type_error_of_a_handler_is_its_own():
    calls = []

    def handler(*args):
        calls.append(args)
        raise TypeError('handler() takes 0 positional arguments')

    with pytest.raises(TypeError):
        call_disconnect(handler, 'why')
    assert calls == [('why',)]

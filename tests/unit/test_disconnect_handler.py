"""Disconnect handlers with a reason and without."""

from __future__ import annotations

import functools

import pytest

from engineio_gevent.disconnect_handler import call_disconnect


@pytest.mark.parametrize('kind', ['reason', 'none', 'default', 'any', 'method', 'partial'])
def test_disconnect_handlers_with_a_reason_and_without(kind):
    seen = []

    class Application:
        def method(self, reason):
            seen.append(reason)

    handler = {
        'reason': lambda reason: seen.append(reason),
        'none': lambda: seen.append('none'),
        'default': lambda reason=None: seen.append(reason),
        'any': lambda *args: seen.append(*args),
        'method': Application().method,
        'partial': functools.partial(lambda fixed, reason: seen.append(reason), 1),
    }[kind]
    call_disconnect(handler, 'why')
    assert seen == ['none' if kind == 'none' else 'why']


def test_a_type_error_of_a_handler_is_its_own():
    calls = []

    def handler(*args):
        calls.append(args)
        raise TypeError('handler() takes 0 positional arguments')

    with pytest.raises(TypeError):
        call_disconnect(handler, 'why')
    assert calls == [('why',)]

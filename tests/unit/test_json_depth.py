"""How deep JSON nests, and where that matters."""

import os
import threading

import pytest

from engineio_gevent.protocol import json_depth
from engineio_gevent.protocol.json_depth import MAX_NESTING, nests_deeper, too_deep

MANY = 600
# Deeper than what is left out before the rest is counted.
LISTS = ('[' * 20 + ']' * 20 + ',') * MANY
OBJECTS = ('{"a":' * 20 + '1' + '}' * 20 + ',') * MANY


@pytest.mark.parametrize(
    ('text', 'depth'),
    [
        ('[' * MANY + ']' * MANY, MANY),
        ('[' * MANY, MANY),
        ('[{"a":' * MANY, 2 * MANY),
        ('[{"a":' * MANY + '1' + '}]' * MANY, 2 * MANY),
        ('[],' * MANY, 1),
        ('[{"a":[1]},' * MANY, MANY + 2),
        ('["[[{{",' * MANY, MANY),
        ('["]]}}",' * MANY, MANY),
        ('["\\"]]",' * MANY, MANY),
        ('["\\\\",' * MANY, MANY),
        ('["é\ud800]",' * MANY, MANY),
        ('"' + '[' * MANY + '"', 0),
        ('1,' * MANY, 0),
        (LISTS, 20),
        (OBJECTS, 20),
        (LISTS + '[' * MANY, MANY),
        (OBJECTS + '{"a":' * MANY, MANY),
    ],
    ids=range(17),
)
def test_depth(text, depth):
    assert not nests_deeper(text, depth)
    assert depth <= 20 or nests_deeper(text, depth - 20)  # "a few more may be"


DEEP = '[' * (MAX_NESTING + 10) + ']' * (MAX_NESTING + 10)


@pytest.mark.parametrize(
    ('version', 'in_main', 'expected'),
    [((3, 12), False, False), ((3, 13), False, True), ((3, 13), True, False)],
)
def test_it_matters_where_the_stack_may_be_small(monkeypatch, version, in_main, expected):
    monkeypatch.setattr(json_depth.sys, 'version_info', version)
    monkeypatch.setattr(json_depth, 'get_native_id', lambda: os.getpid() if in_main else -1)
    assert too_deep(DEEP) is expected
    assert too_deep('[1],' * 1000) is False
    assert too_deep('[' * MAX_NESTING) is False


@pytest.mark.parametrize('opening', ['[', '{"a":'])
@pytest.mark.parametrize(('levels', 'expected'), [(500, False), (501, True)])
def test_five_hundred_levels_are_read_anywhere(monkeypatch, opening, levels, expected):
    monkeypatch.setattr(json_depth.sys, 'version_info', (3, 13))
    monkeypatch.setattr(json_depth, 'get_native_id', lambda: -1)
    assert too_deep(opening * levels) is expected


@pytest.mark.skipif(not os.path.isdir('/proc/self/task'), reason='Linux alone')
def test_the_main_thread_is_known():
    known = []
    thread = threading.Thread(target=lambda: known.append(json_depth._has_large_stack()))
    thread.start()
    thread.join()
    assert known == [False]

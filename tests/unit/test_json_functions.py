"""The option ``json``: the same as the standard library's, and other packages of all kinds."""

from __future__ import annotations

import collections
import enum
import functools
import gc
import importlib.util
import json
import math
import threading
import types
import weakref

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engineio_gevent import Client
from engineio_gevent.protocol import json_functions as module
from engineio_gevent.protocol.json_functions import adapt, json_functions

SEPARATORS = (',', ':')

dumps, loads = json_functions(None)


def outcome(function, *args, **options):
    """What a call returns, as repr() shows it, or what it raises."""
    try:
        return repr(function(*args, **options))
    except Exception as exc:
        return type(exc), str(exc)


def assert_alike(data):
    assert outcome(dumps, data) == outcome(json.dumps, data, separators=SEPARATORS)


class Text(str):
    __slots__ = ()


class Number(enum.IntEnum):
    ONE = 1


class Money(float):
    __slots__ = ()

    def __repr__(self):
        return '1 EUR'


class Dict(dict):
    def items(self):
        return [('instead', 1)]


def deep(levels):
    data = []
    for _ in range(levels):
        data = [data]
    return data


def circular():
    data = {'a': [1]}
    data['a'].append({'b': data})
    return data


@pytest.mark.parametrize(
    'make',
    [
        lambda: {},
        lambda: [],
        lambda: {'a': [1, -2.5, None, True, 1e300, 10**30], '\xe9': '\u20ac\U0001f600\ud800"\\\n'},
        lambda: {5: 'a', None: 'b', True: 'c', 1.5: 'd'},
        lambda: {(1, 2): 'a'},
        lambda: [math.nan, math.inf, -math.inf],
        lambda: {math.nan: 1},
        lambda: [Text('sub'), {Text('key'): Number.ONE}, Money(1.5), (1, [2]), Dict(a=1)],
        lambda: collections.OrderedDict(b=1, a=collections.namedtuple('P', 'x')(1)),
        lambda: [b'bytes'],
        lambda: [{'a': {1, 2}}],
        lambda: [object],
        circular,
        lambda: deep(50),
        lambda: deep(200_000),
    ],
    ids=range(15),
)
def test_written_like_the_standard_library(make):
    assert_alike(make())
    assert_alike(make())  # nothing of the first call is left


_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary(max_size=2),
    lambda inner: (
        st.lists(inner)
        | st.tuples(inner)
        | st.dictionaries(st.text() | st.integers() | st.none() | st.binary(max_size=1), inner)
    ),
    max_leaves=8,
)


@given(_values)
def test_all_data_is_written_like_the_standard_library(data):
    assert_alike([data])


@given(st.text() | _values.map(repr) | st.text(' \t\n\r\x0b[]{}",:-01.eEtruefalsn\\uNIity'))
def test_all_text_is_read_like_the_standard_library(text):
    assert outcome(loads, text) == outcome(json.loads, text)


@pytest.mark.parametrize(
    'text', ['', ' ', ' [1]\n', '[1] x', '[', '[1,]', '{"a":1,"a":2}', 'NaN', '"\ud800"', '\ufeff1']
)
def test_text_is_read_like_the_standard_library(text):
    assert outcome(loads, text) == outcome(json.loads, text)


def test_an_error_leaves_nothing_behind():
    shared, bad = ['shared'], weakref.WeakSet()

    class Bad:
        pass

    data = [shared, Bad()]
    bad.add(data[1])
    for _ in range(2):
        with pytest.raises(TypeError, match='Bad is not JSON serializable'):
            dumps(data)
    assert dumps([shared, shared]) == '[["shared"],["shared"]]'
    del data
    gc.collect()
    assert not bad


def test_encoding_may_be_interrupted():
    """A ``dict`` of one's own is asked for its items: code that may do anything."""

    class Asking(dict):
        action = None

        def items(self):
            action, Asking.action = Asking.action, None
            if action is not None:
                action()
            return super().items()

    data = [Asking(a=1)]
    expected = '[{"a":1}]'
    Asking.action = lambda: answers.append(dumps(plain))
    plain, answers = [[1]], []
    assert dumps(data) == expected
    assert answers == ['[[1]]']

    # another thread encodes the same object meanwhile, and one that fails
    def meanwhile():
        answers.append(dumps(data))
        answers.append(outcome(dumps, [object()])[0])

    def start():
        thread = threading.Thread(target=meanwhile)
        thread.start()
        thread.join()

    Asking.action, answers = start, []
    assert dumps(data) == expected
    assert answers == [expected, TypeError]

    # a kill
    def stop():
        raise KeyboardInterrupt

    Asking.action = stop
    with pytest.raises(KeyboardInterrupt):
        dumps(data)
    left = weakref.ref(data[0])
    assert dumps(data) == expected
    Asking.action = stop
    with pytest.raises(KeyboardInterrupt):
        dumps(data)
    data.clear()
    gc.collect()
    assert left() is None


def test_a_patched_default_is_used(monkeypatch):
    monkeypatch.setattr(json.JSONEncoder, 'default', lambda self, value: sorted(value))
    assert dumps([{2, 1}]) == '[[1,2]]'


@pytest.mark.parametrize('patch', ['class', 'method'])
def test_another_encoder_is_used(monkeypatch, patch):
    class Encoder(json.JSONEncoder):
        def encode(self, data):
            return f'<{self.item_separator}{data}>'

    if patch == 'class':
        monkeypatch.setattr(json, 'JSONEncoder', Encoder)
    else:
        monkeypatch.setattr(json.JSONEncoder, 'encode', Encoder.encode)
    assert json_functions(None).dumps([1]) == json.dumps([1], separators=SEPARATORS) == '<,[1]>'


def test_another_decoder_is_used(monkeypatch):
    monkeypatch.setattr(json.JSONDecoder, 'decode', lambda self, text: text.upper())
    assert json_functions(None).loads('[]x') == '[]X'


def write_anything(data, **options):
    return 'anything'


def read_anything(text, **options):
    return 'anything'


@pytest.mark.parametrize('wrapped', [False, True])
def test_what_was_replaced_before_the_import_is_used(monkeypatch, wrapped):
    """Applications patch first, and import then."""
    write, read = write_anything, read_anything
    if wrapped:
        write, read = functools.wraps(json.dumps)(write), functools.wraps(json.loads)(read)
    monkeypatch.setattr(json, 'dumps', write)
    monkeypatch.setattr(json, 'loads', read)
    functions = imported_anew().json_functions(None)
    assert (functions.dumps([1]), functions.loads('[1]')) == ('anything', 'anything')


def test_classes_that_were_replaced_before_the_import_are_used(monkeypatch):
    class Encoder(json.JSONEncoder):
        def __init__(self, **options):
            super().__init__(**{**options, 'sort_keys': True})

    monkeypatch.setattr(json, 'JSONEncoder', Encoder)
    monkeypatch.setattr(json.JSONDecoder, 'decode', lambda self, text: text.upper())
    functions = imported_anew().json_functions(None)
    assert functions.dumps({'b': 1, 'a': 2}) == '{"a":2,"b":1}'
    assert functions.loads('[]x') == '[]X'


def imported_anew():
    """The module as it is in a process that imports it now."""
    spec = importlib.util.find_spec(module.__name__)
    made = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(made)
    return made


def test_a_python_without_the_functions_in_c(monkeypatch):
    monkeypatch.setattr(module, '_chunks', None)
    monkeypatch.setattr(module, '_scan_once', None)
    slow = json_functions(json)
    assert slow.dumps({'a': [1]}) == '{"a":[1]}'
    assert slow.loads('{"a": [1]}') == {'a': [1]}


def test_only_errors_and_white_space_take_the_slow_way(monkeypatch):
    if module._chunks is None:
        pytest.skip('this Python has no JSON in C')
    monkeypatch.setattr(module, '_dumps', None)
    monkeypatch.setattr(module, '_loads', None)
    for functions in json_functions(None), json_functions(json):
        assert functions.loads is module.decode
        assert functions.dumps({'a': [1, 'x', math.inf]}) == '{"a":[1,"x",Infinity]}'
        assert functions.loads('{"a":[1,"x"]}') == {'a': [1, 'x']}


# Other packages


def test_upstreams_contract():
    calls = []

    class Module:
        @staticmethod
        def dumps(data, **options):
            calls.append((data, options))
            return '{}'

        loads = staticmethod(str.upper)

    functions = json_functions(Module)
    assert calls == []
    assert functions.dumps([1]) == '{}'
    assert calls == [([1], {'separators': SEPARATORS})]
    assert functions.loads('x') == 'X'
    assert adapt(Module) is Module
    assert adapt(json) is json


def test_no_separators_and_bytes():
    def write(data):
        return json.dumps(data).encode()

    given = types.SimpleNamespace(dumps=write, loads=json.loads)
    assert json_functions(given).dumps([1, 2]) == '[1, 2]'
    adapted = adapt(given)
    assert adapted.dumps([1, 2], separators=SEPARATORS) == '[1, 2]'
    assert adapted.loads('[1]') == [1]


def test_bytes_with_separators():
    def write(data, separators):
        return json.dumps(data, separators=separators).encode()

    given = types.SimpleNamespace(dumps=write, loads=json.loads)
    assert json_functions(given).dumps([1, 2]) == '[1,2]'


@pytest.mark.parametrize('base', [Exception, ValueError])
def test_encode_and_decode(base):
    class Error(base):
        pass

    def read(text):
        if text == 'bug':
            raise KeyError(text)
        try:
            return json.loads(text)
        except ValueError as exc:
            raise Error('not JSON') from exc

    functions = json_functions(types.SimpleNamespace(encode=json.dumps, decode=read))
    assert functions.dumps([1]) == '[1]'
    assert functions.loads('[1]') == [1]
    with pytest.raises(ValueError, match='not JSON'):
        functions.loads('[')
    with pytest.raises(KeyError):
        functions.loads('bug')


def test_a_decoder_that_takes_anything():
    def read(text):
        return {'bug': text[5]} if text == 'bug' else text.upper()

    functions = json_functions(types.SimpleNamespace(encode=str, decode=read))
    assert functions.loads is read
    with pytest.raises(IndexError):
        functions.loads('bug')


@pytest.mark.parametrize(
    'given',
    ['ujson', b'json', 5, types.SimpleNamespace(dumps=str), types.SimpleNamespace(decode=str)],
    ids=range(5),
)
def test_no_json_package(given):
    for function in (json_functions, adapt):
        with pytest.raises(ValueError, match=r'^json must be a module with dumps'):
            function(given)


DATA = {'a': [1, -2.5, None, True, False, 'x', {}], '\u20ac': {'b': ['"', '\\', '\n']}}


def test_packages_write_compact_json(json_package):
    text = json_functions(json_package).dumps(DATA)
    assert type(text) is str
    assert ' ' not in text
    assert '\n' not in text
    assert json.loads(text) == DATA
    assert json.loads(adapt(json_package).dumps(DATA, separators=SEPARATORS)) == DATA


def test_packages_read_json(json_package):
    functions = json_functions(json_package)
    assert functions.loads(json.dumps(DATA)) == DATA
    assert adapt(json_package).loads(json.dumps(DATA)) == DATA
    for text in ('hello', '{', '', '[1] x', '{"a"}'):
        with pytest.raises(ValueError, match=r'.'):
            functions.loads(text)


def test_packages_refuse_what_they_cannot_write(json_package):
    # Each raises an error of its own; they have no base in common but Exception.
    for write in (json_functions(json_package).dumps, adapt(json_package).dumps):
        with pytest.raises(Exception, match=r'(?i)type|object|serializable'):
            write([object()])


def test_clients_do_not_share_them():
    given = types.SimpleNamespace(dumps=lambda data: 'given', loads=json.loads)
    usual, other = Client(handle_sigint=False), Client(handle_sigint=False, json=given)
    assert (usual._dumps([1]), other._dumps([1])) == ('[1]', 'given')

"""The extension in C: when it is used, that it does what the Python does, without leaks."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import shutil
import subprocess
import sys
import types

import pytest
from hypothesis import given
from hypothesis import strategies as st

import engineio_gevent
import support
from engineio_gevent.protocol import compiled
from engineio_gevent.protocol.compiled import REFERENCE

NAME = 'engineio_gevent.protocol._speedups'


@pytest.fixture(scope='module')
def speedups():
    return support.need_extension()


# -- which implementation is used -----------------------------------------------------------------


def loaded_anew(monkeypatch, speedups, switch=''):
    """The module as it is in a process that has not imported it yet."""
    monkeypatch.setenv(compiled.SWITCH, switch)
    monkeypatch.setitem(sys.modules, NAME, speedups)
    # An import asks the package first.
    monkeypatch.delattr('engineio_gevent.protocol._speedups', raising=False)
    spec = importlib.util.find_spec(compiled.__name__)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def a_build(version=engineio_gevent.__version__):
    """What an extension of this version is to those that import it."""
    module = types.ModuleType(NAME)
    module.VERSION = version
    module.mask = lambda: 'in C'
    return module


def mask():
    return 'in Python'


def other():
    return 'in Python'


@pytest.mark.parametrize('switch', ['', '0'])
def test_the_extension_is_used(monkeypatch, switch):
    module = loaded_anew(monkeypatch, a_build(), switch)
    assert module.ACCELERATED
    assert module.accelerated(mask)() == 'in C'
    assert module.accelerated(other)() == 'in Python'  # it does not have that one
    assert {'mask': mask, 'other': other} == module.REFERENCE


@pytest.mark.parametrize('switch', ['1', 'yes', 'false'])
def test_it_can_be_switched_off(monkeypatch, switch):
    module = loaded_anew(monkeypatch, a_build(), switch)
    assert not module.ACCELERATED
    assert module.accelerated(mask) is mask


@pytest.mark.parametrize('version', ['0.0.9', '', None])
def test_one_of_another_version_is_not_used(monkeypatch, version):
    module = loaded_anew(monkeypatch, a_build(version))
    assert not module.ACCELERATED
    assert module.accelerated(mask) is mask


def test_one_without_a_version_is_not_used(monkeypatch):
    module = loaded_anew(monkeypatch, types.ModuleType(NAME))
    assert not module.ACCELERATED


def test_python_is_used_where_the_extension_is_missing(monkeypatch):
    module = loaded_anew(monkeypatch, None)
    assert not module.ACCELERATED
    assert module.accelerated(mask) is mask


#: A program that starts here imports the same package as these tests.
HERE = os.path.dirname(os.path.dirname(engineio_gevent.__file__))


def run(program, folder=HERE, **variables):
    return subprocess.run(
        [sys.executable, '-c', program],
        cwd=folder,
        env={**os.environ, **variables},
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split()


WHICH = (
    'import engineio_gevent as e\n'
    'from engineio_gevent.protocol import frames, messages\n'
    'print(e.__accelerated__, *(type(f).__name__ for f in '
    '(frames.encode_frame, frames.mask, messages.split_messages)))'
)


def test_which_one_is_told(speedups):
    builtin = ['builtin_function_or_method'] * 3
    assert run(WHICH, **{compiled.SWITCH: ''}) == ['True', *builtin]
    assert run(WHICH, **{compiled.SWITCH: '1'}) == ['False', *['function'] * 3]


def test_a_file_that_is_no_extension(tmp_path):
    """As one for another processor."""
    package = tmp_path / 'engineio_gevent'
    source = os.path.dirname(engineio_gevent.__file__)
    shutil.copytree(source, package, ignore=shutil.ignore_patterns('*.so', '*.pyd', '__pycache__'))
    (package / 'protocol' / '_speedups.so').write_bytes(b'\x7fELF of another kind')
    (package / 'protocol' / '_speedups.abi3.so').write_bytes(b'\x7fELF of another kind')
    found = run(WHICH, tmp_path, PYTHONPATH=str(tmp_path), **{compiled.SWITCH: ''})
    assert found == ['False', *['function'] * 3]


def test_the_extension_has_the_functions_of_python(speedups):
    own = {name for name in vars(speedups) if not name.startswith('__')} - {'VERSION'}
    assert own == set(REFERENCE) == {'encode_frame', 'forget_keys', 'mask', 'split_messages'}


# -- the same results and errors -------------------------------------------------------------------


def outcome(function, *args):
    """What comes of a call; the mask of a frame is taken off."""
    try:
        result = function(*args)
    except Exception as error:
        return type(error), str(error), getattr(error, '__cause__', None)
    assert function.__name__ != 'encode_frame' or type(result) is bytes
    return unmasked(result) if function.__name__ == 'encode_frame' else result


def unmasked(frame):
    start = {126: 8, 127: 14}.get(frame[1] & 0x7F, 6)
    return frame[: start - 4] + REFERENCE['mask'](frame[start:], frame[start - 4 : start])


class Bytes(bytes):
    pass


class Text(str):
    __slots__ = ()


class NotBytes:
    def __bytes__(self):
        raise RuntimeError('no bytes')


PAYLOADS = {
    'text': 'x' * 100,
    'empty text': '',
    'latin-1': '\xe4' * 100,
    'two bytes': '\u20ac' * 100,
    'four bytes': '\U0001f600' * 100,
    '65535': 'x' * 65535,
    '65536': 'x' * 65536,
    'lone surrogate': 'x\ud800',
    'bytes': b'x' * 125,
    'of 126': b'x' * 126,
    'none': b'',
    'bytearray': bytearray(b'x' * 300),
    'memoryview': memoryview(b'x' * 300),
    'steps': memoryview(b'xyz' * 100)[::3],
    'words': memoryview(bytes(8)).cast('I'),
    'numbers': [1, 2, 255],
    'a number': 3,
    'of a class': Bytes(b'abc'),
    'text of a class': Text('abc\xe4'),
    'nothing': None,
    'too large numbers': [256],
    'an error': NotBytes(),
    'a float': 1.5,
}


@pytest.mark.parametrize('opcode', [1, 2, 8, 9, 10, 0, 3, 11, 129, -1])
@pytest.mark.parametrize('payload', PAYLOADS)
def test_encode_frame_is_the_same(speedups, payload, opcode):
    args = opcode, PAYLOADS[payload]
    assert outcome(speedups.encode_frame, *args) == outcome(REFERENCE['encode_frame'], *args)


def large(size):
    return (bytes(range(256)) * 257)[:size]


@given(
    st.sampled_from([1, 2, 8, 9, 10, 7]),
    st.text() | st.binary() | st.integers(65530, 65792).map(large),
)
def test_encode_frame_is_the_same_for_anything(opcode, payload):
    found = outcome(support.need_extension().encode_frame, opcode, payload)
    assert found == outcome(REFERENCE['encode_frame'], opcode, payload)


@pytest.mark.parametrize(
    'limit', [0, 1, 5, 1 << 31, sys.maxsize, sys.maxsize + 1, 1 << 64, -1, -(1 << 64)]
)
def test_any_limit(speedups, limit):
    for data in (
        b'',
        b'\x82\x00',
        b'\x82\x01x',
        b'\x81\x05' + b'4abcd',
        b'\x82\x7f' + b'\x7f' * 20,
    ):
        found = outcome(speedups.split_messages, data * 2, limit)
        assert found == outcome(REFERENCE['split_messages'], data * 2, limit)


@given(st.binary(), st.binary(min_size=4, max_size=4), st.integers(), st.integers())
def test_mask_is_the_same(payload, key, start, stop):
    start, stop = (max(-sys.maxsize - 1, min(sys.maxsize, n)) for n in (start, stop))
    found = support.need_extension().mask(payload, key, start, stop)
    assert found == REFERENCE['mask'](payload, key, start, stop)


@pytest.mark.parametrize('name', sorted(REFERENCE))
@pytest.mark.parametrize(
    'args', [(), (1,), (1, b'', 2, 3, 4), (None, None), (b'\x82\x00' * 99, None), (0, 'abcd')]
)
def test_arguments_that_do_not_fit(speedups, name, args):
    if name == 'forget_keys' and not args:
        return
    for function in (getattr(speedups, name), REFERENCE[name]):
        with pytest.raises((TypeError, KeyError)):
            function(*args)


def test_random_bytes_whose_end_runs_python(speedups, monkeypatch):
    """It may take all of the new keys."""
    key = b'abcd'

    class Block(bytes):
        def __del__(self):
            for _ in range(1024):
                taken.append(speedups.encode_frame(2, b'')[2:])

    taken = []
    kinds = iter([Block])
    monkeypatch.setattr(os, 'urandom', lambda size: next(kinds, bytes)(key * (size // 4)))
    speedups.forget_keys()
    taken.append(speedups.encode_frame(2, b'')[2:])
    monkeypatch.undo()
    speedups.forget_keys()
    assert set(taken) == {key}


def test_keywords_are_not_taken(speedups):
    for function in (speedups.encode_frame, REFERENCE['encode_frame']):
        with pytest.raises(TypeError):
            function(opcode=1, payload='')


# -- memory ----------------------------------------------------------------------------------------

KEY = b'abcd'
MIXED = b'\x81\x03\x34ab' + b'\x82\x02ab' + b'\x81\x04\x34\xe2\x82\xac'
CALLS = {
    'text': ('encode_frame', 1, 'x' * 100),
    'binary': ('encode_frame', 2, b'x' * 70000),
    'not ASCII': ('encode_frame', 1, '\u20ac' * 100),
    'a buffer': ('encode_frame', 2, bytearray(300)),
    'a lone surrogate': ('encode_frame', 1, '\ud800'),
    'no bytes': ('encode_frame', 1, None),
    'an unknown opcode': ('encode_frame', 7, b''),
    'an opcode that is no number': ('encode_frame', 'x', b''),
    'a long control frame': ('encode_frame', 9, bytearray(126)),
    'too few': ('encode_frame', 1),
    'messages': ('split_messages', MIXED * 20, 1000),
    'messages and more': ('split_messages', MIXED + b'\x89\x00', 1000),
    'not UTF-8': ('split_messages', MIXED + b'\x81\x02\x34\xff', 1000),
    'too large': ('split_messages', MIXED + b'\x81\x7e\xff\xff', 1000),
    'a limit that is no number': ('split_messages', MIXED, None),
    'data that is no bytes': ('split_messages', None, 1),
    'mask': ('mask', b'x' * 70000, KEY, 1, 65537),
    'mask text': ('mask', 'x' * 70000, KEY),
    'mask other text': ('mask', '\xe4' * 70000, KEY),
    'mask a surrogate': ('mask', '\ud800', KEY),
    'a short key': ('mask', b'x', b'abc'),
    'a key that is no bytes': ('mask', b'x', None),
    'a start that is no number': ('mask', b'x', KEY, None),
    'no keys': ('forget_keys',),
}


def call(function, args):
    with contextlib.suppress(TypeError, ValueError, KeyError):
        function(*args)


@pytest.mark.parametrize('name', CALLS)
def test_nothing_is_leaked(speedups, name):
    tracemalloc = pytest.importorskip('tracemalloc')
    function, args = getattr(speedups, CALLS[name][0]), CALLS[name][1:]
    counts = [sys.getrefcount(arg) for arg in args]
    tracemalloc.start()
    try:
        for _ in range(100):
            call(function, args)
        before = tracemalloc.get_traced_memory()[0]
        for _ in range(3000):
            call(function, args)
        grown = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()
    assert grown < 3000  # less than a byte for each call
    # Other threads may take or leave a reference to None and the like, which Python before 3.12
    # counts, but not for each call.
    for arg, count in zip(args, counts, strict=True):
        assert abs(sys.getrefcount(arg) - count) < 1000


@pytest.mark.parametrize('name', CALLS)
def test_no_memory(speedups, name):
    """Each allocation fails in turn; nothing else may come of it than MemoryError."""
    testcapi = pytest.importorskip('_testcapi')
    function, args = getattr(speedups, CALLS[name][0]), CALLS[name][1:]
    for number in range(1, 30):
        speedups.forget_keys()
        testcapi.set_nomemory(number, number + 1)
        try:
            function(*args)
        except (MemoryError, TypeError, ValueError, KeyError):
            pass
        finally:
            testcapi.remove_mem_hooks()
    call(function, args)

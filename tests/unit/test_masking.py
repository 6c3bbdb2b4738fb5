"""Masking: every way gives the same bytes, and no key is used twice."""

import importlib.util
import os
import random
import subprocess
import sys
import threading
import types

import pytest

from engineio_gevent.protocol import masking
from engineio_gevent.protocol.frames import PING, TEXT, encode_frame

KEY = b'\x01\x80\xff\x00'


def by_the_book(payload, key):
    """RFC 6455, section 5.3, word for word."""
    return bytes(octet ^ key[index % 4] for index, octet in enumerate(payload))


@pytest.mark.parametrize('size', [0, 1, 2, 3, 4, 5, 63, 125, 2047, 2048, 2049, 70_001])
@pytest.mark.parametrize(
    'way', [masking.mask, masking._mask_any, masking._mask_as_integer, masking._mask_by_table]
)
def test_masking(way, size):
    payload = random.Random(size).randbytes(size)
    assert way(payload, KEY) == by_the_book(payload, KEY)


@pytest.mark.parametrize('way', [masking.mask_short, masking._mask_short])
def test_masking_of_short_payloads(way):
    for size in range(126):  # as long as the shortest form of a frame
        payload = random.Random(size).randbytes(size)
        assert way(payload, KEY) == by_the_book(payload, KEY)


@pytest.fixture
def speedups(monkeypatch):
    """`speedups(function)`: what masking finds in the package websockets."""

    def put(function):
        module = types.ModuleType('websockets.speedups')
        if function is not None:
            module.apply_mask = function
        monkeypatch.setitem(sys.modules, 'websockets', types.ModuleType('websockets'))
        monkeypatch.setitem(sys.modules, 'websockets.speedups', module)
        return masking._compiled()

    return put


def loaded_anew():
    """The module as it is in a process that has not imported it yet."""
    spec = importlib.util.find_spec(masking.__name__)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_function_in_c_is_used(speedups):
    assert speedups(by_the_book) is by_the_book
    module = loaded_anew()
    assert module.mask is module.mask_short is by_the_book


@pytest.mark.parametrize('size', [0, 1, 125])
def test_without_the_function_in_c_everything_is_masked(speedups, size):
    speedups(None)
    module = loaded_anew()
    payload = random.Random(size).randbytes(size)
    for way in (module.mask, module.mask_short):
        assert way(payload, KEY) == by_the_book(payload, KEY)


@pytest.mark.parametrize(
    'function',
    [None, lambda payload: payload, lambda payload, key: payload, lambda payload, key: 1 / 0],
)
def test_a_function_that_is_not_what_it_was_is_left_alone(speedups, function):
    assert speedups(function) is None


def test_without_the_package(monkeypatch):
    monkeypatch.setitem(sys.modules, 'websockets', None)
    monkeypatch.setitem(sys.modules, 'websockets.speedups', None)
    assert masking._compiled() is None


def test_the_package_s_own_function(monkeypatch):
    speedups = pytest.importorskip('websockets.speedups')
    assert masking._compiled() is speedups.apply_mask
    payload = random.Random(1).randbytes(100_001)
    assert masking._compiled()(payload, KEY) == by_the_book(payload, KEY)


# -- keys ---------------------------------------------------------------------------


def test_keys_have_four_bytes():
    assert {len(key) for key in (masking.draw_keys(), *masking.keys)} == {4}


def test_keys_differ_from_frame_to_frame():
    count = 3 * 1024  # more than one block
    keys = {encode_frame(TEXT, 'same')[2:6] for _ in range(count)}
    assert len(keys) > count - 5  # two of so many may be equal by chance


def test_keys_come_from_the_system_and_each_is_used_once(monkeypatch):
    block = b''.join(number.to_bytes(4, 'big') for number in range(1024))
    drawn = []

    def urandom(size):
        drawn.append(size)
        return block

    monkeypatch.setattr(os, 'urandom', urandom)
    masking.keys.clear()
    keys = [encode_frame(TEXT, 'x')[2:6] for _ in range(1024)]
    assert drawn == [4096]
    assert sorted(keys) == [block[start : start + 4] for start in range(0, 4096, 4)]
    encode_frame(TEXT, 'x')
    assert drawn == [4096, 4096]
    masking.keys.clear()  # these are foreseeable


def test_native_threads_do_not_share_keys(monkeypatch):
    counter = iter(range(1 << 30))
    monkeypatch.setattr(
        os, 'urandom', lambda size: b''.join(next(counter).to_bytes(4, 'big') for _ in range(1024))
    )
    masking.keys.clear()
    keys = []

    def work():
        keys.extend(encode_frame(PING, b'')[2:6] for _ in range(5000))

    threads = [threading.Thread(target=work) for _ in range(4)]
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(interval)
    masking.keys.clear()
    assert len(keys) == len(set(keys)) == 20_000


@pytest.mark.skipif(not hasattr(os, 'fork'), reason='needs fork')
def test_a_forked_child_draws_its_own_keys():
    program = (
        'import os\n'
        'from engineio_gevent.protocol.frames import encode_frame\n'
        'encode_frame(1, "")\n'
        'child = os.fork()\n'
        'key = encode_frame(1, "")[2:6].hex()\n'
        'child and os.waitpid(child, 0)\n'
        'print(key, flush=True)\n'
        'os._exit(0)\n'
    )
    result = subprocess.run([sys.executable, '-c', program], capture_output=True, check=True)
    child_key, parent_key = result.stdout.split()
    assert child_key != parent_key

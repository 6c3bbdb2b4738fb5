"""Masking: every way gives the same bytes, and no key is used twice."""

import os
import random
import struct
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from engineio_gevent.protocol import masking
from engineio_gevent.protocol.frames import BINARY, PING, TEXT, encode_frame
from engineio_gevent.protocol.masking import forget_keys, mask

pytestmark = pytest.mark.usefixtures('implementation')

KEY = b'\x01\x80\xff\x00'


def by_the_book(payload, key):
    """RFC 6455, section 5.3, word for word."""
    return bytes(octet ^ key[index % 4] for index, octet in enumerate(payload))


SIZES = [0, 1, 2, 3, 4, 5, 7, 8, 9, 15, 63, 125, 2047, 2048, 2049, 70_001]


@pytest.mark.parametrize('size', SIZES)
@pytest.mark.parametrize(
    'way', [masking.mask_bytes, masking._mask_as_integer, masking._mask_by_table]
)
def test_masking_in_python(way, size):
    payload = random.Random(size).randbytes(size)
    assert way(payload, KEY) == by_the_book(payload, KEY)


@pytest.mark.parametrize('size', SIZES)
def test_masking(size):
    payload = random.Random(size).randbytes(size)
    masked = mask(payload, KEY)
    assert masked == by_the_book(payload, KEY)
    assert type(masked) is bytes
    assert mask(masked, KEY) == payload
    text = 'ab\0\x7f' * size
    assert mask(text, KEY) == by_the_book(text.encode(), KEY)


def test_masking_of_short_frames():
    for size in range(130):
        payload = random.Random(size).randbytes(size)
        for _ in range(5):
            frame = encode_frame(BINARY, payload)
            start = 6 if size < 126 else 8
            assert frame[start:] == by_the_book(payload, frame[start - 4 : start])


@pytest.mark.parametrize('start', [0, 1, 7, 8, 100, 101, -1, -3, -101, -sys.maxsize - 1])
@pytest.mark.parametrize('stop', [0, 1, 9, 99, 100, 101, sys.maxsize, -1, -99, -sys.maxsize - 1])
def test_masking_of_a_piece(start, stop):
    payload = random.Random(1).randbytes(100)
    assert mask(payload, KEY, start) == by_the_book(payload[start:], KEY)
    assert mask(payload, KEY, start, stop) == by_the_book(payload[start:stop], KEY)
    text = 'abcdefghij' * 10
    assert mask(text, KEY, start, stop) == by_the_book(text[start:stop].encode(), KEY)


@pytest.mark.parametrize('key', [b'', b'abc', b'abcde'])
def test_a_key_of_another_length(key):
    with pytest.raises(ValueError, match=r'^a masking key has 4 bytes$'):
        mask(b'payload', key)


@pytest.mark.parametrize('text', ['\xe4', 'x\u20ac', '\ud800', 'x' * 100 + '\U0001f600'])
def test_text_that_is_not_ascii(text):
    with pytest.raises(ValueError, match=r'^text to mask must be ASCII$'):
        mask(text, KEY, 0, 1)


# -- keys ---------------------------------------------------------------------------


def test_keys_have_four_bytes():
    keys = [masking.draw_keys(), *masking.keys]
    assert len({key.to_bytes(4, 'little') for key in keys}) > 1000


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
    forget_keys()
    keys = [encode_frame(TEXT, 'x')[2:6] for _ in range(1024)]
    assert drawn == [4096]
    assert sorted(keys) == [block[start : start + 4] for start in range(0, 4096, 4)]
    encode_frame(TEXT, 'x')
    assert drawn == [4096, 4096]
    forget_keys()  # these are foreseeable


@pytest.mark.parametrize('block', [b'', bytes(4095), bytes(4097), 'x' * 4096, None])
def test_a_faulty_source_of_keys(block, monkeypatch):
    forget_keys()
    with monkeypatch.context() as patch:
        patch.setattr(os, 'urandom', lambda size: block)
        for _ in range(2):
            with pytest.raises((TypeError, ValueError, struct.error)):
                encode_frame(TEXT, 'x')
    assert len(encode_frame(TEXT, 'x')) == 7


def test_a_source_of_keys_that_fails(monkeypatch):
    def urandom(size):
        raise OSError('no entropy')

    forget_keys()
    with monkeypatch.context() as patch:
        patch.setattr(os, 'urandom', urandom)
        with pytest.raises(OSError, match='no entropy'):
            encode_frame(TEXT, 'x')
    assert len(encode_frame(TEXT, 'x')) == 7


def test_a_source_of_keys_that_calls_back(monkeypatch):
    """As another greenlet or thread may do while it waits."""
    urandom = os.urandom
    inner = []

    def nested(size):
        if len(inner) < 3:
            inner.append(None)
            inner[-1] = encode_frame(TEXT, 'x')[2:6]
        return urandom(size)

    forget_keys()
    monkeypatch.setattr(os, 'urandom', nested)
    keys = [encode_frame(TEXT, 'x')[2:6] for _ in range(3000)]
    assert len({*keys, *inner}) > 3000  # 3003, but for chance


def test_native_threads_do_not_share_keys(monkeypatch):
    counter = iter(range(1 << 30))
    monkeypatch.setattr(
        os, 'urandom', lambda size: b''.join(next(counter).to_bytes(4, 'big') for _ in range(1024))
    )
    forget_keys()
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
    forget_keys()
    assert len(keys) == len(set(keys)) == 20_000


@pytest.mark.skipif(not hasattr(os, 'fork'), reason='needs fork')
def test_a_forked_child_draws_its_own_keys(implementation):
    program = (
        'import os\n'
        'from engineio_gevent.protocol import compiled, frames\n'
        'encode_frame = frames.encode_frame\n'
        f'assert compiled.ACCELERATED is {implementation == "c"}\n'
        'encode_frame(1, "")\n'
        'child = os.fork()\n'
        'key = encode_frame(1, "")[2:6].hex()\n'
        'child and os.waitpid(child, 0)\n'
        'print(key, flush=True)\n'
        'os._exit(0)\n'
    )
    switch = {'ENGINEIO_GEVENT_PURE_PYTHON': str(int(implementation == 'python'))}
    result = subprocess.run(
        [sys.executable, '-c', program],
        capture_output=True,
        check=True,
        cwd=Path(masking.__file__).parents[2],  # the same package as in this process
        env=os.environ | switch,
    )
    child_key, parent_key = result.stdout.split()
    assert child_key != parent_key

"""Close frames with each code, at each time."""

import pytest

from engineio_gevent.exceptions import ConnectionClosed, ProtocolError
from support import CLOSE, close_frame, frame

NO_CODE = 1005
ALLOWED = [NO_CODE, 1000, 1001, 1002, 1003, *range(1007, 1015), 3000, 3999, 4000, 4999]
FORBIDDEN = [0, 1, 999, 1004, 1006, 1015, 1016, 2999, 5000, 65535]

FRAMES = [
    *(
        (code, close_frame(code) if code != NO_CODE else frame('', CLOSE), ConnectionClosed)
        for code in ALLOWED
    ),
    (4001, close_frame(4001, '\u20ac' * 41), ConnectionClosed),
    # As good as none (RFC 6455, section 7.4.2): it is the server's fault.
    *((1002, close_frame(code), ProtocolError) for code in [*FORBIDDEN, NO_CODE]),
    (1002, frame(b'\x03', CLOSE), ProtocolError),
    (1007, close_frame(1000)[:1] + b'\x04\x03\xe8\xff\xff', ProtocolError),
]
"""The code that is to be found in the cause, the frame, and the kind of the cause."""

one_server = pytest.mark.parametrize('kind', ['js'], indirect=True)


@one_server
@pytest.mark.parametrize('way', ['websocket', 'wss', 'upgraded'], indirect=True)
def test_a_close_frame_ends_the_connection(make_subject, way):
    subject = make_subject(way, mode='tls' if way.tls else 'http')
    for code, said, kind in FRAMES:
        subject.again()
        subject.ask()
        subject.lane.say(said)
        assert subject.loses(kind).code == code
    subject.recovers()


@one_server
@pytest.mark.parametrize('way', ['websocket', 'wss'], indirect=True)
def test_a_close_frame_instead_of_the_handshake(make_subject, way):
    """After the answer to the websocket's own handshake, in place of the OPEN packet."""
    subject = make_subject(way, mode='tls' if way.tls else 'http')
    for number, (code, said, kind) in enumerate(FRAMES, 1):
        subject.lane.rule('ws-open', 'cut', after='head', how='hole')
        connecting = subject.start_failing(kind)
        subject.lane.wait_seen('cut', number)
        subject.lane.say(said)
        assert connecting.get(timeout=5).code == code
    subject.recovers()


@one_server
def test_a_close_frame_instead_of_the_probe_s_pong(make_subject):
    subject = make_subject('upgraded')
    for number, (_, said, _) in enumerate(FRAMES, 1):
        subject.lane.rule('probe', 'cut', after='head', how='hole')
        connecting = subject.start_connecting()
        subject.lane.wait_seen('cut', number)
        subject.lane.say(said, 'probe')
        connecting.get(timeout=5)
        subject.keeps_polling()
        subject.leaves()
        subject.connects = 0
        subject.ends.clear()
    subject.recovers()

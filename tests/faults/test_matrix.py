"""The matrix of faults as one whole: what happens, to whom, and which tests say so.

A row is a fault, a column is what the client is doing. Each cell names tests, of this folder
unless a folder is given; a name stands for all its parameters. For every cell `connect` raises or
the disconnect handler runs once, in time and with the cause, nothing is left, and the same client
connects again; `Subject` in `conftest.py` is where that is asked. "upgraded" connections are
websockets, and tests that have a `way` go through them, too.
"""

import ast
from pathlib import Path

import pytest

FAULTS = Path(__file__).parent

COLUMNS = 'polling', 'websocket', 'wss', 'upgrade', 'handshake'

LOSS = 'test_loss.py::'
SILENCE = 'test_silence.py::'
BYTES = 'test_bytes.py::'
ANSWERS = 'test_answers.py::'
CODES = 'test_close_codes.py::'
HANDSHAKE = 'test_handshake.py::'
UPGRADE = 'test_upgrade.py::'


def same(test, upgrade, handshake):
    """A row with one test for all connections that are there."""
    return [test, test, test, upgrade, handshake]


ALL_REFUSED = f'{ANSWERS}test_a_request_that_is_refused'
#: There is no such thing: an open websocket has no requests, polling no frames.
NONE_ASKED = None

MATRIX = {
    'server killed: RST, FIN; restarted on the same port': same(
        f'{LOSS}test_the_server_is_killed_and_started_again',
        f'{UPGRADE}test_the_server_is_killed_and_started_again',
        f'{HANDSHAKE}test_a_server_that_is_killed_and_started_again',
    ),
    'restarted, and the sessions unknown': [
        f'{LOSS}test_another_server_behind_the_same_port',
        NONE_ASKED,
        NONE_ASKED,
        f'{LOSS}test_another_server_within_the_upgrade',
        f'{ANSWERS}test_a_handshake_that_is_refused',
    ],
    'connection ended by RST, by FIN': same(
        f'{LOSS}test_the_connection_ends',
        f'{UPGRADE}test_all_connections_end {UPGRADE}test_the_probe_ends',
        f'{HANDSHAKE}test_the_connection_ends'
        f' {HANDSHAKE}test_a_connection_that_is_reset_before_tls_begins',
    ),
    'ended so while sending, and while leaving': same(
        f'{LOSS}test_the_connection_ends_while_much_is_sent'
        f' {LOSS}test_the_connection_ends_in_the_farewell',
        f'{UPGRADE}test_polling_is_awaited',
        f'{HANDSHAKE}test_the_connection_ends',
    ),
    'server stopped, then continued': same(
        f'{SILENCE}test_silence_and_back',
        f'{UPGRADE}test_silence_and_back',
        f'{HANDSHAKE}test_a_stopped_server',
    ),
    'server stopped for a moment': same(
        f'{SILENCE}test_a_short_silence_does_no_harm',
        f'{UPGRADE}test_a_short_silence_does_no_harm',
        f'{HANDSHAKE}test_a_stopped_server',
    ),
    'network black-holed, then back': same(
        f'{SILENCE}test_silence_and_back',
        f'{UPGRADE}test_silence_and_back',
        f'{HANDSHAKE}test_a_server_that_accepts_and_says_no_more',
    ),
    'network black-holed for a moment': same(
        f'{SILENCE}test_a_short_silence_does_no_harm',
        f'{UPGRADE}test_the_probe_is_held_up_and_goes_on',
        f'{HANDSHAKE}test_a_black_hole_that_goes_by',
    ),
    'a dead server, and disconnect() or abort': same(
        f'{SILENCE}test_leaving_a_dead_server',
        f'{UPGRADE}test_leaving_a_dead_server',
        f'{HANDSHAKE}test_a_server_that_accepts_and_says_no_more',
    ),
    'PINGs withheld while messages flow': [
        *[f'{SILENCE}test_no_pings_though_messages_flow'] * 3,
        f'{UPGRADE}test_no_pings_though_messages_flow',
        NONE_ASKED,
    ],
    'bytes delayed': same(
        f'{BYTES}test_slow_bytes',
        f'{BYTES}test_slow_bytes',
        f'{BYTES}test_slow_bytes {BYTES}test_a_handshake_that_is_too_slow',
    ),
    'bytes trickled one by one': [
        f'{BYTES}test_slow_bytes hostile/test_bad_polling.py::'
        'test_a_body_that_trickles_does_not_hold_off_the_heartbeat',
        f'{BYTES}test_slow_bytes hostile/test_bad_websocket.py::'
        'test_the_rest_of_a_frame_does_not_hold_off_the_heartbeat',
        f'{BYTES}test_slow_bytes',
        f'{BYTES}test_slow_bytes',
        f'{BYTES}test_slow_bytes {BYTES}test_a_handshake_that_is_too_slow',
    ],
    'bytes split at every boundary': same(
        f'{BYTES}test_a_message_split_at_every_boundary',
        f'{BYTES}test_a_connection_split_at_every_boundary',
        f'{BYTES}test_a_connection_split_at_every_boundary',
    ),
    'truncated in mid-frame': [
        f'{BYTES}test_an_answer_cut_within',
        f'{BYTES}test_a_frame_cut_at_every_boundary',
        f'{BYTES}test_a_frame_cut_at_every_boundary {BYTES}test_a_record_cut_at_every_boundary',
        f'{UPGRADE}test_a_probe_cut_at_every_boundary',
        f'{BYTES}test_a_handshake_cut_at_every_boundary',
    ],
    **{
        f'answer {status}': [
            ALL_REFUSED,
            NONE_ASKED,
            NONE_ASKED,
            f'{ANSWERS}test_a_probe_that_is_refused',
            f'{ANSWERS}test_a_handshake_that_is_refused',
        ]
        for status in ('400 (unknown sid)', 401, 403, 413, 429, 500, '502 (HTML)', 503)
    },
    'redirect to the same host': [
        f'{ANSWERS}test_a_redirect_is_followed',
        NONE_ASKED,
        NONE_ASKED,
        f'{ANSWERS}test_a_probe_is_not_redirected',
        f'{ANSWERS}test_a_redirect_is_followed {ANSWERS}test_a_websocket_is_redirected_at_home',
    ],
    'redirect to another host': [
        f'{ANSWERS}test_a_redirect_is_followed {ANSWERS}test_credentials_stay_with_their_host',
        NONE_ASKED,
        NONE_ASKED,
        f'{ANSWERS}test_a_probe_is_not_redirected',
        f'{ANSWERS}test_a_redirect_is_followed {ANSWERS}test_a_websocket_is_not_redirected',
    ],
    'redirect in a loop, to nowhere, to plain text': [
        f'{ANSWERS}test_a_redirect_to_nowhere {ANSWERS}test_a_redirect_to_plain_text'
        f' {ANSWERS}test_a_post_is_not_turned_into_a_get',
        NONE_ASKED,
        NONE_ASKED,
        f'{ANSWERS}test_a_probe_is_not_redirected',
        f'{ANSWERS}test_a_redirect_to_nowhere {ANSWERS}test_a_redirect_to_plain_text',
    ],
    'close frame with each code': [
        NONE_ASKED,
        f'{CODES}test_a_close_frame_ends_the_connection',
        f'{CODES}test_a_close_frame_ends_the_connection',
        f'{CODES}test_a_close_frame_instead_of_the_probe_s_pong',
        f'{CODES}test_a_close_frame_instead_of_the_handshake',
    ],
    'a server that accepts and never answers': [
        'hostile/test_bad_polling.py::test_a_post_whose_connection_is_accepted_and_no_more',
        NONE_ASKED,
        NONE_ASKED,
        f'{UPGRADE}test_the_probe_ends',
        f'{HANDSHAKE}test_a_server_that_accepts_and_says_no_more'
        f' {HANDSHAKE}test_a_fault_within_the_handshake_of_tls',
    ],
    'a proxy that refuses upgrades': [
        NONE_ASKED,
        f'{ANSWERS}test_a_proxy_that_refuses_websockets',
        f'{ANSWERS}test_a_proxy_that_refuses_websockets',
        f'{ANSWERS}test_a_proxy_that_refuses_the_upgrade'
        f' {UPGRADE}test_a_probe_that_hangs_makes_no_busy_loop',
        f'{ANSWERS}test_a_proxy_that_refuses_websockets',
    ],
}


def _tests_in(path):
    """The names of the tests in a file."""
    return {
        item.name
        for item in ast.parse(path.read_text()).body
        if isinstance(item, ast.FunctionDef) and item.name.startswith('test_')
    }


@pytest.mark.parametrize('fault', MATRIX)
def test_each_cell_is_a_test(fault):
    cells = MATRIX[fault]
    assert len(cells) == len(COLUMNS)
    for cell in filter(None, cells):
        for name in cell.split():
            file, _, test = name.partition('::')
            path = FAULTS.parent / file if '/' in file else FAULTS / file
            assert test in _tests_in(path), f'no {name}'


def test_each_test_is_in_a_cell():
    named = {
        name for cells in MATRIX.values() for cell in filter(None, cells) for name in cell.split()
    }
    for path in FAULTS.glob('test_*.py'):
        if path != Path(__file__):
            assert {f'{path.name}::{test}' for test in _tests_in(path)} <= named

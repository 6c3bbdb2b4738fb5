"""Monkey-patched early, late, partly, and not at all: a client works the same."""

import pytest

VARIANTS = [
    ('never', []),
    ('early', []),
    ('after import', []),
    ('after a client', []),
    ('while connected', []),
    *(
        ('early', [name])
        for name in (
            'socket',
            'thread',
            'ssl',
            'select',
            'queue',
            'os',
            'signal',
            'subprocess',
            'dns',
        )
    ),
    ('early', ['thread', 'queue', 'signal', 'os']),
    ('after import', ['socket', 'ssl']),
]


@pytest.mark.parametrize(
    ('when', 'left_out'), VARIANTS, ids=['-'.join([when, *left_out]) for when, left_out in VARIANTS]
)
def test_client(js_server, js_server_tls, program, when, left_out):
    """Polling, websocket, with an upgrade, and once more; nothing on standard error."""
    programs = [
        program('patching.py', server.url, when, left_out) for server in (js_server, js_server_tls)
    ]
    conversation = ['hello', 'from a thread', 'from threading', 'client disconnect', 'disconnected']
    for one in programs:
        assert one.result() == [[conversation] * 3, conversation, when != 'never']

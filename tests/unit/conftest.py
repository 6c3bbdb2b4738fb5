"""The fixtures that several test files of single modules share."""

import pytest

from support import IMPLEMENTATIONS, Room, let_go, settle, use_implementation


@pytest.fixture
def make_room(monkeypatch, caplog):
    """`make_room(first=..., handlers=..., **options)`: a session that is not open yet."""
    rooms = []

    def make(**settings):
        rooms.append(Room(monkeypatch, **settings))
        return rooms[-1]

    yield make
    for room in rooms:
        if room.session.open_packet is not None:
            let_go(room.session)
    settle()
    # What a session itself raises in a worker ends in the log alone.
    assert 'handler raised a BaseException' not in [
        record.getMessage() for record in caplog.get_records('call')
    ]


@pytest.fixture
def room(make_room):
    """An open session."""
    return make_room().open()


@pytest.fixture(scope='module', params=IMPLEMENTATIONS)
def implementation(request):
    """'python', then 'c': the functions for frames in all modules, the tests' own included."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        use_implementation(request.param, monkeypatch)
        yield request.param

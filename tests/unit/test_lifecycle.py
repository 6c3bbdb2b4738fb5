"""Every phase of a connection, with every event."""

from __future__ import annotations

import pytest

from engineio_gevent import lifecycle
from engineio_gevent.lifecycle import OPENING, TRANSITIONS, Event, Lifecycle, Phase

PHASES = {name: item for name, item in vars(lifecycle).items() if isinstance(item, Phase)}

# By phase, in the order of COLUMNS: the next phase; '.': no change; '!': it cannot happen.
COLUMNS = [
    'OPEN_PACKET',
    'GREET',
    'GREETED',
    'FAIL',
    'DISCONNECT',
    'FAREWELL_DONE',
    'LOSS',
    'SERVER_CLOSE',
    'HANDLE',
    'HANDLED',
    'THREAD_ENDED',
    'FORK',
]
EXPECTED = {
    'OPENING': 'OPENED ! ! CLOSED FAILED ! FAILED ! ! ! CLOSED FORKED',
    'OPENED': '! GREETING ! REFUSING FAILED ! LOST_EARLY CLOSED_EARLY ! ! CLOSED FORKED',
    'LOST_EARLY': '! LOST ! CLOSED FAILED ! . ! ! ! CLOSED FORKED',
    'CLOSED_EARLY': '! ENDING ! CLOSED FAILED ! . ! ! ! CLOSED FORKED',
    'FAILED': '! ! ! REFUSING . ! . ! ! ! CLOSED FORKED',
    'GREETING': '! ! OPEN REFUSING LEAVING ! LOST ENDING ! ! ENDING FORKED',
    'OPEN': '! ! ! ! LEAVING ! LOST ENDING ! ! ENDING FORKED',
    'LEAVING': '! ! . . . ENDING . ! ! ! ENDING FORKED',
    'REFUSING': '! ! ! ! . CLOSED . ! ! ! CLOSED FORKED',
    'LOST': '! ! . . ENDING ! . ! HANDLING_LOSS ! . FORKED',
    'HANDLING_LOSS': '! ! . . HANDLING_END ! . ! ! CLOSED CLOSED FORKED',
    'ENDING': '! ! . . . ! . ! HANDLING_END ! . FORKED',
    'HANDLING_END': '! ! . . . ! . ! ! CLOSED CLOSED FORKED',
    'CLOSED': '! ! . . . ! . ! ! . . .',
    'FORKED': '. . . . . . . . . . . .',
}
# The phase: state, alive, over.
FACTS = {
    'OPENING': ('disconnected', False, False),
    'OPENED': ('disconnected', True, False),
    'LOST_EARLY': ('disconnected', False, False),
    'CLOSED_EARLY': ('disconnected', False, False),
    'FAILED': ('disconnected', False, False),
    'GREETING': ('connected', True, False),
    'OPEN': ('connected', True, False),
    'LEAVING': ('disconnecting', False, False),
    'REFUSING': ('disconnecting', False, False),
    'LOST': ('connected', False, False),
    'HANDLING_LOSS': ('connected', False, True),
    'ENDING': ('disconnecting', False, False),
    'HANDLING_END': ('disconnecting', False, True),
    'CLOSED': ('disconnected', False, True),
    'FORKED': ('disconnected', False, True),
}


def in_phase(phase: Phase) -> Lifecycle:
    life = Lifecycle()
    life.phase = phase
    return life


def test_the_tables_are_complete():
    assert set(PHASES) == set(EXPECTED) == set(FACTS)
    assert set(TRANSITIONS) == set(PHASES.values())
    assert [event.name for event in Event] == COLUMNS
    assert all(len(row.split()) == len(COLUMNS) for row in EXPECTED.values())


@pytest.mark.parametrize('event', Event, ids=lambda event: event.name)
@pytest.mark.parametrize('name', PHASES)
def test_each_event_in_each_phase(name, event):
    expected = EXPECTED[name].split()[COLUMNS.index(event.name)]
    life = in_phase(PHASES[name])
    if expected == '!':
        with pytest.raises(RuntimeError, match=f'^{event.name} cannot happen in the phase {name}$'):
            life.move(event)
        assert life.phase is PHASES[name]
    else:
        assert life.move(event) is (expected != '.')
        assert life.phase is PHASES[name if expected == '.' else expected]


@pytest.mark.parametrize('name', PHASES)
def test_what_a_phase_says(name):
    phase = PHASES[name]
    assert (phase.state, phase.alive, phase.over) == FACTS[name]
    assert repr(phase) == name


@pytest.mark.parametrize('name', PHASES)
def test_whether_the_client_may_connect_again(name):
    life = in_phase(PHASES[name])
    if FACTS[name][2]:
        life.refuse_connect()
    else:
        with pytest.raises(ValueError, match=r'^Client is not in a disconnected state'):
            life.refuse_connect()


def test_where_it_begins():
    assert Lifecycle().phase is OPENING


def test_every_phase_can_be_reached():
    reached = {OPENING}
    for _ in PHASES:
        reached |= {after for phase in reached for after in TRANSITIONS[phase].values()}
    assert reached == set(PHASES.values())


@pytest.mark.parametrize('event', [Event.GREET, Event.HANDLE], ids=lambda event: event.name)
def test_a_handler_of_a_connection_runs_once(event):
    """After the event there is no way to a phase in which it may happen again."""
    table = {phase: row for phase, row in TRANSITIONS.items() if phase.name != 'FORKED'}
    after = {row[event] for row in table.values() if event in row}
    for _ in PHASES:
        after |= {following for phase in after & set(table) for following in table[phase].values()}
    assert not [phase for phase in after & set(table) if event in table[phase]]

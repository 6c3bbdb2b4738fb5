"""How far a connection has come: every phase, every event, and every transition in one table.

A :class:`Lifecycle` is the only writer of a connection's phase. What the API shows as ``state`` is
derived from it. An event that the table does not list for a phase is a programming error.
"""

from __future__ import annotations

from enum import IntEnum, auto

from .options import State


class Phase:
    """A phase of a connection. Phases are compared by identity.

    :param name: the name, for error messages.
    :param state: what :attr:`.Client.state` shows.
    :param alive: whether the server's packets count: it has opened the connection, and no side has
                  begun to close it.
    :param over: whether the client may connect again. The disconnect handler may still run.
    """

    __slots__ = ('alive', 'name', 'over', 'state')

    def __init__(self, name: str, state: State, *, alive: bool = False, over: bool = False) -> None:
        self.name = name
        self.state: State = state
        self.alive = alive
        self.over = over

    def __repr__(self) -> str:
        return self.name


#: ``connect()`` waits for the OPEN packet.
OPENING = Phase('OPENING', 'disconnected')
#: The OPEN packet has arrived. The connect handler has not begun. Messages are held back.
OPENED = Phase('OPENED', 'disconnected', alive=True)
#: Like OPENED, but the connection has been lost meanwhile.
LOST_EARLY = Phase('LOST_EARLY', 'disconnected')
#: Like OPENED, but the server has closed the connection meanwhile.
CLOSED_EARLY = Phase('CLOSED_EARLY', 'disconnected')
#: ``connect()`` is to raise: the handshake failed, or ``disconnect()`` was called before the
#: connect handler began.
FAILED = Phase('FAILED', 'disconnected')
#: The connect handler runs. Messages are held back.
GREETING = Phase('GREETING', 'connected', alive=True)
#: Messages are handled as they arrive.
OPEN = Phase('OPEN', 'connected', alive=True)
#: ``disconnect()`` sends what is queued and a CLOSE packet.
LEAVING = Phase('LEAVING', 'disconnecting')
#: ``connect()`` failed after the OPEN packet. It sends a CLOSE packet. No handler will run.
REFUSING = Phase('REFUSING', 'disconnecting')
#: The connection was lost. The disconnect handler has not begun. As in python-engineio the state
#: is still 'connected': python-socketio reconnects if it is.
LOST = Phase('LOST', 'connected')
#: Like LOST, but the disconnect handler runs.
HANDLING_LOSS = Phase('HANDLING_LOSS', 'connected', over=True)
#: One side closed the connection. The disconnect handler has not begun.
ENDING = Phase('ENDING', 'disconnecting')
#: Like ENDING, but the disconnect handler runs.
HANDLING_END = Phase('HANDLING_END', 'disconnecting', over=True)
#: Everything is done, the disconnect handler too.
CLOSED = Phase('CLOSED', 'disconnected', over=True)
#: This process was forked. The connection belongs to the parent process.
FORKED = Phase('FORKED', 'disconnected', over=True)


class Event(IntEnum):
    """What happens to a connection. Integers are looked up faster than other enumerations."""

    #: The OPEN packet arrived.
    OPEN_PACKET = auto()
    #: ``connect()`` is about to call the connect handler.
    GREET = auto()
    #: The connect handler has returned.
    GREETED = auto()
    #: ``connect()`` raises.
    FAIL = auto()
    #: The application called ``disconnect()``.
    DISCONNECT = auto()
    #: Everything has been sent that had to be sent before the transport is closed.
    FAREWELL_DONE = auto()
    #: The transport failed, or the server was silent for too long.
    LOSS = auto()
    #: The server sent a CLOSE packet.
    SERVER_CLOSE = auto()
    #: The disconnect handler begins.
    HANDLE = auto()
    #: The disconnect handler has run.
    HANDLED = auto()
    #: The native thread of the connection has ended, or its hub was destroyed.
    THREAD_ENDED = auto()
    #: This process is a forked child.
    FORK = auto()


_E = Event

#: The next phase, by phase and event. An event that maps a phase to itself comes too late to
#: change anything.
TRANSITIONS: dict[Phase, dict[Event, Phase]] = {
    OPENING: {
        _E.OPEN_PACKET: OPENED,
        _E.FAIL: CLOSED,
        _E.DISCONNECT: FAILED,
        _E.LOSS: FAILED,
        _E.THREAD_ENDED: CLOSED,
        _E.FORK: FORKED,
    },
    OPENED: {
        _E.GREET: GREETING,
        _E.FAIL: REFUSING,
        _E.DISCONNECT: FAILED,
        _E.LOSS: LOST_EARLY,
        _E.SERVER_CLOSE: CLOSED_EARLY,
        _E.THREAD_ENDED: CLOSED,
        _E.FORK: FORKED,
    },
    LOST_EARLY: {
        _E.GREET: LOST,
        _E.FAIL: CLOSED,
        _E.DISCONNECT: FAILED,
        _E.LOSS: LOST_EARLY,
        _E.THREAD_ENDED: CLOSED,
        _E.FORK: FORKED,
    },
    CLOSED_EARLY: {
        _E.GREET: ENDING,
        _E.FAIL: CLOSED,
        _E.DISCONNECT: FAILED,
        _E.LOSS: CLOSED_EARLY,
        _E.THREAD_ENDED: CLOSED,
        _E.FORK: FORKED,
    },
    FAILED: {
        _E.FAIL: REFUSING,
        _E.DISCONNECT: FAILED,
        _E.LOSS: FAILED,
        _E.THREAD_ENDED: CLOSED,
        _E.FORK: FORKED,
    },
    GREETING: {
        _E.GREETED: OPEN,
        _E.FAIL: REFUSING,
        _E.DISCONNECT: LEAVING,
        _E.LOSS: LOST,
        _E.SERVER_CLOSE: ENDING,
        _E.THREAD_ENDED: ENDING,
        _E.FORK: FORKED,
    },
    OPEN: {
        _E.DISCONNECT: LEAVING,
        _E.LOSS: LOST,
        _E.SERVER_CLOSE: ENDING,
        _E.THREAD_ENDED: ENDING,
        _E.FORK: FORKED,
    },
    LEAVING: {
        _E.GREETED: LEAVING,
        _E.FAIL: LEAVING,
        _E.DISCONNECT: LEAVING,
        _E.FAREWELL_DONE: ENDING,
        _E.LOSS: LEAVING,
        _E.THREAD_ENDED: ENDING,
        _E.FORK: FORKED,
    },
    REFUSING: {
        _E.DISCONNECT: REFUSING,
        _E.FAREWELL_DONE: CLOSED,
        _E.LOSS: REFUSING,
        _E.THREAD_ENDED: CLOSED,
        _E.FORK: FORKED,
    },
    LOST: {
        _E.GREETED: LOST,
        _E.FAIL: LOST,
        # The application does not want the connection any more: no reason to reconnect.
        _E.DISCONNECT: ENDING,
        _E.LOSS: LOST,
        _E.HANDLE: HANDLING_LOSS,
        _E.THREAD_ENDED: LOST,
        _E.FORK: FORKED,
    },
    HANDLING_LOSS: {
        _E.GREETED: HANDLING_LOSS,
        _E.FAIL: HANDLING_LOSS,
        # The application does not want the connection any more: no reason to reconnect.
        _E.DISCONNECT: HANDLING_END,
        _E.LOSS: HANDLING_LOSS,
        _E.HANDLED: CLOSED,
        _E.THREAD_ENDED: CLOSED,
        _E.FORK: FORKED,
    },
    ENDING: {
        _E.GREETED: ENDING,
        _E.FAIL: ENDING,
        _E.DISCONNECT: ENDING,
        _E.LOSS: ENDING,
        _E.HANDLE: HANDLING_END,
        _E.THREAD_ENDED: ENDING,
        _E.FORK: FORKED,
    },
    HANDLING_END: {
        _E.GREETED: HANDLING_END,
        _E.FAIL: HANDLING_END,
        _E.DISCONNECT: HANDLING_END,
        _E.LOSS: HANDLING_END,
        _E.HANDLED: CLOSED,
        _E.THREAD_ENDED: CLOSED,
        _E.FORK: FORKED,
    },
    CLOSED: {
        _E.GREETED: CLOSED,
        _E.FAIL: CLOSED,
        _E.DISCONNECT: CLOSED,
        _E.LOSS: CLOSED,
        _E.HANDLED: CLOSED,
        _E.THREAD_ENDED: CLOSED,
        _E.FORK: CLOSED,
    },
    # Greenlets of the parent process go on in the child, wherever they were.
    FORKED: dict.fromkeys(Event, FORKED),
}


class Lifecycle:
    """The phase of one connection."""

    __slots__ = ('phase',)

    def __init__(self) -> None:
        #: Read by anyone, written by :meth:`move` only.
        self.phase = OPENING

    def move(self, event: Event) -> bool:
        """Take the transition that the table lists for an event.

        :returns: whether the phase has changed.
        :raises RuntimeError: the event cannot happen in this phase.
        """
        was = self.phase
        try:
            self.phase = TRANSITIONS[was][event]
        except KeyError:
            raise RuntimeError(f'{event.name} cannot happen in the phase {was!r}') from None
        return self.phase is not was

    def refuse_connect(self) -> None:
        """Check that the client may connect again.

        :raises ValueError: it may not, and what to do.
        """
        if not self.phase.over:
            raise ValueError(
                'Client is not in a disconnected state. If it is connected, call disconnect() or '
                'wait() first. If several greenlets connect it, let each hold a lock and check '
                'state in it first'
            )

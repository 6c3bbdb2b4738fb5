"""Events of Socket.IO that calls wait for, and their names in the report."""

from __future__ import annotations

from typing import Any, NamedTuple

from ...printable import shortened
from .awaited import Awaited, Match
from .failures import MAX_TEXT


class Arrived(NamedTuple):
    """An event of the server."""

    namespace: str
    event: str
    arguments: tuple[Any, ...]


def row_name(event: str, namespace: str | None) -> str:
    """The name of an event in the report: one line, whatever the server sends as a name."""
    name = str(event) if namespace in (None, '', '/') else f'{namespace} {event}'
    return shortened(name, MAX_TEXT)


def awaited_event(event: str, match: Match, namespace: str | None) -> Awaited:
    """An event that a call waits for."""

    def is_it(arrived: Arrived) -> bool:
        if (arrived.namespace, arrived.event) != (namespace or '/', event):
            return False
        if match is None:
            return True
        data = value_of(arrived)
        return bool(match(data) if callable(match) else match == data)

    return Awaited(is_it, 'matching event', namespace or '/')


def is_acknowledgement(arrived: Arrived) -> bool:
    """Whether an event is an acknowledgement: never. Each of those comes with its callback."""
    return False


def value_of(message: Any) -> Any:
    """The data of an event or of an acknowledgement, as a call returns it."""
    return value(message.arguments) if isinstance(message, Arrived) else message


def value(arguments: tuple[Any, ...]) -> Any:
    """The arguments of an event as a single value, as ``socketio.Client.call`` returns them."""
    return arguments if len(arguments) > 1 else arguments[0] if arguments else None

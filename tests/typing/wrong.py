"""What a user gets wrong, and type checkers have to tell; each line says what they are to say.

A comment that ignores nothing is an error itself, to mypy by ``--warn-unused-ignores`` and to
pyright by ``reportUnnecessaryTypeIgnoreComment``: so the error beside it has to be there.
"""

from __future__ import annotations

from engineio_gevent import Client, exceptions
from engineio_gevent.contrib.locust import EngineIOUser, Failure

eio = Client()

# Arguments
Client(request_timeout='5')  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
Client(http_session='http')  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
Client(write_limit=1.5)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
Client(websocket_options={})  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
# The ninth and on have names.
Client(False, None, 5, None, True, True, None, True, True)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
eio.connect()  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
eio.connect(b'http://x')  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
eio.connect('http://x', {'X-Number': 1})  # type: ignore[dict-item]  # pyright: ignore[reportArgumentType]
eio.connect('http://x', transports=[1])  # type: ignore[list-item]  # pyright: ignore[reportArgumentType]
eio.connect('http://x', 'Authorization: 1')  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
eio.send()  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
eio.send('one', 'two')  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
eio.disconnect(reason=5)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
eio.sleep('1')  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
eio.on(5)  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType]
eio.on('message', 'handler')  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType]
eio.start_background_task('f')  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]

# What is read
sid: str = eio.sid  # type: ignore[assignment]  # pyright: ignore[reportAssignmentType]
interval: float = eio.ping_interval  # type: ignore[assignment]  # pyright: ignore[reportAssignmentType]
unsent: str = eio.unsent  # type: ignore[assignment]  # pyright: ignore[reportAssignmentType]
eio.sid = 'mine'  # type: ignore[misc]  # pyright: ignore[reportAttributeAccessIssue]
eio.state = 'connected'  # type: ignore[misc]  # pyright: ignore[reportAttributeAccessIssue]
eio.write_limit = '1 MiB'  # type: ignore[assignment]  # pyright: ignore[reportAttributeAccessIssue]
eio.emit('event')  # type: ignore[attr-defined]  # pyright: ignore
eio.state == 'closed'  # type: ignore[comparison-overlap]  # pyright: ignore[reportUnnecessaryComparison, reportUnusedExpression]
print(eio.reason.TIMEOUT)  # type: ignore[attr-defined]  # pyright: ignore

# Exceptions
print(exceptions.TimeoutError)  # type: ignore[attr-defined]  # pyright: ignore
raise_it: exceptions.HTTPError = exceptions.HTTPError('no')  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
status: str = exceptions.HTTPError('no', 404).status  # type: ignore[assignment]  # pyright: ignore[reportAssignmentType]


class Silent(Client):
    """An override that its callers cannot call."""

    def send(self) -> None:  # type: ignore[override]  # pyright: ignore[reportIncompatibleMethodOverride]
        """Nothing."""


class Visitor(EngineIOUser):
    """Settings of other types."""

    engineio_path = 5  # type: ignore[assignment]  # pyright: ignore[reportAssignmentType]

    def message_name(self, message: object) -> int:  # type: ignore[override]  # pyright: ignore[reportIncompatibleMethodOverride]
        self.eio.request()  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
        self.eio.expect(timeout='1')  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
        self.report('push')  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
        self.report('push', 'x', error=Failure)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
        return 0

"""What is the same for every Python worker."""

from __future__ import annotations

#: By a job's transport: the argument of ``connect()``.
TRANSPORTS = {'websocket': ['websocket'], 'polling': ['polling'], 'upgrade': None}
#: Clients that go before those that are measured, so that what is made once is made.
WARM_UP = 10
#: Seconds that belong to a connect or disconnect: what goes on behind it is part of its cost.
REST = 0.1
#: Seconds in which an idle process comes to rest.
SETTLE = 0.5

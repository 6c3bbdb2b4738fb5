"""Settings of all Python workers."""

from __future__ import annotations

#: By the job's transport: the argument ``transports`` of ``connect()``.
TRANSPORTS = {'websocket': ['websocket'], 'polling': ['polling'], 'upgrade': None}
#: Number of clients before the measured ones, so that setup once per process is not measured.
WARM_UP = 10
#: Seconds of the same work before the measured part, so that caches are filled and Node has
#: compiled the code.
WARM_WORK = 0.5
#: Seconds that are measured after the last connect or disconnect, for work in the background.
REST = 0.1
#: Seconds until a process counts as idle.
SETTLE = 0.5

"""A loop and a clock of the test's own: time passes when the test says so."""

from engineio_gevent import heartbeat


class ScriptedLoop:
    """Holds timers; `run_to` lets time pass and fires what is due."""

    approx_timer_resolution = 0.001
    ptr = 1  # it is not destroyed

    def __init__(self):
        self.now = 100.0
        self.made = []
        self.hub = _Hub(self)

    @classmethod
    def install(cls, monkeypatch):
        """Have all heartbeats run by the timers and the clock of a new one."""
        loop = cls()
        loop.drive_heartbeats(monkeypatch)
        monkeypatch.setattr(heartbeat, 'monotonic', lambda: loop.now)
        return loop

    def drive_heartbeats(self, monkeypatch):
        """Have heartbeats that are made from now on run by the timers of this one."""
        timers = heartbeat._Timers(self.hub)
        monkeypatch.setattr(heartbeat._timers, 'get', lambda: timers)

    def timer(self, seconds):
        # libuv warns of what is shorter, and warnings may be errors.
        assert seconds == 0 or seconds >= self.approx_timer_resolution
        one = _Timer(self.now + seconds)
        self.made.append(one)
        return one

    @property
    def open(self):
        return [one for one in self.made if not one.closed]

    @property
    def armed(self):
        return [one for one in self.made if one.callback is not None]

    def run_to(self, moment):
        while self.armed and min(one.moment for one in self.armed) <= moment:
            next_one = min(self.armed, key=lambda one: one.moment)
            self.now = max(self.now, next_one.moment)
            callback, next_one.callback = next_one.callback, None
            callback()
        self.now = max(self.now, moment)


class _Timer:
    def __init__(self, moment):
        self.moment = moment
        self.callback = None
        self.closed = False

    def start(self, callback):
        assert not self.closed
        self.callback = callback

    def stop(self):
        assert not self.closed
        self.callback = None

    def close(self):
        self.callback = None
        self.closed = True


class _Hub:
    def __init__(self, loop):
        self.loop = loop
        self.errors = []

    def handle_error(self, context, kind, error, traceback):
        self.errors.append((context, kind, error, traceback))

"""Native threads beside the hub of a test."""

import threading

from .waiting import eventually


class NativeThread:
    """Calls a function in a native thread, while the hub of the test goes on."""

    def __init__(self, function, *arguments):
        self._function = function
        self._arguments = arguments
        self._result = self._error = None
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self):
        try:
            self._result = self._function(*self._arguments)
        except BaseException as exc:  # the test gets it, whatever it is
            self._error = exc

    @property
    def running(self):
        return self._thread.is_alive()

    def get(self):
        """What the function returned, or raised, once the thread has ended."""
        assert eventually(lambda: not self.running)
        if self._error is not None:
            raise self._error
        return self._result


def in_thread(function, *arguments):
    """Call a function in a native thread and wait for its result, while this hub goes on."""
    return NativeThread(function, *arguments).get()

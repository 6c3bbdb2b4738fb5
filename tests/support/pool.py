"""Processes that many tests share."""


class Pool:
    """Processes by a key, because starting one takes longer than most tests do.

    A process that has ended is replaced when a test next asks for it: a crash fails the test that
    sees it, and no later one. Each process has `alive` and `stop()`.

    :param size: how many may run; the one unused for the longest time is stopped first.
    """

    def __init__(self, size=16):
        self._size = size
        self._made = {}

    def get(self, key, start):
        """The process of this key; `start()` makes it where there is none that runs."""
        one = self._made.pop(key, None)
        if one is not None and not one.alive:
            one.stop()
            one = None
        self._made[key] = one or start()  # the last one is the one used last
        while len(self._made) > self._size:
            self._made.pop(next(iter(self._made))).stop()
        return self._made[key]

    def stop(self):
        """Stop all."""
        for one in self._made.values():
            one.stop()
        self._made.clear()

"""``engineio-gevent load``: the clients, the schedule and the result."""

"""``engineio-gevent load``: the clients, the schedule, what it comes to."""

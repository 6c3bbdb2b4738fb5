"""People in chat rooms: they think, they talk, and they hear what the others say.

Start the server in one terminal, and this in another; then open http://localhost:8089::

    pip install 'engineio-gevent[demo,locust]'
    python examples/locust/chat_server.py
    locust -f examples/locust/chat.py --host http://127.0.0.1:5000

Without the web UI::

    locust -f examples/locust/chat.py --host http://127.0.0.1:5000 \
        --headless --users 200 --spawn-rate 20 --run-time 1m --csv chat --html chat.html
"""

from __future__ import annotations

import itertools
import os
import random
import time
from typing import Any

from locust import between, task

from engineio_gevent.contrib.locust import EngineIOUser

#: How many people are in a room, about: each message goes to all of them.
PEOPLE_PER_ROOM = 10
ROOMS = [f'room {number}' for number in range(200 // PEOPLE_PER_ROOM)]

numbers = itertools.count()


class Chatter(EngineIOUser):
    # Time to read, to think and to type. Without it a user is not a person, but a loop.
    wait_time = between(2, 8)
    client_options = {'remember_upgrade': True}  # noqa: RUF012 - as browsers do

    def on_start(self) -> None:
        self.room = random.choice(ROOMS)
        self.eio.on('connect', self.join)
        self.eio.on('message', self.hear)
        super().on_start()

    def join(self) -> None:
        """Whenever the connection is there, also when it has been lost and is there again.

        In this handler nothing can be waited for: messages come when it has returned.
        """
        self.eio.send({'join': self.room}, name='join')

    def hear(self, message: Any) -> None:
        """What somebody says took so long from there to here.

        Two clocks are compared: on many machines they have to be synchronised.
        """
        if 'said' in message:
            self.report('push', 'chat', milliseconds=max(0, time.time() - message['at']) * 1000)

    def message_name(self, message: Any) -> str:
        """What is counted as `recv`, by the first key: "joined", "said"."""
        return str(next(iter(message)))

    @task(4)
    def talk(self) -> None:
        """A round trip: until what one says is back in the room."""
        number = f'{os.getpid()}-{next(numbers)}'
        self.eio.request(
            {'say': 'Has anybody seen my keys?', 'at': time.time(), 'number': number},
            match=lambda message: message.get('number') == number,
            timeout=10,
            name='say',
        )

    @task(1)
    def listen(self) -> None:
        """Wait for somebody to say something."""
        self.eio.expect(lambda message: 'said' in message, timeout=120, name='hear')

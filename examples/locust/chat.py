"""Users in chat rooms, with think times. They send messages and receive those of others.

Start the server in one terminal and Locust in another, then open http://localhost:8089::

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

#: Average number of users in a room. Each message is sent to all of them.
PEOPLE_PER_ROOM = 10
ROOMS = [f'room {number}' for number in range(200 // PEOPLE_PER_ROOM)]

numbers = itertools.count()


class Chatter(EngineIOUser):
    # Seconds to read, think and type. Without it a user repeats its tasks without a pause.
    wait_time = between(2, 8)
    client_options = {'remember_upgrade': True}  # noqa: RUF012 - as browsers do

    def on_start(self) -> None:
        self.room = random.choice(ROOMS)
        self.eio.on('connect', self.join)
        self.eio.on('message', self.hear)
        super().on_start()

    def join(self) -> None:
        """Join the room again after each connect and reconnect.

        This handler cannot wait for an answer: messages are delivered after it has returned.
        """
        self.eio.send({'join': self.room}, name='join')

    def hear(self, message: Any) -> None:
        """Report how long a message took from its sender to this user.

        The sender's clock is compared with this machine's. Synchronise the clocks of machines.
        """
        if 'said' in message:
            self.report('push', 'chat', milliseconds=max(0, time.time() - message['at']) * 1000)

    def message_name(self, message: Any) -> str:
        """Name the rows `recv` by the first key of the message: "joined" or "said"."""
        return str(next(iter(message)))

    @task(4)
    def talk(self) -> None:
        """Send a message and wait until it arrives in the room."""
        number = f'{os.getpid()}-{next(numbers)}'
        self.eio.request(
            {'say': 'Has anybody seen my keys?', 'at': time.time(), 'number': number},
            match=lambda message: message.get('number') == number,
            timeout=10,
            name='say',
        )

    @task(1)
    def listen(self) -> None:
        """Wait for a message of any user."""
        self.eio.expect(lambda message: 'said' in message, timeout=120, name='hear')

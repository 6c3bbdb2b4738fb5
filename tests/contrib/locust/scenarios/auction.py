"""An auction: bidders read pages over HTTP, and watch and bid over Engine.IO, step by step."""

import itertools

from locust import FastHttpUser, SequentialTaskSet, between, task

from engineio_gevent.contrib.locust import EngineIOUser

numbers = itertools.count()


class Bidding(SequentialTaskSet):
    @task
    def browse(self):
        self.client.get('/items')

    @task
    def watch(self):
        self.user.ask('watch')

    @task
    def bid(self):
        self.user.eio.send({'do': 'look'}, name='look')
        # The sale does not wait for those who are late.
        self.user.ask('bid', timeout=2, check=lambda answer: answer['ok'])

    @task
    def go(self):
        self.user.ask('unwatch')


class Bidder(FastHttpUser, EngineIOUser):
    wait_time = between(0.05, 0.2)
    connect_timeout = 30
    connect_retry_delay = 0.2
    tasks = [Bidding]

    def ask(self, what, **options):
        number = next(numbers)
        return self.eio.request(
            {'do': what, 'id': number},
            match=lambda message: message.get('re') == number,
            name=what,
            **options,
        )

    def message_name(self, message):
        if 'news' in message:
            return message['news']
        return f'late {"request" if message["ok"] else "refusal"} {message["do"]}'

    def on_stop(self):
        self.ask('unwatch')
        super().on_stop()

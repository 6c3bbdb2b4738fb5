"""Writes each request event of this process to a file of its own, as a line of JSON."""

import json
import os
import time

import control
from locust import events


@events.init.add_listener
def record(environment, **kwargs):
    file = None

    @environment.events.request.add_listener
    def on_request(exception, response, **event):
        nonlocal file
        if file is None:  # after Locust has forked its workers
            path = f'{os.environ["RECORDS"]}.{os.getpid()}'
            file = open(path, 'w', buffering=1)  # noqa: SIM115 - until the process ends
        event['exception'] = None if exception is None else repr(exception)
        json.dump({**event, 'now': time.time()}, file)
        file.write('\n')

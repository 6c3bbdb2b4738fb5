"""Users whose on_start fails after they have connected."""

from locust import task

from engineio_gevent.contrib.locust import EngineIOUser


class Mortal(EngineIOUser):
    def on_start(self):
        super().on_start()
        raise RuntimeError('this user is lost')

    @task
    def never(self):
        pass

"""Locust users with an Engine.IO or a Socket.IO client. They need the extra ``locust``.

::

    from locust import between, task
    from engineio_gevent.contrib.locust import EngineIOUser

    class Visitor(EngineIOUser):
        host = 'http://localhost:5000'
        wait_time = between(1, 5)

        @task
        def ask(self):
            self.eio.request({'ask': 'time'}, name='time')
"""

from . import _order as _order
from .client import EngineIOClient as EngineIOClient
from .engineio_user import EngineIOUser as EngineIOUser
from .failures import Failure as Failure
from .socketio_client import SocketIOClient as SocketIOClient
from .socketio_user import SocketIOUser as SocketIOUser

__all__ = ['EngineIOClient', 'EngineIOUser', 'Failure', 'SocketIOClient', 'SocketIOUser']

"""gunicorn's configuration for `preloaded_app`; `PATCH` in the environment says when to patch."""

import os

if os.environ['PATCH'] == 'early':
    from gevent import monkey

    monkey.patch_all()

bind = f'fd://{os.environ["LISTENER"]}'
worker_class = 'gevent'
preload_app = True
control_socket_disable = True

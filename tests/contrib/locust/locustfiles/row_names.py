"""Prints, as JSON, the names of rows for events and their namespaces, given as JSON."""

import json
import sys

import locust

from engineio_gevent.contrib.locust.socketio_events import row_name

json.dump([row_name(*one) for one in json.loads(sys.argv[1])], sys.stdout)

"""Prints, as JSON, what a list of failure texts, given as JSON, becomes."""

import json
import sys

import locust

from engineio_gevent.contrib.locust import failures

texts = json.loads(sys.argv[1])
json.dump([repr(failures.describe(ValueError(text))) for text in texts], sys.stdout)

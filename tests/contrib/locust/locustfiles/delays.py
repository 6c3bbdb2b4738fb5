"""What users make of the header Retry-After. Prints it as JSON."""

import json
import sys
from datetime import datetime, timedelta, timezone
from email.utils import format_datetime

import locust

from engineio_gevent.contrib.locust.retry_after import requested_delay
from engineio_gevent.exceptions import ConnectionError, HTTPError


def failed(**headers):
    error = ConnectionError('it failed')
    error.__cause__ = HTTPError('refused', 503, headers=headers)
    outer = RuntimeError('of python-socketio')
    outer.__cause__ = error
    return outer


def delay(value, **headers):
    return requested_delay(failed(**{'Retry-After': value}, **headers))


now = datetime.now(timezone.utc)
date = 'Wed, 21 Oct 2015 07:28:00 GMT'
json.dump(
    {
        'seconds': [delay('2') for _ in range(100)],
        'long': [delay('86400') for _ in range(100)],
        'later': delay(format_datetime(now + timedelta(seconds=100), usegmt=True)),
        'by the clock of the server': delay('Wed, 21 Oct 2015 07:28:10 GMT', Date=date),
        'without a zone': delay('Wed, 21 Oct 2015 07:28:10 -0000', Date=date),
        'none': [
            requested_delay(None),
            requested_delay(RuntimeError('another')),
            requested_delay(failed()),
            *map(delay, ('', '0', '-5', '1.5', 'soon')),
            delay('\xb2'),
            delay(date),
            delay(date, Date='at no time'),
        ],
    },
    sys.stdout,
)

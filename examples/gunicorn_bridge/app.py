"""The WSGI application: the page, its stream of events, and its posts."""

from __future__ import annotations

from typing import Any

from bridge import Bridge
from broker import TooMany
from flask import Flask, Response, current_app, jsonify, request
from link import Away, Unconfirmed
from werkzeug.exceptions import HTTPException

#: Maximum characters of a message.
TEXT_LIMIT = 1000
#: Maximum characters of the key that identifies a repeated post.
KEY_LIMIT = 64
#: Maximum bytes of a request: a message with all characters escaped, and some more.
REQUEST_LIMIT = 12 * (TEXT_LIMIT + KEY_LIMIT) + 1000
#: Seconds to wait until the upstream confirms a post.
POST_TIMEOUT = 5.0

HEADERS = {
    'Content-Security-Policy': (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
        "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    'Referrer-Policy': 'no-referrer',
    'X-Content-Type-Options': 'nosniff',
}


def create_app() -> Flask:
    """Create the application; `gunicorn.conf.py` adds the bridge to its extensions."""
    app = Flask(__name__)
    app.config['MAX_CONTENT_LENGTH'] = REQUEST_LIMIT
    app.get('/')(page)
    app.get('/events')(events)
    app.post('/messages')(post)
    app.get('/health')(health)
    app.after_request(secure)
    app.errorhandler(HTTPException)(error)
    return app


def page() -> Response:
    """The page."""
    return current_app.send_static_file('index.html')


def events() -> Response:
    """The stream of server-sent events."""
    # The browser sends Last-Event-ID when it reconnects. The page sends the query when it has to
    # create a new stream.
    last_id = request.headers.get('Last-Event-ID') or request.args.get('after')
    try:
        stream = _bridge().broker.subscribe(last_id, request.environ.get('gunicorn.socket'))
    except TooMany:
        return _answer(503, error='Too many pages are open.')
    headers = {
        'Cache-Control': 'no-store',
        'X-Accel-Buffering': 'no',  # nginx must forward each event at once
    }
    return Response(stream, mimetype='text/event-stream', headers=headers)


def post() -> Response:
    """Send a message to the upstream, and answer when the upstream has confirmed it."""
    # Pages of other origins cannot send this type without a CORS preflight request.
    if request.mimetype != 'application/json':
        return _answer(415, error='The content type must be application/json.')
    body = request.get_json()
    text, key = (body.get('text'), body.get('key')) if isinstance(body, dict) else (None, None)
    if not isinstance(text, str) or not text.strip():
        return _answer(400, error='The message has no text.')
    if len(text) > TEXT_LIMIT:
        return _answer(413, error=f'The message is longer than {TEXT_LIMIT} characters.')
    if key is not None and not (isinstance(key, str) and 0 < len(key) <= KEY_LIMIT):
        return _answer(400, error=f'The key must have 1 to {KEY_LIMIT} characters.')
    try:
        answer = _bridge().link.ask('post', POST_TIMEOUT, text=text, key=key)
    except Away:
        return _answer(503, error='Not sent: the upstream is not connected.')
    except Unconfirmed:
        return _answer(504, error='The upstream did not confirm the message. It may have arrived.')
    if answer['type'] == 'refused':
        return _answer(422, error=f'The upstream refused the message: {answer.get("error")}')
    return _answer(201, id=answer['id'])


def health() -> Response:
    """For load balancers and monitoring: 200 while the upstream is connected, otherwise 503."""
    bridge = _bridge()
    connected = bridge.link.joined.is_set()
    return _answer(200 if connected else 503, **bridge.link.status, streams=bridge.broker.streams)


def secure(response: Response) -> Response:
    """Add security headers to all responses."""
    response.headers.update(HEADERS)
    return response


def error(exc: HTTPException) -> Response:
    """Format errors of Flask like the other errors."""
    return _answer(exc.code or 500, error=f'{exc.name}.')


def _answer(status: int, **fields: Any) -> Response:
    response = jsonify(fields)
    response.status_code = status
    response.headers['Cache-Control'] = 'no-store'
    if status == 503:
        response.headers['Retry-After'] = '5'
    return response


def _bridge() -> Bridge:
    bridge: Bridge = current_app.extensions['bridge']
    return bridge

"""The WSGI application: the page, the stream of events to it, and what is posted from it."""

from __future__ import annotations

from typing import Any

from bridge import Bridge
from broker import TooMany
from flask import Flask, Response, current_app, jsonify, request
from link import Away, Unconfirmed
from werkzeug.exceptions import HTTPException

#: Characters of a message.
TEXT_LIMIT = 1000
#: Characters of the key by which a post that comes again is known.
KEY_LIMIT = 64
#: Bytes of a request: the message with each character escaped, and a little more.
REQUEST_LIMIT = 12 * (TEXT_LIMIT + KEY_LIMIT) + 1000
#: Seconds that a post waits for the upstream to confirm it.
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
    """The application; `gunicorn.conf.py` adds the bridge to its extensions."""
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
    """The page itself."""
    return current_app.send_static_file('index.html')


def events() -> Response:
    """Everything that happens, as server-sent events."""
    # A browser says by itself where it was when it reconnects by itself; the page says it by
    # the query when it has to begin a stream anew.
    last_id = request.headers.get('Last-Event-ID') or request.args.get('after')
    try:
        stream = _bridge().broker.subscribe(last_id, request.environ.get('gunicorn.socket'))
    except TooMany:
        return _answer(503, error='Too many pages are open.')
    headers = {
        'Cache-Control': 'no-store',
        'X-Accel-Buffering': 'no',  # nginx is to pass on each event as it comes
    }
    return Response(stream, mimetype='text/event-stream', headers=headers)


def post() -> Response:
    """Take a message, and answer when the upstream has it."""
    # Only a page of this origin can send this type: another would have to ask first.
    if request.mimetype != 'application/json':
        return _answer(415, error='A message is sent as application/json.')
    body = request.get_json()
    text, key = (body.get('text'), body.get('key')) if isinstance(body, dict) else (None, None)
    if not isinstance(text, str) or not text.strip():
        return _answer(400, error='There is no text in this message.')
    if len(text) > TEXT_LIMIT:
        return _answer(413, error=f'A message has at most {TEXT_LIMIT} characters.')
    if key is not None and not (isinstance(key, str) and 0 < len(key) <= KEY_LIMIT):
        return _answer(400, error=f'A key has 1 to {KEY_LIMIT} characters.')
    try:
        answer = _bridge().link.ask('post', POST_TIMEOUT, text=text, key=key)
    except Away:
        return _answer(503, error='Not sent: the upstream was away.')
    except Unconfirmed:
        return _answer(504, error='The upstream did not confirm it: it may have arrived, or not.')
    if answer['type'] == 'refused':
        return _answer(422, error=f'The upstream refused it: {answer.get("error")}')
    return _answer(201, id=answer['id'])


def health() -> Response:
    """For a balancer or a monitor: 200 while the upstream is there."""
    bridge = _bridge()
    connected = bridge.link.joined.is_set()
    return _answer(200 if connected else 503, **bridge.link.status, streams=bridge.broker.streams)


def secure(response: Response) -> Response:
    """Headers for all answers."""
    response.headers.update(HEADERS)
    return response


def error(exc: HTTPException) -> Response:
    """What Flask itself refuses, in the form of the other answers."""
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

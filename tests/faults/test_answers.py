"""Answers by another than the server: refusals, redirects, and proxies that know no websocket."""

import json

import pytest

from engineio_gevent.exceptions import ConnectionClosed, EngineIOError, HTTPError
from support import response

UNKNOWN_SID = {'code': 1, 'message': 'Session ID unknown'}
BODY = json.dumps(UNKNOWN_SID)
HTML = '<html><body>Bad Gateway</body></html>'

STATUSES = [
    response(BODY, '400 Bad Request', content_type='application/json'),
    response('', '401 Unauthorized', [('WWW-Authenticate', 'Basic realm="x"')]),
    response('"no"', '403 Forbidden', content_type='application/json'),
    response('', '413 Payload Too Large', [('Connection', 'close')]),
    response('', '429 Too Many Requests', [('Retry-After', '1')]),
    response(b'\xff\xfe', '500 Internal Server Error'),
    response(HTML, '502 Bad Gateway', content_type='text/html'),
    response(HTML, '503 Service Unavailable', [('Retry-After', '1')], 'text/html'),
]


def status_of(answer):
    return int(answer.split(b' ')[1])


every_status = pytest.mark.parametrize('answer', STATUSES, ids=status_of)
# The proxy does the TLS here; who answers is the proxy, so one server will do.
every_mode = pytest.mark.parametrize('mode', ['http', 'tls'], ids=['plain', 'tls'])
one_server = pytest.mark.parametrize('kind', ['js'], indirect=True)


def by_polling(mode):
    return 'https' if mode == 'tls' else 'polling'


def by_websocket(mode):
    return 'wss' if mode == 'tls' else 'websocket'


def check(error, answer):
    assert error.status == status_of(answer)
    assert str(error.status) in str(error)
    assert error.body == {400: UNKNOWN_SID, 403: 'no'}.get(error.status)


# -- Refusals -------------------------------------------------------------------------------------


@one_server
@every_mode
@every_status
@pytest.mark.parametrize('moment', ['open', 'ws-open'], ids=['polling', 'websocket'])
def test_a_handshake_that_is_refused(make_subject, mode, answer, moment):
    way = by_polling(mode) if moment == 'open' else by_websocket(mode)
    subject = make_subject(way, mode=mode)
    subject.lane.answer(moment, answer)
    check(subject.fails(HTTPError), answer)
    subject.recovers()


@one_server
@every_mode
@every_status
@pytest.mark.parametrize('moment', ['get', 'post'])
def test_a_request_that_is_refused(make_subject, mode, answer, moment):
    subject = make_subject(by_polling(mode), mode=mode).connect()
    subject.lane.wait_seen('get')
    subject.lane.answer(moment, answer)
    subject.client.send('hello')
    check(subject.loses(HTTPError), answer)
    subject.recovers()


@one_server
@every_mode
@every_status
def test_a_probe_that_is_refused(make_subject, mode, answer):
    """Polling goes on, and the next connect upgrades."""
    subject = make_subject('upgraded-tls' if mode == 'tls' else 'upgraded', mode=mode)
    subject.lane.answer('probe', answer)
    subject.client.connect(subject.lane.url)
    subject.keeps_polling()
    subject.leaves()
    subject.recovers()


# -- Redirects ------------------------------------------------------------------------------------


def redirect(location, status='307 Temporary Redirect'):
    return response('', status, [('Location', location)])


def target(subject, moment):
    """Where a request of this moment goes: path and query."""
    if moment == 'open':
        return '/engine.io/?EIO=4&transport=polling'
    return f'/engine.io/?EIO=4&transport=polling&sid={subject.client.sid}'


@pytest.mark.parametrize('mode', ['http', 'tls'], ids=['plain', 'tls'])
@pytest.mark.parametrize('elsewhere', [False, True], ids=['same-host', 'other-host'])
@pytest.mark.parametrize('moment', ['open', 'get', 'post'])
def test_a_redirect_is_followed(make_subject, make_lane, servers, mode, elsewhere, moment):
    """With a 307, that is, which keeps the method."""
    subject = make_subject(by_polling(mode), mode=mode)
    other = make_lane(servers(), mode)
    where = other if elsewhere else subject.lane
    if moment != 'open':
        subject.connect()
        subject.lane.wait_seen('get')
    seen = where.state['seen'].get(moment, 0)
    subject.lane.answer(moment, redirect(where.url + target(subject, moment)))
    if moment == 'open':
        subject.connect()
    subject.ask()
    subject.ask()
    assert where.state['seen'][moment] > seen
    if not elsewhere:
        assert other.state['accepted'] == 0
    assert (subject.ends, subject.connects) == ([], 1)
    subject.leaves()


@pytest.mark.parametrize('elsewhere', [False, True], ids=['same-host', 'other-host'])
def test_credentials_stay_with_their_host(make_subject, make_lane, servers, elsewhere):
    subject = make_subject('polling')
    other = make_lane(servers())
    where = other if elsewhere else subject.lane
    subject.lane.answer('open', redirect(where.url + target(subject, 'open')))
    subject.client.connect(subject.lane.url, {'Authorization': 'Bearer secret'}, 'polling')
    handshake, *_ = servers().requests(subject.client.sid)
    assert handshake['headers'].get('authorization') == (None if elsewhere else 'Bearer secret')
    subject.leaves()


@one_server
@every_mode
@pytest.mark.parametrize(
    'location',
    ['/', '/engine.io/', 'gopher://x/', 'http://[', ''],
    ids=['loop', 'loop-in-place', 'scheme', 'broken', 'empty'],
)
@pytest.mark.parametrize('moment', ['open', 'get', 'post'])
def test_a_redirect_to_nowhere(make_subject, mode, moment, location):
    subject = make_subject(by_polling(mode), mode=mode)
    if moment != 'open':
        subject.connect()
        subject.lane.wait_seen('get')
    # "/" carries no session id: on the way it looks like a handshake
    subject.lane.answer([moment, 'open', 'post'], redirect(location), times=None)
    if moment == 'open':
        subject.fails(EngineIOError)
    else:
        subject.client.send('hello')
        subject.loses(EngineIOError)
    subject.recovers()


@one_server
@pytest.mark.parametrize('moment', ['open', 'get', 'post'])
def test_a_redirect_to_plain_text(make_subject, make_lane, servers, moment):
    """Never from https to http."""
    subject = make_subject('https', mode='tls')
    plain = make_lane(servers())
    if moment != 'open':
        subject.connect()
        subject.lane.wait_seen('get')
    subject.lane.answer(moment, redirect(plain.url + target(subject, moment)))
    if moment == 'open':
        subject.fails(HTTPError)
    else:
        subject.client.send('hello')
        subject.loses(HTTPError)
    assert plain.state['accepted'] == 0
    subject.recovers()


@one_server
@pytest.mark.parametrize('status', ['301 Moved Permanently', '302 Found', '303 See Other'])
def test_a_post_is_not_turned_into_a_get(make_subject, status):
    """Its messages would be lost without a word."""
    subject = make_subject('polling').connect()
    subject.lane.answer('post', redirect(target(subject, 'post'), status))
    subject.client.send('hello')
    subject.loses(HTTPError)
    subject.recovers()


@one_server
@every_mode
def test_a_websocket_is_redirected_at_home(make_subject, mode):
    subject = make_subject(by_websocket(mode), mode=mode)
    where = f'{subject.lane.url}/engine.io/?EIO=4&transport=websocket'
    subject.lane.answer('ws-open', redirect(where), times=5)
    subject.connect().leaves()
    subject.lane.answer('ws-open', redirect(where), times=6)
    assert subject.fails(HTTPError).status == 307
    subject.recovers()


@one_server
@every_mode
def test_a_websocket_is_not_redirected(make_subject, make_lane, servers, mode):
    subject = make_subject(by_websocket(mode), mode=mode)
    other = make_lane(servers(), mode)
    where = f'{other.url}/engine.io/?EIO=4&transport=websocket'
    subject.lane.answer('ws-open', redirect(where))
    assert subject.fails(HTTPError).status == 307
    assert other.state['accepted'] == 0
    subject.recovers()


@one_server
@pytest.mark.parametrize('elsewhere', [False, True], ids=['same-host', 'other-host'])
def test_a_probe_is_not_redirected(make_subject, make_lane, servers, elsewhere):
    subject = make_subject('upgraded')
    other = make_lane(servers())
    where = (other if elsewhere else subject.lane).url
    subject.lane.answer('probe', redirect(f'{where}/engine.io/?EIO=4&transport=websocket'))
    subject.client.connect(subject.lane.url)
    subject.keeps_polling()
    assert other.state['accepted'] == 0
    subject.leaves()
    subject.recovers()


# -- Proxies that refuse upgrades -----------------------------------------------------------------


REFUSALS = {
    'without-the-header': ('strip', {}),
    'reset': ('end', {'how': 'reset'}),
    'closed': ('end', {'how': 'close'}),
    'unanswered': ('hole', {}),
    '200': ('answer', {'data': 'SFRUUC8xLjEgMjAwIE9LDQpDb250ZW50LUxlbmd0aDogMg0KDQpvaw=='}),
    'hangs-after-101': ('cut', {'after': 'head', 'how': 'hole'}),
    'ends-after-101': ('cut', {'after': 'head', 'how': 'close'}),
}
every_refusal = pytest.mark.parametrize(('do', 'details'), REFUSALS.values(), ids=REFUSALS)


def hangs(do, details):
    """Whether only `request_timeout` ends it."""
    return do == 'hole' or details.get('how') == 'hole'


@every_refusal
def test_a_proxy_that_refuses_the_upgrade(make_subject, do, details):
    """For every connection through it, and each goes on by polling."""
    subject = make_subject('upgraded', request_timeout=1.5 if hangs(do, details) else 5)
    subject.lane.rule('probe', do, times=None, **details)
    for _ in range(2):
        subject.client.connect(subject.lane.url)
        # python-engineio's server has only noops for a GET while it believes in the probe.
        subject.lane.act('end', 'probe', how='reset')
        subject.keeps_polling()
        subject.leaves()
        subject.connects = 0
        subject.ends.clear()
    subject.client.request_timeout = 5
    subject.recovers()


@every_mode
@every_refusal
def test_a_proxy_that_refuses_websockets(make_subject, mode, do, details):
    """Where the application wants nothing else; a server then says 400, and a pause is a pause."""
    limit = 0.4 if hangs(do, details) else 5
    subject = make_subject(by_websocket(mode), mode=mode, request_timeout=limit)
    subject.lane.rule('ws-open', do, times=None, **details)
    if hangs(do, details):
        subject.expires()
    else:
        error = subject.fails(HTTPError if do in ('strip', 'answer') else ConnectionClosed)
        if do == 'strip':
            assert error.status in (400, 426)
    subject.client.request_timeout = 5
    subject.recovers()

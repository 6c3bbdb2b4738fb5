"""Which responses are errors, and what those say."""

from __future__ import annotations

import pytest

from engineio_gevent.exceptions import HTTPError
from engineio_gevent.transports.http import body_of_success, status_error
from engineio_gevent.transports.route import Route


@pytest.mark.parametrize('status', [200, 204, 299])
def test_success(status):
    assert body_of_success('GET', Route('http://a.test'), '/x', status, {}, b'body') == b'body'


@pytest.mark.parametrize('status', [100, 199, 300, 304, 400, 404, 500, 599])
def test_no_success(status):
    with pytest.raises(HTTPError) as caught:
        body_of_success('POST', Route('http://a.test'), '/x?token=secret', status, {}, b'')
    assert caught.value.status == status
    assert str(caught.value).endswith('POST http://a.test/x')


@pytest.mark.parametrize(
    ('body', 'decoded', 'words'),
    [
        (b'{"message":"no","code":3}', {'message': 'no', 'code': 3}, ': no'),
        (b'{"message":5}', {'message': 5}, 'it'),
        (b'"no"', 'no', 'it'),
        (b'0', 0, 'it'),
        (b'null', None, 'it'),
        (b'<html>', None, 'it'),
        (b'\xff', None, 'it'),
        (b'', None, 'it'),
        (None, None, 'it'),
        (b'[' * 100000, None, 'it'),
    ],
)
def test_the_body_of_a_refusal(body, decoded, words):
    error = status_error('it', 400, {}, body)
    assert error.body == decoded
    assert str(error).endswith(words)


@pytest.mark.parametrize(
    ('status', 'headers', 'end'),
    [
        (302, {'location': '/there?token=1'}, 'it, which redirects to /there'),
        (308, {'Location': 'http://u:p@b.test/x'}, 'it, which redirects to http://...@b.test/x'),
        (302, {}, 'it'),
        (302, {'location': ''}, 'it'),
        (404, {'location': '/there'}, 'it'),
        (201, {'location': '/there'}, 'it'),
    ],
)
def test_where_a_redirect_leads_that_is_not_followed(status, headers, end):
    error = status_error('it', status, headers, b'')
    assert str(error) == f'Unexpected status code {status} in server response to {end}'


def test_the_headers_of_a_refusal():
    error = status_error('it', 503, {'Retry-After': '5', 'SERVER': 'x'}, b'{"message": "no"}')
    assert error.headers == {'retry-after': '5', 'server': 'x'}
    with pytest.raises(HTTPError) as caught:
        body_of_success('GET', Route('http://a.test'), '/x', 429, {'A': 'b'}, b'', ' via proxy p')
    assert caught.value.headers == {'a': 'b'}
    assert str(caught.value).endswith('GET http://a.test/x via proxy p')

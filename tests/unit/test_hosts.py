"""Names of hosts: what is sent is what is checked."""

from __future__ import annotations

import pytest

from engineio_gevent.net.hosts import (
    ascii_host,
    authority,
    host_header,
    tls_name,
    without_login,
)


@pytest.mark.parametrize(
    ('host', 'sent'),
    [
        ('a.test', 'a.test'),
        ('my_host-1.test', 'my_host-1.test'),
        ('a.test.', 'a.test.'),
        ('b\xfccher.test', 'xn--bcher-kva.test'),
        ('a\u3002b', 'a.b'),  # an ideographic full stop
        ('a\uff0eb\uff61c\u2024d', 'a.b.c.d'),
        ('\uff11\uff12\uff17.0.0.1', '127.0.0.1'),  # full-width figures
        ('a' * 63 + '.test', 'a' * 63 + '.test'),
        ('127.0.0.1', '127.0.0.1'),
        ('::1', '::1'),
        ('fe80::1%25eth0', 'fe80::1%eth0'),
        ('fe80::1%eth0', 'fe80::1%eth0'),
    ],
)
def test_what_is_sent(host, sent):
    assert ascii_host(host) == sent


@pytest.mark.parametrize(
    'host',
    [
        '',
        '.',
        '.a',
        'a..b',
        'a b',
        'a\tb',
        'a<b',
        'a%20b',
        'a%2fb',
        'a@b',
        "a'b",
        'a/b',
        'a\x00b',
        'a' * 64,
        '.'.join(['a' * 60] * 5),
        # IDNA makes each of these of several characters, or of another one
        'a\xa8b.example',  # a space, and a combining diaeresis
        'a\ufe64b',  # <
        'a\u2100b',  # a/c
        'a\u2025b',  # two dots
        'a\u2024.b',  # a dot beside a dot
        'a\uff05b',  # %
        'a\uff20b',  # @
        'a\u3002\u3002b',
        '\xfc' * 60,
        'a\u00adb\ud800',
        '::g',
        '[::1]',
        '1:2',
        '::1%',
        '::1%e th',
        '::1%e]x',
    ],
)
def test_what_is_no_host(host):
    with pytest.raises(ValueError, match=r'^invalid host name: ') as caught:
        ascii_host(host)
    assert len(str(caught.value)) < 130


def test_host_and_port():
    assert authority('a.test', 80) == 'a.test:80'
    assert authority('::1', 80) == '[::1]:80'
    assert authority('::1', None) == '[::1]'


@pytest.mark.parametrize(
    ('netloc', 'header', 'name'),
    [
        ('a.test', 'a.test', 'a.test'),
        ('a.test.', 'a.test', 'a.test'),
        ('a.test.:443', 'a.test:443', 'a.test'),
        ('https://a.test.:443', 'https://a.test:443', 'a.test'),
        ('[fe80::1%eth0.1]:80', '[fe80::1]:80', 'fe80::1'),
        ('[::1]', '[::1]', '::1'),
    ],
)
def test_the_header_and_the_name_for_tls(netloc, header, name):
    assert host_header(netloc) == header
    host = netloc.removeprefix('https://').removesuffix(':443').removesuffix(':80').strip('[]')
    assert tls_name(host) == name


@pytest.mark.parametrize(
    ('url', 'shown'),
    [
        ('http://a.test/x', 'http://a.test/x'),
        ('http://a.test/x?token=s3cret#y', 'http://a.test/x'),
        ('http://u:s3cret@a.test/x', 'http://...@a.test/x'),
        ('//u:s3/cret@a.test/x', '//...@a.test/x'),
        ('http://u:s3?cr#et@a.test', 'http://...@a.test'),
        ('u:s3@cret\n@a.test', '...@a.test'),
    ],
)
def test_urls_in_errors(url, shown):
    assert without_login(url) == shown

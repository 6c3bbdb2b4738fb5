"""TLS contexts: shared where the wish is the same, new where it is not, and right in any case."""

from __future__ import annotations

import itertools
import logging
import os
import shutil
import ssl
import tempfile
import warnings
from pathlib import Path

import gevent
import gevent.ssl
import pytest
from gevent import socket

from engineio_gevent.net import tls
from engineio_gevent.net.errors import error_text
from engineio_gevent.transports.route import Route
from support import reset


@pytest.fixture(autouse=True)
def no_keys(monkeypatch):
    monkeypatch.delenv('SSLKEYLOGFILE', raising=False)


pytestmark = pytest.mark.time_limit(5)  # most of them take a hundredth of a second


@pytest.fixture
def context(certificates):
    """`context(verify, cert, sslopt)`; True stands for the tests' own authority."""

    def make(verify=True, cert=None, sslopt=None):
        return tls.context(verify, cert, lambda: certificates.ca, sslopt)

    return make


@pytest.fixture
def shake_hands(certificates):
    """`shake_hands(client_context, host, sslopt)`: do it with a real server."""

    def shake(ctx, host='localhost', sslopt=None, server_context=None):
        ours, theirs = socket.socketpair()
        server_context = server_context or certificates.server_context()

        def serve():
            try:
                peer = server_context.wrap_socket(theirs, server_side=True)
            except OSError as exc:
                return exc
            with peer:
                return peer.getpeercert() if peer.recv(1) else None

        serving = gevent.spawn(serve)
        try:
            with tls.wrap(ours, ctx, host, sslopt) as sock:
                sock.sendall(b'x')
                return sock.cipher(), serving.get(timeout=5)
        finally:
            ours.close()
            serving.join(5)
            theirs.close()

    return shake


# -- Sharing ---------------------------------------------------------------------------------------


def test_the_same_wish_is_the_same_context(context, certificates):
    assert context() is context()
    assert context(False) is context(False)
    assert context(certificates.ca) is context(certificates.ca)
    assert context(cert=certificates.client_pem) is context(cert=certificates.client_pem)
    pair = certificates.client_cert, certificates.client_key
    assert context(cert=pair) is context(cert=(pair[0], pair[1]))
    assert context(sslopt={}) is context()
    assert context(sslopt={'server_hostname': 'a'}) is context(sslopt={'server_hostname': 'b'})
    assert context(sslopt={'cert_reqs': 0}) is context(sslopt={'cert_reqs': ssl.CERT_NONE})


def test_another_wish_is_another_context(context, certificates):
    made = [
        context(),
        context(False),
        context(cert=certificates.client_pem),
        context(False, certificates.client_pem),
        context(sslopt={'check_hostname': False}),
        context(sslopt={'cert_reqs': ssl.CERT_NONE}),
        context(sslopt={'ciphers': 'AES128-SHA'}),
    ]
    assert len(set(map(id, made))) == len(made)


def await_tick(path):
    """A change too soon after another has the same time: the clock of files goes in steps."""
    last = max(os.stat(one).st_ctime_ns for one in (path, os.path.dirname(path)))
    with tempfile.TemporaryFile(buffering=0) as file:
        while os.fstat(file.fileno()).st_mtime_ns <= last:
            file.write(b'x')


def replace(path):
    """Rename another file of the same size and time to a path, as by an atomic rotation."""
    await_tick(path)
    other = Path(os.fsdecode(path)).with_suffix('.new')
    shutil.copy2(path, other)
    os.replace(other, path)


def overwrite(path):
    """Other content of the same size, with the times of the file before it."""
    await_tick(path)
    before = os.stat(path)
    content = Path(os.fsdecode(path)).read_bytes()
    with open(path, 'r+b') as file:
        file.write(content)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def unlink(path):
    await_tick(path)
    os.unlink(path)


def touch(path):
    os.utime(path, (1, 1))


CHANGES = [touch, replace, overwrite]


@pytest.mark.parametrize('change', CHANGES)
def test_a_file_that_changed_is_a_new_context(context, certificates, tmp_path, change):
    path = str(tmp_path / 'ca.pem')
    shutil.copy(certificates.ca, path)
    before = context(path)
    assert context(path) is before
    change(path)
    after = context(path)
    assert after is not before
    assert context(path) is after


@pytest.mark.parametrize('change', CHANGES)
def test_a_client_certificate_that_changed_is_a_new_context(
    context, certificates, tmp_path, change
):
    path = str(tmp_path / 'client.pem')
    shutil.copy(certificates.client_pem, path)
    before = context(cert=path)
    assert context(cert=path) is before
    change(path)
    assert context(cert=path) is not before


@pytest.fixture
def seconds(monkeypatch):
    """Files in folders are looked at once in a second; each look is in another one."""
    monkeypatch.setattr(tls, 'monotonic', itertools.count().__next__)


@pytest.mark.parametrize('change', [*CHANGES, unlink])
@pytest.mark.parametrize('by', ['verify', 'ca_cert_path'])
def test_a_file_in_a_folder_that_changed_is_a_new_context(
    context, certificates, tmp_path, by, change, seconds
):
    """OpenSSL keeps what it has once found in the folder."""
    name = tmp_path / '12345678.0'
    shutil.copy(certificates.ca, name)
    (tmp_path / 'dangling.0').symlink_to('nowhere')
    settings = {'verify': str(tmp_path)} if by == 'verify' else {'sslopt': {by: tmp_path}}
    before = context(**settings)
    assert context(**settings) is before
    change(name)
    after = context(**settings)
    assert after is not before
    assert context(**settings) is after


@pytest.mark.parametrize('change', [replace, unlink])
def test_a_name_in_a_folder_that_changed_shows_at_once(
    context, certificates, tmp_path, change, monkeypatch
):
    """The others within a second: a folder may have hundreds of files."""
    monkeypatch.setattr(tls, 'monotonic', lambda: 1.5)
    shutil.copy(certificates.ca, tmp_path / '12345678.0')
    before = context(str(tmp_path))
    looks = []
    scan = os.scandir
    monkeypatch.setattr('os.scandir', lambda path: looks.append(path) or scan(path))
    assert context(str(tmp_path)) is before
    assert looks == []
    change(tmp_path / '12345678.0')
    assert context(str(tmp_path)) is not before
    assert looks == [str(tmp_path)]


def test_a_file_that_a_folder_links_to(context, certificates, tmp_path, seconds):
    """As `openssl rehash` names them."""
    folder = tmp_path / 'folder'
    folder.mkdir()
    shutil.copy(certificates.ca, tmp_path / 'ca.pem')
    (folder / '12345678.0').symlink_to(tmp_path / 'ca.pem')
    before = context(str(folder))
    assert context(str(folder)) is before
    overwrite(tmp_path / 'ca.pem')
    assert context(str(folder)) is not before


def test_authorities_of_the_system_that_changed(
    context, certificates, tmp_path, monkeypatch, seconds
):
    """For an sslopt that verifies what `verify` does not."""
    verified = {'cert_reqs': ssl.CERT_REQUIRED}
    usual = context(False, None, verified)
    assert context(False, None, verified) is usual
    file, folder, other = tmp_path / 'ca.pem', tmp_path / 'folder', tmp_path / 'other'
    folder.mkdir()
    other.mkdir()
    for path in (file, folder / 'a.0', other / 'b.0'):
        shutil.copy(certificates.ca, path)
    monkeypatch.setenv('SSL_CERT_FILE', str(file))
    by_file = context(False, None, verified)
    assert by_file is not usual
    assert len(by_file.get_ca_certs()) == 1
    monkeypatch.setenv('SSL_CERT_DIR', f'{folder}{os.pathsep}{other}')
    before = context(False, None, verified)
    assert before is not by_file
    for path in (file, folder / 'a.0', other / 'b.0'):
        assert context(False, None, verified) is before
        replace(path)
        after = context(False, None, verified)
        assert after is not before
        before = after


@pytest.mark.parametrize('change', CHANGES)
@pytest.mark.parametrize('name', ['REQUESTS_CA_BUNDLE', 'CURL_CA_BUNDLE'])
def test_a_bundle_of_the_environment_that_changed(
    certificates, tmp_path, monkeypatch, name, change
):
    for known in ('REQUESTS_CA_BUNDLE', 'CURL_CA_BUNDLE'):
        monkeypatch.delenv(known, raising=False)
    shutil.copy(certificates.ca, tmp_path / 'ca.pem')
    monkeypatch.setenv(name, str(tmp_path / 'ca.pem'))
    before = Route('https://a.test').tls_context()
    assert Route('https://b.test').tls_context() is before
    change(tmp_path / 'ca.pem')
    assert Route('https://a.test').tls_context() is not before


@pytest.mark.parametrize('change', CHANGES)
def test_a_bundle_of_the_environment_for_websockets_that_changed(
    certificates, tmp_path, monkeypatch, change
):
    shutil.copy(certificates.ca, tmp_path / 'ca.pem')
    monkeypatch.setenv('WEBSOCKET_CLIENT_CA_BUNDLE', str(tmp_path / 'ca.pem'))
    route = Route('https://a.test', websocket_options={'sslopt': {'check_hostname': True}})

    def made():
        return route.tls_context(route.websocket_options.sslopt(route.verify))

    before = made()
    assert made() is before
    assert len(before.get_ca_certs()) == 1
    change(tmp_path / 'ca.pem')
    assert made() is not before


def test_a_new_client_certificate_is_shown(certificates, shake_hands, tmp_path):
    """And an authority that was withdrawn is not believed any more."""
    import trustme

    other = trustme.CA()
    server_context = certificates.server_context()
    for authority in (certificates.ca, tmp_path / 'other.pem'):
        if authority != certificates.ca:
            other.cert_pem.write_to_path(str(authority))
        server_context.load_verify_locations(authority)
    server_context.verify_mode = ssl.CERT_REQUIRED
    ca, pair = tmp_path / 'ca.pem', [tmp_path / 'client.pem', tmp_path / 'client.key']
    shutil.copy(certificates.ca, ca)
    shutil.copy(certificates.client_cert, pair[0])
    shutil.copy(certificates.client_key, pair[1])
    sslopt = {'ca_certs': ca, 'cert_chain': (*pair, None)}

    def made():
        return tls.context(True, None, lambda: certificates.ca, sslopt)

    _, shown = shake_hands(made(), server_context=server_context)
    assert 'client@example.test' in str(shown)
    new = other.issue_cert('new@example.test')
    new.cert_chain_pems[0].write_to_path(str(pair[0]))
    new.private_key_pem.write_to_path(str(pair[1]))
    _, shown = shake_hands(made(), server_context=server_context)
    assert 'new@example.test' in str(shown)
    other.cert_pem.write_to_path(str(ca))
    with pytest.raises(ssl.SSLCertVerificationError):
        shake_hands(made(), server_context=server_context)


def test_options_that_cannot_be_compared_are_taken_all_the_same(context, certificates):
    class Strange(str):
        __hash__ = None

    one, other = (context(sslopt={'ciphers': Strange('AES128-SHA')}) for _ in range(2))
    assert one is not other
    assert any(cipher['name'] == 'AES128-SHA' for cipher in one.get_ciphers())


def test_a_chain_may_be_a_list(context, certificates):
    chain = [certificates.client_cert, certificates.client_key, None]
    assert context(sslopt={'cert_chain': chain}) is context(sslopt={'cert_chain': tuple(chain)})


@pytest.mark.parametrize('option', ['ca_certs', 'certfile', 'keyfile', 'chain', 'key of chain'])
@pytest.mark.parametrize('kind', [str, Path, os.fsencode])
@pytest.mark.parametrize('change', CHANGES)
def test_a_file_of_sslopt_that_changed_is_a_new_context(
    context, certificates, tmp_path, option, kind, change
):
    path = tmp_path / 'file.pem'
    names = {'ca_certs': 'ca', 'keyfile': 'client_key', 'key of chain': 'client_key'}
    name = names.get(option, 'client_pem')
    shutil.copy(getattr(certificates, name), path)
    sslopt = {option: kind(path)}
    if option == 'keyfile':
        sslopt['certfile'] = certificates.client_cert
    elif option == 'chain':
        sslopt = {'cert_chain': (kind(path), None, None)}
    elif option == 'key of chain':
        sslopt = {'cert_chain': (certificates.client_cert, kind(path), None)}
    before = context(sslopt=sslopt)
    assert context(sslopt=sslopt) is before
    change(path)
    assert context(sslopt=sslopt) is not before


def test_a_file_that_has_gone(context, certificates, tmp_path):
    path = str(tmp_path / 'ca.pem')
    shutil.copy(certificates.ca, path)
    context(path)
    os.unlink(path)
    with pytest.raises(FileNotFoundError):
        context(path)
    # One that is not needed is not missed.
    context(sslopt={'cert_reqs': ssl.CERT_NONE, 'ca_certs': path})


def test_a_context_of_the_caller_s_own(context):
    own = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    assert context(sslopt={'context': own, 'ciphers': 'nonsense'}) is own
    assert context(sslopt={'context': None}) is context()
    assert context(sslopt={'context': 0}) is context()


@pytest.mark.parametrize(
    ('settings', 'named'),
    [
        ({'verify': '/nowhere/ca.pem'}, ['/nowhere/ca.pem']),
        ({'cert': '/nowhere/a.pem'}, ['/nowhere/a.pem']),
        ({'cert': ('/nowhere/a.pem', '/nowhere/a.key')}, ['/nowhere/a.pem', '/nowhere/a.key']),
        ({'sslopt': {'ca_certs': '/nowhere/ca.pem'}}, ['/nowhere/ca.pem']),
        ({'sslopt': {'certfile': '/nowhere/a.pem'}}, ['/nowhere/a.pem']),
        ({'sslopt': {'cert_chain': ('/nowhere/a.pem', None, 's3')}}, ['/nowhere/a.pem']),
        (
            {'sslopt': {'cert_chain': ('/nowhere/a.pem', '/nowhere/a.key', 's3')}},
            ['/nowhere/a.pem', '/nowhere/a.key'],
        ),
        ({'verify': __file__}, [__file__]),
        ({'cert': __file__}, [__file__]),
    ],
)
def test_files_that_are_not_there_or_hold_no_certificate(context, settings, named):
    with pytest.raises(OSError, match=r'.+') as caught:
        context(**settings)
    assert error_text(caught.value).endswith(': ' + ', '.join(named))
    assert 'None' not in str(caught.value)
    assert 's3' not in str(caught.value)


def test_an_error_without_words_names_its_files(context, monkeypatch):
    def fail(*arguments, **options):
        raise OSError('text alone')

    monkeypatch.setattr(gevent.ssl.SSLContext, 'load_verify_locations', fail)
    with pytest.raises(OSError, match='text alone') as caught:
        context(sslopt={'ca_certs': '/some/ca.pem'})
    assert error_text(caught.value) == 'text alone: /some/ca.pem'


# -- What a context does ---------------------------------------------------------------------------


def test_a_server_with_the_right_name_and_authority(context, shake_hands):
    assert context().verify_mode == ssl.CERT_REQUIRED
    assert context().check_hostname
    shake_hands(context())


@pytest.mark.parametrize('host', ['localhost', '127.0.0.1', '::1'])
def test_names_and_addresses_of_a_certificate(context, shake_hands, host):
    shake_hands(context(), host)


@pytest.mark.parametrize(
    ('host', 'option'), [('localhost.', None), ('::1%lo', None), ('x.test', 'localhost.')]
)
def test_a_dot_or_a_zone_is_not_in_a_certificate(context, certificates, shake_hands, host, option):
    names = []
    server_context = certificates.server_context()
    server_context.sni_callback = lambda sock, name, ctx: names.append(name)
    shake_hands(context(), host, {'server_hostname': option}, server_context)
    assert names == [None if ':' in host else 'localhost']


@pytest.mark.parametrize('host', ['example.test', '127.0.0.2'])
def test_a_wrong_host_is_refused(context, shake_hands, host):
    with pytest.raises(ssl.SSLCertVerificationError):
        shake_hands(context(), host)
    shake_hands(context(False), host)
    shake_hands(context(sslopt={'check_hostname': False}), host)
    shake_hands(context(), host, {'server_hostname': 'localhost'})


def test_an_authority_that_nobody_knows_is_refused(shake_hands):
    from requests.utils import DEFAULT_CA_BUNDLE_PATH

    with pytest.raises(ssl.SSLCertVerificationError):
        shake_hands(tls.context(True, None, lambda: DEFAULT_CA_BUNDLE_PATH))


@pytest.mark.parametrize(
    'sslopt', [None, {'check_hostname': True}, {'cert_reqs': ssl.CERT_NONE}, {'ciphers': 'DEFAULT'}]
)
def test_without_verification_everything_goes(context, shake_hands, sslopt):
    ctx = context(False, None, sslopt)
    assert ctx.verify_mode == ssl.CERT_NONE
    shake_hands(ctx, 'example.test')


def test_a_folder_of_authorities(certificates, shake_hands, tmp_path, context):
    import subprocess

    shutil.copy(certificates.ca, tmp_path / 'ca.pem')
    if shutil.which('openssl') is None:
        pytest.skip('no openssl to name the files of the folder')
    subprocess.run(['openssl', 'rehash', str(tmp_path)], check=True)
    shake_hands(context(str(tmp_path)))
    shake_hands(tls.context(True, None, lambda: __file__, {'ca_cert_path': str(tmp_path)}))


def test_the_authority_in_sslopt_goes_first(certificates, shake_hands):
    from requests.utils import DEFAULT_CA_BUNDLE_PATH

    shake_hands(
        tls.context(True, None, lambda: DEFAULT_CA_BUNDLE_PATH, {'ca_certs': certificates.ca})
    )


def test_the_authorities_of_the_system(certificates, shake_hands, context, monkeypatch):
    """For an sslopt that verifies what `verify` does not."""
    verified = {'cert_reqs': ssl.CERT_REQUIRED}
    with pytest.raises(ssl.SSLCertVerificationError):
        shake_hands(context(False, None, verified))
    monkeypatch.setenv('SSL_CERT_FILE', certificates.ca)
    shake_hands(context(False, None, {**verified, 'check_hostname': True}))


@pytest.mark.parametrize('how', ['pem', 'pair', 'sslopt', 'chain'])
def test_a_client_certificate_is_shown(context, certificates, shake_hands, how):
    server_context = certificates.server_context()
    server_context.load_verify_locations(certificates.ca)
    server_context.verify_mode = ssl.CERT_REQUIRED
    ctx = {
        'pem': lambda: context(cert=certificates.client_pem),
        'pair': lambda: context(cert=(certificates.client_cert, certificates.client_key)),
        'sslopt': lambda: context(
            sslopt={'certfile': certificates.client_cert, 'keyfile': certificates.client_key}
        ),
        'chain': lambda: context(
            sslopt={'cert_chain': (certificates.client_cert, certificates.client_key, None)}
        ),
    }[how]()
    _, shown = shake_hands(ctx, server_context=server_context)
    assert ('email', 'client@example.test') in [
        (kind.lower(), name) for kind, name in shown['subjectAltName']
    ]


def test_the_client_certificate_of_sslopt_goes_first(context, certificates, shake_hands):
    """That of the client is not even read."""
    server_context = certificates.server_context()
    server_context.load_verify_locations(certificates.ca)
    server_context.verify_mode = ssl.CERT_REQUIRED
    files = certificates.client_cert, certificates.client_key
    for sslopt in (
        {'certfile': certificates.client_pem},
        {'cert_chain': (*files, None)},
        # The chain is loaded after the file.
        {
            'certfile': certificates.server_cert,
            'keyfile': certificates.server_key,
            'cert_chain': (*files, None),
        },
    ):
        ctx = context(cert='/nowhere/client.pem', sslopt=sslopt)
        _, shown = shake_hands(ctx, server_context=server_context)
        assert 'client@example.test' in str(shown['subjectAltName'])


@pytest.mark.parametrize('sslopt', [None, {'ciphers': 'DEFAULT'}, {'cert_reqs': ssl.CERT_NONE}])
def test_no_renegotiation(context, sslopt):
    assert context(sslopt=sslopt).options & ssl.OP_NO_RENEGOTIATION


def test_what_is_empty_is_not_there(context):
    assert context(sslopt={'certfile': '', 'cert_chain': ()}).verify_mode == ssl.CERT_REQUIRED


def test_versions(context, shake_hands):
    with warnings.catch_warnings():
        warnings.simplefilter('ignore', DeprecationWarning)
        ctx = context(sslopt={'ssl_version': ssl.PROTOCOL_TLSv1_2})
    assert ctx.verify_mode == ssl.CERT_REQUIRED
    assert ctx.check_hostname
    (_, version, _), _ = shake_hands(ctx)
    assert version == 'TLSv1.2'


@pytest.mark.parametrize('required', [ssl.CERT_REQUIRED, ssl.CERT_OPTIONAL])
def test_a_certificate_is_verified_for_sslopt_alone(context, certificates, required):
    ctx = context(False, None, {'cert_reqs': required, 'ca_certs': certificates.ca})
    assert ctx.verify_mode == required
    assert ctx.check_hostname
    assert len(ctx.get_ca_certs()) == 1
    assert context(certificates.ca, None, {'check_hostname': False}).get_ca_certs()


@pytest.mark.parametrize(('name', 'shown'), [(None, 'a.test'), ('b.test', 'b.test')])
def test_tls_in_tls(monkeypatch, name, shown):
    """Over a socket that has TLS already, with the same options."""

    class Outer:
        do_handshake = None

    monkeypatch.setattr(tls, 'TLSOverTLS', lambda *arguments: arguments)
    outer = Outer()
    made = tls.before_handshake(outer, 'context', 'a.test', {'server_hostname': name})
    assert made == (outer, 'context', shown, True)
    made = tls.before_handshake(outer, 'context', 'a.test', {'suppress_ragged_eofs': False})
    assert made == (outer, 'context', 'a.test', False)


# -- SSLKEYLOGFILE ---------------------------------------------------------------------------------


@pytest.fixture
def keylog(monkeypatch, tmp_path):
    path = tmp_path / 'keys.log'
    monkeypatch.setenv('SSLKEYLOGFILE', str(path))
    monkeypatch.setattr(tls, '_keys_announced', False)
    return path


# Before any test.
ANNOUNCED = tls._keys_announced


def test_nothing_has_been_announced_at_first():
    assert ANNOUNCED is False


def test_a_log_that_raises_does_not_fail_the_connection(context, shake_hands, keylog):
    def refuse(record):
        raise ValueError('a filter fails')

    logger = logging.getLogger('engineio_gevent.tls')
    logger.addFilter(refuse)
    try:
        shake_hands(context())
    finally:
        logger.removeFilter(refuse)
    assert 'CLIENT' in keylog.read_text()


def test_keys_are_written_with_one_warning(context, shake_hands, keylog, caplog, monkeypatch):
    shake_hands(context())
    assert 'CLIENT' in keylog.read_text()
    other = keylog.with_name('others.log')
    monkeypatch.setenv('SSLKEYLOGFILE', str(other))
    shake_hands(context())
    assert 'CLIENT' in other.read_text()
    (line,) = caplog.records
    assert (line.name, line.levelname) == ('engineio_gevent.tls', 'WARNING')
    assert line.getMessage() == (
        f'SSLKEYLOGFILE is set: the keys of TLS connections are written to {keylog}'
    )


@pytest.mark.parametrize('value', ['', None])
def test_no_keys_are_written(context, shake_hands, keylog, caplog, monkeypatch, value):
    if value is None:
        monkeypatch.delenv('SSLKEYLOGFILE')
    else:
        monkeypatch.setenv('SSLKEYLOGFILE', value)
    assert context().keylog_filename is None
    assert not caplog.records


def test_keys_of_a_context_of_ones_own(context, keylog):
    class Strange(str):
        __hash__ = None

    assert context(sslopt={'ciphers': Strange('DEFAULT')}).keylog_filename == str(keylog)
    own = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    assert context(sslopt={'context': own}).keylog_filename is None


def test_keys_that_cannot_be_written(context, keylog, caplog, monkeypatch):
    monkeypatch.setenv('SSLKEYLOGFILE', '/nowhere/keys.log')
    with pytest.raises(FileNotFoundError) as caught:
        context()
    assert error_text(caught.value).endswith(': SSLKEYLOGFILE /nowhere/keys.log')
    assert not caplog.records


def test_a_python_that_cannot_write_keys(keylog, caplog, monkeypatch, certificates):
    class Without(gevent.ssl.SSLContext):
        def __getattribute__(self, name):
            if name == 'keylog_filename':
                raise AttributeError(name)
            return super().__getattribute__(name)

    monkeypatch.setattr(gevent.ssl, 'SSLContext', Without)
    tls.context(certificates.ca, None, str, {'ciphers': 'DEFAULT:!SHA'})
    assert not keylog.exists()
    assert not caplog.records


def test_ciphers(context, shake_hands):
    ctx = context(sslopt={'ciphers': 'ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256'})
    ctx.maximum_version = ssl.TLSVersion.TLSv1_2
    (cipher, _, _), _ = shake_hands(ctx)
    assert cipher.endswith('AES128-GCM-SHA256')


def test_an_unknown_cipher_or_curve(context):
    with pytest.raises(ssl.SSLError):
        context(sslopt={'ciphers': 'nonsense'})
    with pytest.raises((ValueError, ssl.SSLError)):
        context(sslopt={'ecdh_curve': 'nonsense'})


def test_a_context_of_the_standard_library_is_cooperative_too(certificates, shake_hands):
    """Its own `wrap_socket()` would block the thread, and this server with it."""
    own = ssl.create_default_context(cafile=certificates.ca)
    shake_hands(own)


def test_an_end_within_the_handshake_closes_the_socket(context, leaks):
    with leaks():
        ours, theirs = socket.socketpair()
        wrapping = gevent.spawn(tls.wrap, ours, context(), 'localhost')
        assert theirs.recv(4096)  # the client's hello
        wrapping.kill()
        assert theirs.recv(4096) == b''
        theirs.close()


def test_a_handshake_that_fails_closes_the_socket(context, leaks):
    """At once, though the exception still refers to it."""
    with leaks():
        ours, theirs = socket.socketpair()
        theirs.sendall(b'this is not a TLS record, is it?')
        with pytest.raises(ssl.SSLError) as caught:
            tls.wrap(ours, context(), 'localhost')
        theirs.close()
    assert caught.value


def test_a_peer_that_has_reset_the_connection_by_then(context, leaks):
    with socket.socket() as listener:
        listener.bind(('127.0.0.1', 0))
        listener.listen()
        with leaks():
            ours = socket.create_connection(listener.getsockname())
            reset(listener.accept()[0])
            assert gevent.select.select([ours], [], [], 5)[0]
            with pytest.raises(OSError, match=r'.+') as caught:
                tls.wrap(ours, context(), 'localhost')
        assert caught.value


def test_a_socket_that_is_not_taken_over_stays_open(context):
    ours, theirs = socket.socketpair()
    with ours, theirs:
        with pytest.raises(ValueError, match='server_hostname'):
            tls.wrap(ours, context(), '')
        ours.sendall(b'x')
        assert theirs.recv(1) == b'x'


def test_before_the_handshake_nothing_is_sent(context):
    ours, theirs = socket.socketpair()
    with theirs, tls.before_handshake(ours, context(), 'localhost', {}):
        assert not gevent.select.select([theirs], [], [], 0)[0]


@pytest.mark.parametrize('sslopt', [None, {'suppress_ragged_eofs': False}])
def test_an_end_of_tcp_without_one_of_tls(context, certificates, sslopt):
    ours, theirs = socket.socketpair()
    serving = gevent.spawn(certificates.server_context().wrap_socket, theirs, server_side=True)
    with tls.wrap(ours, context(), 'localhost', sslopt) as sock:
        serving.get(timeout=5).close()
        if sslopt is None:
            assert sock.recv(1) == b''
        else:
            with pytest.raises(ssl.SSLEOFError):
                sock.recv(1)


def test_a_detached_socket_is_no_longer_watched(context, certificates):
    """Its owner closes the descriptor next, and a loop that watches such a one aborts the process.

    That is so at once, not after the callbacks that the loop has to run first.
    """
    ours, theirs = socket.socketpair()
    serving = gevent.spawn(certificates.server_context().wrap_socket, theirs, server_side=True)
    sock = tls.wrap(ours, context(), 'localhost')
    receiving = gevent.spawn(sock.recv, 10)
    gevent.sleep(0.01)
    watcher = sock._read_event
    assert watcher.active
    descriptor = sock.detach()
    assert not watcher.active
    os.close(descriptor)
    receiving.kill()
    serving.get().close()


def test_a_socket_without_time_says_what_it_waits_for(context, certificates):
    """gevent's own `send()` returns 0 whether TLS waits for room or for the peer."""
    ours, theirs = socket.socketpair()
    serving = gevent.spawn(certificates.server_context().wrap_socket, theirs, server_side=True)
    with tls.wrap(ours, context(), 'localhost') as sock, serving.get(timeout=5) as peer:
        sending = gevent.spawn(sock.sendall, bytes(1 << 22))  # by send(), which waits
        received = 0
        while received < 1 << 22:
            received += len(peer.recv(1 << 16))
        sending.get()
        sock.settimeout(0)
        assert sock.send(b'hello') == 5
        assert sock.send(b'again') == 5
        assert [peer.recv(5), peer.recv(5)] == [b'hello', b'again']
        with pytest.raises(ssl.SSLWantWriteError):
            for _ in range(1000):
                sock.send(bytes(65536))

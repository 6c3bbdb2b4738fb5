"""Adapters of sessions that are for something else than a pin: the websocket connects, too."""

import ssl

import pytest
import urllib3.util.ssl_
from requests.adapters import HTTPAdapter

from engineio_gevent.transports import environment
from tests.hostile import test_security_pins as pins
from tests.hostile.test_security_pins import Pinning, is_believed, is_refused

# Fixtures.
for_all, resolver = pins.environment, pins.resolver
one, other, serve, session = pins.one, pins.other, pins.serve, pins.session

pytestmark = pytest.mark.filterwarnings('ignore::RuntimeWarning')  # requests blocks this thread

contexts = pytest.mark.parametrize(
    'make', [urllib3.util.ssl_.create_urllib3_context, ssl.create_default_context]
)
every_transport = pytest.mark.parametrize('transport', ['polling', 'websocket', 'upgrade'])


def of_ciphers(make, check_hostname=True):
    context = make()
    context.check_hostname = check_hostname
    context.set_ciphers('DEFAULT')
    return Pinning(ssl_context=context)


@contexts
@every_transport
def test_ciphers_and_a_bundle(serve, witness, session, one, make, transport):
    """requests adds the bundle of the session to the context of its adapter."""
    session.verify = one.path
    session.mount('https://', of_ciphers(make))
    is_believed(witness, serve(one), transport, http_session=session)


@every_transport
def test_ciphers_and_the_usual_authorities(
    serve, witness, session, one, other, transport, monkeypatch
):
    monkeypatch.setattr('requests.adapters.DEFAULT_CA_BUNDLE_PATH', one.path)
    monkeypatch.setattr(environment, 'default_ca_bundle', lambda: one.path)
    session.mount('https://', of_ciphers(urllib3.util.ssl_.create_urllib3_context))
    is_believed(witness, serve(one), transport, http_session=session)
    session.mount('https://', Pinning(ssl_context=other.trusting()))
    if transport == 'websocket':  # which does not add them to those that a context has
        is_refused(witness, serve(one), transport, http_session=session)


@pytest.mark.filterwarnings('ignore:Unverified HTTPS request')
@contexts
@every_transport
def test_ciphers_without_verification(serve, witness, session, one, make, transport):
    session.verify = False
    session.mount('https://', of_ciphers(make, check_hostname=False))
    is_believed(witness, serve(one), transport, http_session=session)


@every_transport
@pytest.mark.parametrize('of', ['session', 'client'])
def test_ciphers_and_a_client_certificate(serve, witness, session, one, of, transport):
    one.context.load_verify_locations(one.path)
    one.context.verify_mode = ssl.CERT_REQUIRED
    session.verify = one.path
    options = {}
    if of == 'session':
        session.cert = one.client
    else:
        options['ssl_cert'] = one.client
    session.mount('https://', of_ciphers(ssl.create_default_context))
    try:
        is_believed(witness, serve(one), transport, http_session=session, **options)
    finally:
        one.context.verify_mode = ssl.CERT_NONE


@every_transport
def test_the_context_that_requests_had_of_its_own(
    serve, witness, session, one, transport, monkeypatch
):
    """requests 2.32.2 to 2.32.4 use one context for all; it says nothing of one session."""
    shared = urllib3.util.ssl_.create_urllib3_context()
    real = HTTPAdapter.build_connection_pool_key_attributes

    def attributes(self, *arguments):
        host, pool = real(self, *arguments)
        return host, {**pool, 'ssl_context': shared}

    monkeypatch.setattr(HTTPAdapter, 'build_connection_pool_key_attributes', attributes)
    monkeypatch.setattr('requests.adapters.DEFAULT_CA_BUNDLE_PATH', one.path)
    monkeypatch.setattr(environment, 'default_ca_bundle', lambda: one.path)
    options = {'websocket_extra_options': {'sslopt': {'ciphers': 'ECDHE+AESGCM'}}}
    is_believed(witness, serve(one), transport, http_session=session, **options)
    if transport == 'websocket':
        assert shared.cert_store_stats()['x509'] == 0

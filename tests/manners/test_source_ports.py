"""One machine holds more connections to a server than one of its addresses has ports."""

import sys

import pytest

import support

PORTS = 100

pytestmark = pytest.mark.skipif(sys.platform != 'linux', reason='namespaces are Linux only')


@pytest.fixture
def hold(program):
    """`hold(addresses, count)`: the result of `programs/source_ports.py`."""
    support.need_node(support.JS_SERVER.parent)

    def run(addresses, count):
        one = program('source_ports.py', PORTS, addresses, count, options=())
        if (reason := one.hear()) is not None:
            support.missing(
                f'a network namespace of its own ({reason})',
                'run as root, or allow user namespaces',
            )
        return one.result()[0]

    return run


@pytest.mark.parametrize('addresses', [None, '127.0.0.1', ['127.0.0.2']])
def test_one_address_has_so_many_ports(hold, addresses):
    count, error, _ = hold(addresses, PORTS + 1)
    assert count == PORTS
    if addresses is None:
        assert error == (
            'SERVER: Cannot assign requested address. If this machine has no free port, use '
            'source_addresses'
        )
    else:
        where = addresses if isinstance(addresses, str) else addresses[0]
        assert error == f'SERVER: source address {where}: no free port. Add source_addresses'


def test_several_addresses_have_that_many_each(hold):
    addresses = [f'127.0.0.{last}' for last in (2, 3, 4, 5)]
    count, error, peers = hold(addresses, 4 * PORTS)
    assert (count, error) == (4 * PORTS, None)
    assert peers == dict.fromkeys(addresses, PORTS)

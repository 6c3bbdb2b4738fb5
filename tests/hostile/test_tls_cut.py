"""A server that speaks TLS and cuts the connection below it, in the midst of polling."""

import socket

import pytest

import engineio_gevent
import support


@pytest.mark.parametrize('when', ['before', 'within'])
def test_cut_without_close_notify(hostile_server, certificates, when):
    def handler(sock):
        support.read_request(sock)
        if when == 'within':
            sock.sendall(b'HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n0{"sid"')
        sock.shutdown(socket.SHUT_RDWR)  # that of TCP: no close_notify goes before

    server = hostile_server(handler, ssl_context=certificates.server_context())
    client = engineio_gevent.Client(ssl_verify=False)
    with pytest.raises(engineio_gevent.exceptions.ConnectionError) as caught:
        client.connect(server.url, transports='polling')
    cause = caught.value.__cause__
    assert isinstance(cause, engineio_gevent.exceptions.ConnectionClosed)
    where = {'before': 'without a response', 'within': 'in the middle of a response'}[when]
    assert str(cause) == f'the server closed the connection {where}'

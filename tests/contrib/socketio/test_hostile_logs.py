"""A log that raises breaks nothing: events, acknowledgements, disconnects, reconnecting."""

import json
import logging

import pytest

import support


@pytest.fixture(params=['handler', 'filter'])
def broken_log(request):
    """A logger that raises for each line."""

    class Broken(logging.Handler):
        def handle(self, record):
            raise ValueError('a log handler fails')

    def refuse(record):
        raise ValueError('a filter fails')

    logger = logging.getLogger('test.socketio.broken')
    logger.setLevel(logging.DEBUG)
    logger.propagate = False
    if request.param == 'handler':
        logger.addHandler(Broken())
    else:
        logger.addFilter(refuse)
    yield logger
    logger.handlers.clear()
    logger.filters.clear()


def test_a_log_that_raises(server, make_client, broken_log):
    client = make_client(logger=broken_log, engineio_logger=broken_log)
    client.on('question', lambda *data: data[0])
    client.connect(server.url, transports='websocket')
    assert client.call('join', 'room') is True
    client.emit('ask', 'x')
    assert client.next() == ('answered', ['x'])
    client.emit('drop')
    client.wait_seen('connect', 2)  # it has reconnected
    assert client.seen('disconnect') == [['/', 'transport error']]
    assert client.call('join', 'room') is True
    client.disconnect()
    assert support.eventually(lambda: len(client.seen('disconnect')) == 2)
    assert client.seen('disconnect')[1] == ['/', 'client disconnect']


def test_the_server_disconnects_while_the_log_raises(server, make_client, broken_log):
    client = make_client(logger=broken_log, engineio_logger=broken_log)
    client.connect(server.url)
    client.emit('out')
    client.wait_seen('disconnect')
    client.wait()
    assert not client.connected
    assert client.seen('disconnect') == [['/', 'server disconnect']]


def test_lines_name_the_caller(server, make_client, caplog):
    """As without the guard: the file and the line are python-socketio's."""
    caplog.set_level(logging.INFO, 'socketio.client')
    client = make_client(logger=logging.getLogger('socketio.client'))
    client.connect(server.url, transports='websocket')
    client.emit('join', 'room')
    lines = [record for record in caplog.records if 'Emitting' in record.getMessage()]
    assert [(record.module, record.funcName) for record in lines] == [('client', 'emit')]
    client.disconnect()


def test_names_of_the_server_change_no_lines(make_client, caplog):
    caplog.set_level(logging.INFO, 'socketio.client')
    name = 'a\nINFO forged\x1b[2J\u2028'

    def answer(sock):
        support.accept_websocket(sock, support.read_request(sock))
        sock.sendall(support.frame(support.open_packet()))
        support.read_frame(sock)
        for packet in '0{"sid":"x"}', f'2{json.dumps([name])}', f'2/{name},["a"]', f'4/{name},':
            sock.sendall(support.frame(f'4{packet}'))
        support.read_frame(sock)

    server = support.NativeServer(answer)
    try:
        client = make_client(logger=logging.getLogger('socketio.client'), reconnection=False)
        client.connect(server.url, transports='websocket')
        support.eventually(lambda: 'was rejected' in caplog.text)
        client.disconnect()
    finally:
        server.stop()
    lines = [record.getMessage() for record in caplog.records if record.name == 'socketio.client']
    escaped = r'a\nINFO forged\x1b[2J\u2028'
    assert f'Received event "{escaped}" [/]' in lines
    assert f'Received event "a" [/{escaped}]' in lines
    assert f'Connection to namespace /{escaped} was rejected' in lines
    assert all(line.isprintable() for line in lines)

"""One program, run with python-engineio's own client and with this one: it sees the same."""

import pytest

import support

MODULE = 'engineio_gevent'

PROGRAM = '''
    module, scenarios = argv
    engineio = __import__(module)
    exceptions = engineio.exceptions


    class Program:
        """A client and its queue of messages, by the tools that the client itself offers."""

        def __init__(self, transports, **options):
            self.transports = transports
            self.client = engineio.Client(**options)
            self.inbox = self.client.create_queue()
            self.client.on('connect', lambda: say(['connect', self.client.state]))
            self.client.on('message', self.inbox.put)
            self.client.on('disconnect', self.disconnected)

        def disconnected(self, reason):
            say(['disconnect', reason, self.client.state])

        def connect(self, url, **options):
            self.client.connect(url, transports=self.transports, **options)
            say(['connected', self.client.state, self.client.transport(), self.client.transports,
                 self.client.upgrades, self.client.ping_interval, self.client.ping_timeout,
                 self.client.current_transport, isinstance(self.client.sid, str)])

        def take(self, count=1):
            messages = [self.inbox.get(timeout=10) for _ in range(count)]
            if module == 'engineio':  # each in a thread of its own, that may overtake another
                messages.sort()
            for message in messages:
                say([type(message).__name__, repr(message)])

        def ask(self, *messages):
            for message in messages:
                self.client.send(message)
                self.take()

        def over(self):
            self.client.wait()
            # a handler of upstream's may still run in its thread
            for _ in range(500):
                if self.client.state == 'disconnected':
                    break
                self.client.sleep(0.01)
            say(['over', self.client.state, self.client.sid])


    def failure(function, *args, **kwargs):
        try:
            function(*args, **kwargs)
        except Exception as exc:
            # Upstream has no body for a websocket that is refused.
            say([type(exc).__name__, *(exc.args[1:] if kwargs.get('transports') != ['websocket']
                                       else [])])
        else:
            say('no exception')


    def conversation(transports, url):
        program = Program(transports)
        program.client.send('dropped')
        program.connect(url)
        program.ask('text', b'binary', bytearray(b'array'), {'key': ['värlue', 1, None]}, [1, 2],
                    '123', '12.5', '-5', 'true', 'null', '"quoted"', '{not JSON}', '', b'\\0',
                    '[1]', '\\U0001f600', 'a b')
        program.ask('transport')
        program.client.send('numbers 10')  # upstream fails at 17 in one poll
        program.take(10)
        failure(program.client.connect, url)
        program.ask('still there')
        program.client.disconnect()
        program.over()
        program.client.disconnect()
        program.client.send('dropped')
        program.connect(url)
        program.ask('again')
        program.client.disconnect(reason='my own')
        program.over()


    def greeting(transports, url):
        program = Program(transports)
        program.connect(url + '?greet=5')
        program.take(5)
        program.client.disconnect()
        program.over()


    def server_closes(transports, url):
        program = Program(transports)
        program.connect(url)
        program.client.send('close')
        program.over()


    def server_drops(transports, url):
        program = Program(transports)
        program.connect(url)
        program.client.send('drop')
        program.over()


    def legacy_handler(transports, url):
        program = Program(transports)
        program.client.on('disconnect', lambda: say('legacy'))
        program.connect(url)
        program.client.disconnect()
        program.over()


    def failures(transports, url, refusing_url):
        program = Program(transports)
        client = program.client
        say([client.state, client.sid, client.transports, client.upgrades, client.ping_interval,
             client.ping_timeout, client.current_transport, client.base_url, client.http,
             client.handlers.keys() == {'connect', 'message', 'disconnect'}, client.event_names,
             client.is_asyncio_based()])
        failure(client.connect, refusing_url, transports=transports)
        failure(client.connect, 'http://127.0.0.1:1', transports=transports)
        failure(client.connect, url, transports=transports, engineio_path='nowhere')
        failure(client.connect, url, transports=['pigeon'])
        failure(client.connect, url, transports=[])
        failure(client.on, 'nothing')
        failure(client.on, 'nothing', print)
        say([client.state, client.sid])

        def connect_handler():
            raise ZeroDivisionError('in the handler')

        client.on('connect', connect_handler)
        failure(client.connect, url, transports=transports)
        say([client.state, client.sid])
        failure(client.wait)
        failure(client.disconnect)


    for name, arguments in scenarios:
        say(f'-- {name}')
        globals()[name](*arguments)
'''


# Upstream takes 3.5 s to leave a websocket of python-engineio's server, so that is left out.
SERVERS = [('js', 'polling'), ('js', 'websocket'), ('js', None), ('python', 'polling')]


@pytest.fixture(params=SERVERS, ids=lambda pair: f'{pair[0]}-{pair[1]}')
def setting(request):
    """What starts a server, and the transports to use."""
    kind, transports = request.param
    return (kind, request.getfixturevalue(f'{kind}_server_with'), transports and [transports])


def test_same(setting, script):
    kind, server_with, transports = setting
    # Short pings: upstream notices some ends only when they are missing.
    url = server_with(pingInterval=400, pingTimeout=600).url
    names = ['conversation', 'greeting', 'server_drops', 'legacy_handler']
    if kind == 'js':
        # python-engineio's server may forget a polling client before the client has
        # fetched the CLOSE packet, so that its end is now this, now that, for both clients.
        names.append('server_closes')
    scenarios = [(name, [transports, url]) for name in names]
    scenarios.append(('failures', [transports, url, server_with(refuse=503).url]))
    both = [script(PROGRAM, module, scenarios) for module in ['engineio', 'engineio_gevent']]
    theirs, ours = [one.end() for one in both]
    for one in both:
        assert one.process.returncode == 0, one.stderr
    assert len(theirs) > 50
    assert ours == theirs


REFUSALS = {
    'object': ('400 Bad Request', b'{"code": 3, "message": "no"}'),
    'text': ('401 Unauthorized', b'"not you"'),
    'number': ('403 Forbidden', b'0'),
    'html': ('503 Service Unavailable', b'<html>busy</html>'),
    'empty': ('429 Too Many Requests', b''),
    'bytes': ('500 Internal Server Error', b'\xff\xfe'),
    'null': ('404 Not Found', b'null'),
}

REFUSED = """
    import importlib

    for url, transports in argv[1]:
        engineio = importlib.import_module(argv[0])
        try:
            engineio.Client().connect(url, transports=[transports])
        except engineio.exceptions.ConnectionError as exc:
            say(exc.args[1:])
"""


def test_the_second_argument_of_a_refusal(hostile_server, script):
    """Programs read it. Upstream has none for a websocket, and this client has the same as ever."""

    def refusing(status, body):
        def handle(sock):
            support.read_request(sock)
            support.respond(sock, body, status, [('Connection', 'close')])

        return hostile_server(handle).url

    urls = [refusing(*refusal) for refusal in REFUSALS.values()]
    both = []
    for transport in ('polling', 'websocket'):
        targets = [[url, transport] for url in urls]
        both.append([script(REFUSED, module, targets) for module in ('engineio', MODULE)])
    (theirs, ours), (upstream, websocket) = ([one.result() for one in pair] for pair in both)
    assert ours == theirs
    assert ours == [
        [{'code': 3, 'message': 'no'}],
        ['not you'],
        [0],
        [None],
        [None],
        [None],
        [None],
    ]
    assert websocket == ours
    assert upstream == [[]] * len(REFUSALS)

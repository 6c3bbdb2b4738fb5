"""The package's errors are logged, though a configuration of logging has disabled its loggers.

`dictConfig()` and `fileConfig()` disable each logger that exists and that they do not name, unless
they are told not to.
"""

import pytest

PROGRAM = """
    import io
    import logging.config
    import textwrap

    import gevent

    import engineio_gevent

    url, how, when, before = argv


    class Say(logging.Handler):
        def emit(self, record):
            say(f'{record.name} {record.levelname} {record.getMessage()}')


    def configure_logging():
        if how == 'dictConfig':
            logging.config.dictConfig({'version': 1})
        else:
            logging.config.fileConfig(io.StringIO(textwrap.dedent('''
                [loggers]
                keys=root
                [handlers]
                keys=
                [formatters]
                keys=
                [logger_root]
                handlers=
            ''')))
        logging.getLogger().addHandler(Say())
        assert own.disabled


    def message(data):
        if data == 'fail':
            raise ValueError(data)
        if data == 'wait':
            gevent.getcurrent().kill(block=False)
            gevent.sleep(10)
        done.set()


    def fail(*arguments):
        raise ValueError(*arguments)


    own = logging.getLogger('engineio_gevent.client')
    options = {}
    exec(textwrap.dedent(before))
    eio = engineio_gevent.Client(handle_sigint=False, **options)
    eio.on('message', message)
    eio.on('disconnect', fail)
    done = eio.create_event()
    if when == 'before connect':
        configure_logging()
    eio.connect(url)
    if when == 'after connect':
        configure_logging()
    for text in ('fail', 'wait', 'end'):
        eio.send(text)
    assert done.wait(20)
    eio.disconnect()
    eio.on('connect', fail)
    try:
        eio.connect(url)
    except engineio_gevent.exceptions.ConnectionError:
        say('refused')
"""

KILLED = 'engineio_gevent.dispatcher ERROR handler was killed before it finished'
ERRORS = [
    'engineio_gevent.client ERROR message handler error',
    KILLED,
    'engineio_gevent.client ERROR disconnect handler error',
    'engineio_gevent.client ERROR connect handler error',
    'refused',
]


@pytest.fixture
def run(script, python_server):
    """Run the program; what it logs, line by line."""

    def run(how='dictConfig', when='before connect', before=''):
        return script(PROGRAM, python_server.url, how, when, before).result()

    return run


@pytest.mark.parametrize('when', ['before connect', 'after connect'])
@pytest.mark.parametrize('how', ['dictConfig', 'fileConfig'])
def test_errors_of_handlers_are_logged(run, how, when):
    assert run(how, when) == ERRORS


def test_warnings_are_logged(run):
    warning, *rest = run(before="options = {'websocket_extra_options': {'class_': int}}")
    assert warning.startswith('engineio_gevent.client WARNING WebSocket upgrade failed: TypeError')
    assert rest == ERRORS


def test_packets_are_logged_to_one_who_asked_for_them(run):
    lines = run(before='own.addHandler(logging.NullHandler()); options = {"logger": True}')
    assert 'engineio_gevent.client INFO Sending packet MESSAGE data fail' in lines
    assert [line for line in lines if 'INFO' not in line] == ERRORS


@pytest.mark.parametrize(
    'before',
    [
        'own.setLevel(logging.CRITICAL)',
        'own.addFilter(lambda record: False)',
        'own.addHandler(logging.NullHandler()); own.propagate = False',
        'options = {"logger": logging.getLogger("disabled.of.the.caller")}',
    ],
)
def test_what_the_application_has_set_is_obeyed(run, before):
    assert run(before=before) == [KILLED, 'refused']

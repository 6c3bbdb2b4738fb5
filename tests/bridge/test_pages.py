"""What people see: the page in a headless browser, while all around it comes and goes."""

import os
import signal

import gevent
import gevent.event
import pytest

import support

from .conftest import LIVE, PATIENCE

pytest.importorskip('flask')
pytest.importorskip('gunicorn')
pytestmark = pytest.mark.time_limit(120)

TEXTS = "[...document.querySelectorAll('#messages .text')].map(item => item.textContent)"
OWN = "[...document.querySelectorAll('#messages .own .text')].map(item => item.textContent)"
GAPS = "document.querySelectorAll('#messages .gap').length"
LOST = 'document.querySelector("html[data-stream=lost]")'
CONNECTED = 'document.querySelector("html[data-upstream=connected]")'
ERROR = "document.getElementById('composer-error').textContent"


def shown(identifier):
    """The expression for what an element shows; nothing, where it is hidden."""
    return (
        "(element => element.getClientRects().length ? element.innerText : '')"
        f"(document.getElementById('{identifier}'))"
    )


def until_texts(page, texts):
    """Wait until the page has exactly these messages, in this order."""
    support.eventually(lambda: len(page.evaluate(TEXTS)) >= len(texts), PATIENCE, 0.1)
    assert page.evaluate(TEXTS) == texts
    assert page.evaluate(GAPS) == 0


def send(page, text, until):
    """Type a message, and click on the button."""
    page.type('text', text)
    page.press('Send', until)


def test_a_message_is_on_the_pages_of_all_workers(start, open_page):
    gunicorn = start()
    pages = [open_page(gunicorn, worker) for worker in gunicorn.workers]
    texts = [f'message {number}' for number in range(6)]
    for number, text in enumerate(texts):
        send(pages[number % 2], text, f'{OWN}.includes("{text}")')
        for page in pages:
            until_texts(page, texts[: number + 1])
    assert [page.evaluate(OWN) for page in pages] == [texts[::2], texts[1::2]]
    assert [page.evaluate(shown('message-count')) for page in pages] == ['6', '6']
    # A page that comes later has them, too.
    until_texts(open_page(gunicorn), texts)


def test_what_the_page_shows(start, open_page, tmp_path):
    gunicorn = start(workers=1)
    page = open_page(gunicorn)
    assert 'No messages yet.' in page.text
    page.wait_for(f"{shown('upstream-state')} === 'Connected'")
    page.wait_for(f"{shown('stream-state')} === 'Live'")
    page.wait_for(f"{shown('transport')} === 'websocket'")
    page.wait_for(f"{shown('worker')} === 'process {gunicorn.workers[0]}'")
    page.wait_for(f'/^\\d+ s$/.test({shown("since")})')
    for field in ('latency-min', 'latency-median', 'latency-max'):
        page.wait_for(f'/^\\d[.\\d]* ms$/.test({shown(field)})')
    assert 0 < float(page.evaluate(shown('latency'))) < 10_000
    # A point for each round trip, from which the summary is made.
    page.wait_for("document.querySelector('#sparkline .line').getAttribute('d').includes('L')")
    page.wait_for(
        '/^[1-9]\\d* round trips: [.\\d]+ to [.\\d]+ milliseconds$/.test('
        "document.getElementById('sparkline').getAttribute('aria-label'))"
    )
    assert page.evaluate(shown('notice')) == ''
    # As it is on a telephone: nothing is wider than the page.
    page.look(390, 844, 'dark')
    page.wait_for('innerWidth === 390')
    assert page.evaluate('document.documentElement.scrollWidth <= innerWidth')
    page.screenshot(tmp_path / 'page.png')
    assert len((tmp_path / 'page.png').read_bytes()) > 10_000  # an empty page has less


def test_html_in_a_message_is_text(start, open_page):
    texts = [
        '<img src=x onerror="window.struck = 1"><script>window.struck = 1</script>',
        '</textarea><b>bold</b> &amp; &lt; "quoted" \'so\'',
        'two\nlines, and\r\n\r\nevent: hello\ndata: {}\n\n',
        '\u2028 \u202e \x00 \u00e9 \u65e5\u672c \U0001f600',
        'x' * 1000,
        '42',
    ]
    gunicorn = start(workers=1)
    page = open_page(gunicorn)
    for text in texts:
        assert gunicorn.post(text)[0] == 201
    until_texts(page, texts)
    assert page.evaluate("document.querySelectorAll('#messages :is(b, img, script)').length") == 0
    assert page.evaluate('window.struck === undefined')
    assert page.evaluate('document.documentElement.scrollWidth <= innerWidth')


def test_who_reads_older_messages_is_not_moved(start, open_page, upstream):
    gunicorn = start(workers=1)
    page = open_page(gunicorn)
    texts = [f'message {number}' for number in range(60)]
    upstream.say(*texts)
    until_texts(page, texts)
    scroll = "document.getElementById('scroll')"
    bottom = f'{scroll}.scrollHeight - {scroll}.scrollTop - {scroll}.clientHeight < 2'
    page.wait_for(bottom)
    page.evaluate(f'{scroll}.scrollTop = 100')
    upstream.say('one more', 'and another')
    page.wait_for(f"{shown('latest')} === '2 new messages'")
    assert page.evaluate(f'{scroll}.scrollTop') == 100
    page.press('2 new messages', bottom)
    page.wait_for(f"{shown('latest')} === ''")


def test_who_reads_the_latest_messages_goes_on_to_see_them(start, open_page, upstream):
    """Though there is less room for them: on a small screen, or for a notice."""
    gunicorn = start(workers=1)
    page = open_page(gunicorn)
    texts = [f'message {number}, of which some are more than one line' for number in range(60)]
    upstream.say(*texts)
    until_texts(page, texts)
    last = "[...document.querySelectorAll('#messages li')].at(-1).getBoundingClientRect().bottom"
    shows_last = f"{last} - document.getElementById('scroll').getBoundingClientRect().bottom < 2"
    page.wait_for(shows_last)
    page.look(390, 700)
    page.wait_for(f'innerWidth === 390 && {shows_last}')
    upstream.kill()
    page.wait_for(f'{shown("notice")} && {shows_last}')
    page.look(1200, 500)
    page.wait_for(f'innerWidth === 1200 && {shows_last}')
    assert page.evaluate(shown('latest')) == ''


def test_an_upstream_that_is_killed_and_comes_back(start, open_page, upstream):
    gunicorn = start()
    pages = [open_page(gunicorn, worker) for worker in gunicorn.workers]
    send(pages[0], 'before', f"{OWN}.includes('before')")
    upstream.kill()
    for page in pages:
        page.wait_for(f"{shown('upstream-state')} !== 'Connected'")
        page.wait_for(f"{shown('notice')}.startsWith('The upstream is not connected')")
        page.wait_for(f"{shown('notice')}.includes('Connection refused')")
        page.wait_for(f"{shown('latency')} === 'No answer'")
        assert page.evaluate(shown('transport')) == '\u2013'
        page.wait_for(LIVE)
    send(pages[0], 'while it is away', f'{ERROR} === "Not sent: the upstream is not connected."')
    assert page.evaluate(TEXTS) == ['before']
    upstream.start()
    for page in pages:
        page.wait_for(f"{CONNECTED} && {shown('notice')} === ''")
        page.wait_for(f'/^[.\\d]+$/.test({shown("latency")})')
    # What was written is still there, and goes with the next click.
    assert pages[0].evaluate('document.getElementById("text").value') == 'while it is away'
    pages[0].press('Send', f"{OWN}.includes('while it is away')")
    assert pages[0].evaluate(ERROR) == ''
    assert pages[0].evaluate('document.getElementById("text").value') == ''
    for page in pages:
        until_texts(page, ['before', 'while it is away'])


def test_a_post_that_is_cut_off_is_one_message(start, open_page, upstream):
    """A browser sends it again by itself where its connection is lost, and people do, too."""
    gunicorn = start(workers=1)
    page = open_page(gunicorn)
    send(page, 'one', f"{OWN}.includes('one')")
    upstream.signal('SIGSTOP')
    page.type('text', 'two')
    page.evaluate("document.getElementById('send').click()")
    gevent.sleep(0.3)  # it is on its way; where it is not yet, the test asks for less
    os.kill(gunicorn.workers[0], signal.SIGKILL)
    page.wait_for(f'{ERROR} !== ""')
    upstream.signal('SIGCONT')
    page.wait_for(f'{LIVE} && {CONNECTED}')
    assert page.evaluate('document.getElementById("text").value') == 'two'
    page.press('Send', f"{OWN}.includes('two')")
    send(page, 'two', f'{OWN}.length === 3')  # but this is another
    until_texts(page, ['one', 'two', 'two'])


def test_reload(start, open_page, upstream):
    """SIGHUP: the pages come back by themselves, and have each message once."""
    gunicorn = start()
    old = gunicorn.workers
    pages = [open_page(gunicorn, worker) for worker in old]
    texts = []
    enough = gevent.event.Event()

    def post():
        while not enough.is_set():
            texts.append(f'message {len(texts)}')
            assert gunicorn.post(texts[-1])[0] == 201, gunicorn.log
            gevent.sleep(0.02)

    posting = gevent.spawn(post)
    support.eventually(lambda: len(texts) > 5, PATIENCE)
    gunicorn.signal('SIGHUP')
    gunicorn.until(lambda: not any(pid in gunicorn.workers for pid in old))
    new = gunicorn.workers
    gunicorn.until(lambda: upstream.members == set(new))
    assert len(new) == 2
    for page in pages:
        page.wait_for(f'{LIVE} && {CONNECTED}')
        page.wait_for(f"{new}.includes(Number({shown('worker')}.replace('process ', '')))")
        page.wait_for(f'Number({shown("reconnects")}) > 0')
        assert page.evaluate(shown('notice')) == ''
    enough.set()
    posting.get(timeout=PATIENCE)
    for page in pages:
        until_texts(page, texts)
    assert upstream.left == dict.fromkeys(old, 'client disconnect')
    assert 'Traceback' not in gunicorn.log


def test_a_server_that_ends_and_comes_back(start, open_page, upstream):
    gunicorn = start(workers=1)
    page = open_page(gunicorn)
    upstream.say('before')
    until_texts(page, ['before'])
    gunicorn.signal('SIGTERM')
    gunicorn.ends()
    page.wait_for(LOST)
    page.wait_for(f"{shown('notice')}.startsWith('The page has lost its server.')")
    send(page, 'to nobody', f'{ERROR}.startsWith("No answer from the server")')
    upstream.say('meanwhile')
    start(workers=1, port=gunicorn.port)
    page.wait_for(f"{LIVE} && {CONNECTED} && {shown('notice')} === ''")
    until_texts(page, ['before', 'meanwhile'])
    page.press('Send', f"{OWN}.includes('to nobody')")
    until_texts(page, ['before', 'meanwhile', 'to nobody'])


def test_too_many_pages(start, open_page, listen):
    """A page that finds no place says so, and gets the next that is free."""
    gunicorn = start(workers=1, options=['--worker-connections', '101'])
    first = listen(gunicorn)
    assert first.status == 200
    page = open_page(gunicorn, until=LOST)
    assert gunicorn.request('GET', '/events')[0] == 503
    # A page without a stream can post all the same.
    send(page, 'heard by one', f'{ERROR} === "" && !document.getElementById("text").value')
    first.hears(['heard by one'])
    first.close()
    page.wait_for(LIVE)
    until_texts(page, ['heard by one'])


def test_where_messages_are_missing_the_page_says_so(upstream, open_page, start):
    """The upstream keeps a hundred: who was away for more has missed the others."""
    gunicorn = start(workers=1)
    page = open_page(gunicorn)
    upstream.say('before')
    until_texts(page, ['before'])
    port = gunicorn.port
    gunicorn.signal('SIGTERM')
    gunicorn.ends()
    upstream.say(*[f'message {number}' for number in range(120)])
    start(workers=1, port=port)
    page.wait_for(f'{TEXTS}.length === 101')
    assert page.evaluate(TEXTS)[:2] == ['before', 'message 20']
    assert page.evaluate("document.querySelector('#messages .gap').textContent") == (
        '20 messages are missing here'
    )

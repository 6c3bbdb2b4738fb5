"""Locust's web UI, opened in a real browser: a run with our users is started and stopped there."""

import browser
import pytest

import support

STATUS = "document.body.innerText.replace(/\\s+/g, ' ')"


@pytest.fixture
def page(tmp_path):
    browser.need()
    folder = tmp_path / 'browser'
    folder.mkdir()
    opened = browser.Browser(folder)
    yield opened.page()
    opened.stop()


@pytest.mark.time_limit(150)
def test_a_run_from_the_web_ui(page, locust, make_js_server, tmp_path):
    server = make_js_server()
    port = support.free_port()
    run = locust('visitor.py', server.url, '--web-host', '127.0.0.1', '--web-port', port)
    run.until(lambda: support.listens(port))
    page.open(f'http://127.0.0.1:{port}/')
    page.type('userCount', '6')
    page.type('spawnRate', '6')
    page.press('Start', until=f"{STATUS}.includes('Status RUNNING')")
    server.wait_count(6)
    # The table of requests has ours, by type and name.
    rows = "[...document.querySelectorAll('tr')].map(row => row.innerText.replace(/\\s+/g, ' '))"
    for request in (
        'connect polling',
        'upgrade websocket',
        'request text',
        'send numbers',
        'recv zero',
    ):
        page.wait_for(f"{rows}.some(row => row.startsWith('{request} '))")
    page.screenshot(tmp_path / 'running.png')
    picture = (tmp_path / 'running.png').read_bytes()
    assert picture.startswith(b'\x89PNG')
    assert len(picture) > 10_000  # an empty page has less
    page.press('Stop', until=f"{STATUS}.includes('Status STOPPED')")
    server.wait_count(0)
    assert len(run.events_of('connect', 'polling')) == 6
    assert not run.failures
    run.terminate()

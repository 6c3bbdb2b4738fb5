"""A headless browser, by its DevTools protocol: no driver, and no package but websocket-client.

https://chromedevtools.github.io/devtools-protocol/
"""

import base64
import contextlib
import json
import os
import re
import shutil
import signal
import time

import gevent
import gevent.subprocess
import websocket

import support

NAMES = ('chromium-headless-shell', 'chromium', 'chromium-browser', 'google-chrome', 'chrome')

START_TIMEOUT = 40
"""Seconds that the browser may take to start on a busy machine."""


def find():
    """The path of a browser, or None."""
    return next(filter(None, map(shutil.which, NAMES)), None)


def need():
    """Skip without a browser."""
    if find() is None:
        support.missing('a headless browser', 'apt-get install chromium-headless-shell')


class Browser:
    """A browser; `page` opens a page in it.

    :param folder: an empty one, for its profile.
    """

    def __init__(self, folder):
        self._log = (folder / 'browser.log').open('w+b')
        self._process = gevent.subprocess.Popen(
            [
                find(),
                '--headless',
                '--no-sandbox',
                '--disable-gpu',
                '--disable-dev-shm-usage',
                '--no-first-run',
                '--disable-background-networking',
                '--remote-debugging-port=0',
                f'--user-data-dir={folder / "profile"}',
                '--window-size=1200,900',
                'about:blank',
            ],
            stdin=gevent.subprocess.DEVNULL,
            stdout=self._log,
            stderr=self._log,
            start_new_session=True,
            env={**os.environ, 'HOME': str(folder)},
        )
        self._last = 0
        self._pages = {}
        try:
            self._socket = self._connect()
        except BaseException:
            self.stop()
            raise

    def _connect(self):
        found = []

        def announced():
            found[:] = re.findall(r'DevTools listening on (ws://\S+)', self._output())
            return found or self._process.poll() is not None

        assert support.eventually(announced, START_TIMEOUT), self._output()
        assert found, self._output()
        return websocket.create_connection(found[0], timeout=START_TIMEOUT, suppress_origin=True)

    def _output(self):
        size = os.fstat(self._log.fileno()).st_size
        return os.pread(self._log.fileno(), size, 0).decode(errors='replace')

    def call(self, method, session=None, **parameters):
        """Ask for something by the protocol; its result."""
        self._last += 1
        request = {'id': self._last, 'method': method, 'params': parameters}
        if session:
            request['sessionId'] = session
        self._socket.send(json.dumps(request))
        while True:  # events come in between
            answer = json.loads(self._socket.recv())
            if answer.get('id') == self._last:
                assert 'error' not in answer, answer
                return answer['result']
            page = self._pages.get(answer.get('sessionId'))
            if page is not None:
                page.take(answer['method'], answer['params'])

    def page(self):
        """A new page, which shares nothing with the others: cookies and storage are its own."""
        context = self.call('Target.createBrowserContext')['browserContextId']
        target = self.call(
            'Target.createTarget',
            url='about:blank',
            browserContextId=context,
            width=1200,
            height=900,
        )['targetId']
        session = self.call('Target.attachToTarget', targetId=target, flatten=True)['sessionId']
        page = self._pages[session] = Page(self, context, session)
        return page

    @property
    def alive(self):
        """Whether the process has not ended."""
        return self._process.poll() is None

    def stop(self):
        # What was started may be a script, with the browser and its processes below it.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        if hasattr(self, '_socket'):
            self._socket.close()
        self._log.close()


class Page:
    """A page, as `Browser.page` opens it."""

    def __init__(self, browser, context, session):
        self._browser = browser
        self._context = context
        self._session = session
        #: what went wrong in it: uncaught exceptions, errors of the console, and what the security
        #: policy has forbidden
        self.errors = []
        self._call('Runtime.enable')
        self._call('Log.enable')

    def _call(self, method, **parameters):
        return self._browser.call(method, self._session, **parameters)

    def take(self, event, parameters):
        """An event of the browser."""
        if event == 'Runtime.exceptionThrown':
            details = parameters['exceptionDetails']
            self.errors.append(details.get('exception', {}).get('description', details['text']))
        elif event == 'Runtime.consoleAPICalled' and parameters['type'] in ('error', 'assert'):
            self.errors.append(
                ' '.join(
                    str(part.get('value', part.get('description'))) for part in parameters['args']
                )
            )
        elif event == 'Log.entryAdded' and parameters['entry']['source'] == 'security':
            self.errors.append(parameters['entry']['text'])

    def close(self):
        self._browser.call('Target.disposeBrowserContext', browserContextId=self._context)

    def open(self, url):
        """Go to a page."""
        self._call('Page.navigate', url=url)

    def evaluate(self, script):
        """The value of a JavaScript expression."""
        result = self._call('Runtime.evaluate', expression=script, returnByValue=True)
        assert 'exceptionDetails' not in result, result
        return result['result'].get('value')

    def wait_for(self, script, timeout=40):
        """Wait until an expression is true."""
        deadline = time.monotonic() + timeout
        while not self.evaluate(f'Boolean({script})'):
            assert time.monotonic() < deadline, (script, self.text)
            gevent.sleep(0.1)

    @property
    def text(self):
        """What the page shows, as text."""
        return self.evaluate('document.body && document.body.innerText')

    def type(self, name, text):
        """Replace what the input field of this name holds, by the keyboard."""
        field = f'document.querySelector({json.dumps(f"input[name={name}]")})'
        self.wait_for(field)
        self.evaluate(f'{field}.focus(), {field}.select()')
        self._call('Input.insertText', text=text)

    def press(self, label, until, attempts=10):
        """Click on a button until an expression is true: the page may move under the mouse."""
        for _ in range(attempts):
            self._click(label)
            with contextlib.suppress(AssertionError):
                return self.wait_for(until, 4)
        self.wait_for(until)

    def _click(self, label):
        button = (
            "[...document.querySelectorAll('button')].find(button => "
            f'button.innerText.trim().toLowerCase() === {json.dumps(label.lower())})'
        )
        x, y = self.evaluate(f"""(() => {{
            const button = {button};
            if (!button) return [0, 0];
            button.scrollIntoView({{block: 'center'}});
            const box = button.getBoundingClientRect();
            return [box.x + box.width / 2, box.y + box.height / 2];
        }})()""")
        for kind in ('mousePressed', 'mouseReleased'):
            self._call('Input.dispatchMouseEvent', type=kind, x=x, y=y, button='left', clickCount=1)

    def look(self, width=1200, height=900, scheme='light', motion=True):
        """Show the page in a window of this size, in this colour scheme, with animations or not."""
        self._call(
            'Emulation.setDeviceMetricsOverride',
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=False,
        )
        self._call(
            'Emulation.setEmulatedMedia',
            features=[
                {'name': 'prefers-color-scheme', 'value': scheme},
                {
                    'name': 'prefers-reduced-motion',
                    'value': 'no-preference' if motion else 'reduce',
                },
            ],
        )

    def screenshot(self, path):
        """Write what the page looks like, as PNG."""
        path.write_bytes(base64.b64decode(self._call('Page.captureScreenshot')['data']))

"""No built page is wider than the window: what does not fit scrolls inside of itself."""

import subprocess
import sys
from pathlib import Path

import browser as browsers
import pytest

ROOT = Path(__file__).resolve().parents[2]
BUILT = ROOT / 'build' / 'docs'

#: Widths of windows in pixels: a phone and a desktop.
WIDTHS = (390, 1280)

_TOO_WIDE = """(() => {
    const width = document.documentElement.clientWidth;
    const scrolls = (element) => {
        for (let one = element.parentElement; one; one = one.parentElement)
            if (['auto', 'scroll'].includes(getComputedStyle(one).overflowX)) return true;
        return false;
    };
    const found = [...document.querySelectorAll('article *')].filter(
        (element) => element.getBoundingClientRect().right > width + 1 && !scrolls(element));
    const page = document.documentElement.scrollWidth > width ? ['the page'] : [];
    return page.concat(found.slice(0, 3).map(
        (element) => `${element.tagName} ${element.textContent.slice(0, 40)}`));
})()"""


@pytest.fixture
def page(tmp_path):
    browsers.need()
    pytest.importorskip('sphinx')
    found = browsers.Browser(tmp_path)
    yield found.page()
    found.stop()


@pytest.mark.time_limit(180)
def test_pages_fit(page):
    subprocess.run([sys.executable, ROOT / 'docs' / 'build.py', '-q'], check=True, cwd=ROOT)
    names = sorted(path for path in BUILT.rglob('*.html') if '_static' not in path.parts)
    assert BUILT / 'index.html' in names
    faults = []
    for width in WIDTHS:
        page.look(width)
        for name in names:
            page.open(name.as_uri())
            page.wait_for(
                f'location.href === "{name.as_uri()}" && document.readyState === "complete"'
            )
            faults += [f'{name.name} at {width}: {fault}' for fault in page.evaluate(_TOO_WIDE)]
    assert faults == []

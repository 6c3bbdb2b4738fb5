"""Every link within the repository leads to a file and a heading that exist.

The build of the documentation treats broken links between its own pages as errors. These tests
check what it does not see: pages outside of `docs`, raw HTML, and that a reader of the repository
can follow the same links as a reader of the built pages.
"""

import re
from functools import cache
from itertools import pairwise

import pytest
from markdown_it import MarkdownIt

from .test_blocks import PAGES, ROOT

_EXTERNAL = re.compile(r'[a-z][a-z0-9+.-]*:')
_HTML_LINK = re.compile(r'\b(?:href|src|srcset)="([^"\s]+)')
#: Parts of docs/benchmarks.md: their links are checked there.
_PARTS = {'benchmarks/method.md', 'benchmarks/reasons.md'}
ALL = sorted({*PAGES, 'CHANGELOG.md'} - _PARTS)


def inline(tokens):
    for token in tokens:
        yield token
        yield from inline(token.children or ())


def parse(text):
    return MarkdownIt('commonmark').enable('table').parse(text)


def links(text):
    """The targets of all links and pictures, as (target, whether it is raw HTML)."""
    for token in inline(parse(text)):
        for name in ('href', 'src'):
            if name in token.attrs:
                yield token.attrs[name], False
        if token.type in ('html_block', 'html_inline'):
            yield from ((target, True) for target in _HTML_LINK.findall(token.content))


def slug(heading):
    """The anchor of a heading, as GitHub and MyST make it."""
    return re.sub(r'[^\w\- ]', '', heading.lower()).replace(' ', '-')


@cache
def anchors(path):
    """The anchors of a page, with those of the pages that it includes."""
    tokens = parse(path.read_text())
    found = set()
    for token, content in pairwise(tokens):
        if token.type == 'heading_open':
            text = ''.join(
                child.content for child in content.children if child.type in ('text', 'code_inline')
            )
            found.add(slug(text))
    for token in tokens:
        if token.type == 'fence' and token.info.startswith('{include}'):
            found |= anchors(path.parent / token.info.removeprefix('{include}').strip())
    return found


def fault(page, target):
    """What is wrong with a link of a page, or None."""
    if _EXTERNAL.match(target):
        return None
    name, _, anchor = target.partition('#')
    path = (page.parent / name).resolve() if name else page
    if not path.is_relative_to(ROOT) or not path.exists():
        return f'{target}: no such file'
    if anchor and anchor not in anchors(path):
        return f'{target}: no such heading'
    return None


@pytest.mark.parametrize('page', ALL)
def test_links(page):
    path = ROOT / page
    faults = [fault(path, target) for target, _ in links(path.read_text())]
    assert [one for one in faults if one] == []


@pytest.mark.parametrize('page', [page for page in ALL if page.startswith('docs/')])
def test_no_page_of_the_docs_links_by_html(page):
    """The build neither checks such a link nor turns the name of a page into that of its HTML."""
    inner = [
        target
        for target, is_html in links((ROOT / page).read_text())
        if is_html and not _EXTERNAL.match(target)
    ]
    assert inner == []


def test_faults_are_seen():
    page = ROOT / 'docs' / 'index.md'
    text = (
        '[a](nothing.md) [b](faq.md#nothing) [c](#nothing) [d](../nothing.py) '
        '![e](_static/nothing.svg) <img src="nothing.png">\n\n| [f](nothing) |\n|---|\n\n'
        '[g](https://example.com) [h](faq.md#does-it-reconnect) '
        '[i](security.md#report-a-vulnerability)\n'
    )
    faults = [fault(page, target) for target, _ in links(text)]
    assert [one.split(':')[0] for one in faults if one] == [
        'nothing.md',
        'faq.md#nothing',
        '#nothing',
        '../nothing.py',
        '_static/nothing.svg',
        'nothing.png',
        'nothing',
    ]
    assert faults[-3:] == [None, None, None]

"""Each picture that a page shows exists, and each picture is on a page."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
STATIC = ROOT / 'docs' / '_static'
PLOTS = ROOT / 'docs' / 'benchmarks'
#: What pages and styles name: `![text](path)`, `src="path"` and `srcset="path"`.
NAMED = re.compile(r'!\[[^]]*\]\(([^)\s]+)\)|<(?:img|source)\b[^>]*?\bsrc(?:set)?="([^"]+)"')
#: Bytes that a picture may have, so that a page loads fast.
MAX_SIZE = 150_000


def pages():
    found = [*ROOT.glob('*.md')]
    for folder in ('docs', 'examples', 'benchmarks'):
        found += (path for path in (ROOT / folder).rglob('*.md') if 'node_modules' not in str(path))
    return sorted(found)


def named(page):
    """The files of the pictures of a page."""
    for found in NAMED.finditer(page.read_text()):
        name = found[1] or found[2]
        if '://' not in name:
            yield (page.parent / name).resolve()


PICTURES = sorted(
    path for path in STATIC.iterdir() if path.suffix in ('.png', '.svg', '.jpg', '.gif')
)
SHOWN = {picture: page for page in pages() for picture in named(page)}
#: Set by the settings of Sphinx instead of a page.
SETTINGS = (ROOT / 'docs' / 'conf.py').read_text()


def test_each_picture_of_a_page_exists():
    assert [f'{page.name}: {one}' for one, page in SHOWN.items() if not one.is_file()] == []
    assert len(SHOWN) > 10


def test_each_picture_is_on_a_page():
    pictures = [*PICTURES, *PLOTS.glob('*.svg')]
    assert [path.name for path in pictures if path not in SHOWN and path.name not in SETTINGS] == []


@pytest.mark.parametrize('path', PICTURES, ids=lambda path: path.name)
def test_a_picture_is_small(path):
    assert path.stat().st_size <= MAX_SIZE


@pytest.mark.parametrize('name', ['probe.svg', 'bridge.png', 'locust.png'])
def test_pictures_of_programs_are_light_and_dark(name):
    stem, suffix = name.split('.')
    script = (ROOT / 'docs' / 'pictures.py').read_text()
    assert f"'{stem}': {stem}" in script
    assert (STATIC / f'{stem}-dark.{suffix}').is_file()


@pytest.mark.parametrize('page', ['README.md'])
def test_a_page_with_a_light_picture_has_the_dark_one(page):
    names = {path.name for path in named(ROOT / page)}
    light = {name for name in names if '-dark.' not in name}
    assert light
    assert {name.replace('.', '-dark.') for name in light} == names - light


def test_svg_pictures_load_nothing_from_other_hosts():
    for path in PICTURES:
        if path.suffix == '.svg':
            text = path.read_text()
            assert not re.search(r'url\(["\']?https?:|href="https?:|@import', text), path.name

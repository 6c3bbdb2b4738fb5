"""No public name is missing on the reference pages."""

import configparser
import importlib
import re
from pathlib import Path

import pytest

import engineio_gevent
from engineio_gevent.net import stream

ROOT = Path(__file__).resolve().parents[2]
REFERENCE = ROOT / 'docs' / 'reference'
TEXT = ''.join(path.read_text() for path in sorted(REFERENCE.glob('*.md')))


def test_the_package():
    for name in engineio_gevent.__all__:
        assert re.search(rf'(autoclass|data|automodule):: (engineio_gevent\.)?{name}\b', TEXT), name


@pytest.mark.parametrize(
    'module', ['addresses', 'contrib.locust', 'contrib.socketio', 'exceptions']
)
def test_modules_are_documented_whole(module):
    options = re.search(rf'automodule:: engineio_gevent\.{module}\n((?:   :.*\n)*)', TEXT)[1]
    assert ':members:\n' in options


def test_options_of_the_client():
    import inspect

    names = list(inspect.signature(engineio_gevent.Client).parameters)
    assert (
        re.findall(r'^\| `(\w+)` \|', TEXT.split('## Options at a glance')[1], re.MULTILINE)[
            : len(names)
        ]
        == names
    )


def test_every_command_has_a_section():
    app = importlib.import_module('engineio_gevent.cli.app')
    sections = re.findall(r'^## (\w+)$', (REFERENCE / 'command-line.md').read_text(), re.MULTILINE)
    assert [name for name in sections if name in app.COMMANDS] == [
        name for name in app.COMMANDS if name != 'demo'
    ]


SETUP = configparser.ConfigParser(interpolation=None)
SETUP.read(ROOT / 'setup.cfg')
EXTRAS = SETUP['options.extras_require']


def test_every_extra_is_listed():
    listed = re.findall(r'^\| `(\w+)` \|', (REFERENCE / 'extras.md').read_text(), re.MULTILINE)
    assert sorted(listed) == sorted(EXTRAS)


@pytest.mark.parametrize('extra', list(EXTRAS))
def test_what_an_extra_installs(extra):
    page = (REFERENCE / 'extras.md').read_text()
    installs = re.search(rf'^\| `{extra}` \|.*\|(.*)\|$', page, re.MULTILINE)[1]
    required = re.findall(r'^(?:%\(([\w-]+)\)s|([\w-]+))', EXTRAS[extra].strip(), re.MULTILINE)
    missing = [own or other for own, other in required if (own or other) not in installs]
    assert 'and others' in installs or missing == []


def test_the_numbers_of_floods():
    page = (REFERENCE / 'client.md').read_text()
    within = f'within {1000 * stream._FLOOD_SECONDS:g} ms'
    small = f'for less than {stream.SMALL_READ_SIZE >> 10} KiB'
    assert f'more than {stream.FLOOD_READS} times {within}, each time {small}' in page
    assert f'within {1000 * stream.QUIET_SECONDS:g} ms of a `send()`' in page

"""Tests whose real parts are not installed."""

import importlib
import os
import shutil
import sys
from types import ModuleType
from typing import NoReturn

import pytest

from .processes import TESTS

#: Set to 1, a missing part fails the test: CI has all of them.
REQUIRE = 'ENGINEIO_GEVENT_REQUIRE_ALL'


def missing(what, install) -> NoReturn:
    """Skip the test, or fail it where `REQUIRE` says so.

    :param what: the missing part, as in 'nginx'.
    :param install: how to get it, as in 'apt-get install nginx-light'.
    """
    text = f'{what} is missing. To run these tests: {install}'
    if os.environ.get(REQUIRE) == '1':
        pytest.fail(text, pytrace=False)
    pytest.skip(text)


def need_node(*folders):
    """Skip without Node.js, or without the npm modules of these folders.

    :param folders: a `pathlib.Path` each, with a `package-lock.json`.
    """
    if shutil.which('node') is None:
        missing('Node.js', 'install node and npm')
    for folder in folders:
        if not (folder / 'node_modules').is_dir():
            missing(f'tests/{folder.relative_to(TESTS)}/node_modules', 'npm ci in its folder')


def need_json_package(name: str) -> ModuleType:
    """A JSON package; skip without it.

    :param name: what to import, as in 'msgspec.json'.
    """
    try:
        return importlib.import_module(name)
    except ImportError:
        package = {'rapidjson': 'python-rapidjson'}.get(name, name.partition('.')[0])
        if sys.implementation.name == 'cpython':  # setup.cfg and tox.ini have it there
            missing(package, f'pip install {package}')
        pytest.skip(f'{package} is for CPython')

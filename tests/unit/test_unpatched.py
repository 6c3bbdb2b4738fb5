"""The warning about code that blocks the thread: once, and not in a patched program."""

import importlib.util
import warnings

import pytest
from gevent.monkey import is_module_patched


@pytest.fixture
def unpatched():
    """The module as in a new process."""
    assert not is_module_patched('socket')
    spec = importlib.util.find_spec('engineio_gevent.net.unpatched')
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def caught():
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter('always')
        yield caught


def test_the_warning_comes_once_and_is_about_the_caller(unpatched, caught):
    for _ in range(2):
        unpatched.warn_if_unpatched('polling')
    (one,) = caught
    assert str(one.message).startswith('polling blocks all greenlets of this thread')
    assert (one.category, one.filename) == (RuntimeWarning, __file__)


def test_none_in_a_patched_program(unpatched, caught, monkeypatch):
    monkeypatch.setattr(unpatched, 'is_module_patched', 'socket'.__eq__)
    unpatched.warn_if_unpatched('polling')
    assert caught == []
    # It has not counted as the first.
    monkeypatch.setattr(unpatched, 'is_module_patched', 'ssl'.__eq__)
    unpatched.warn_if_unpatched('polling')
    assert len(caught) == 1

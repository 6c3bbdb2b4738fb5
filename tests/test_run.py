"""What `make test` runs, finds and sums up; `run.py`."""

import sys

import pytest
import run

TOX = """\
.pkg: build_wheel> python
py310: commands[0]> pytest -n 4 tests/unit
........................................................................ [ 50%]
..........s.............................................................. [100%]
=========================== short test summary info ============================
SKIPPED [2] tests/api/conftest.py:12: no JavaScript server: there is no "node" on the PATH
================= 141 passed, 2 skipped, 3 warnings in 76.37s (0:01:16) =================
py310: commands[1]> pytest tests/faults -m smoke
============================== 20 passed, 570 deselected in 1.57s ==============================
py310: OK ✔ in 1 minute 25.98 seconds
lint: commands[0]> ruff check .
All checks passed!
lint: OK ✔ in 0.5 seconds
adversity: commands[0]> pytest -n 4 tests/faults
F                                                                        [100%]
=================================== FAILURES ===================================
____ test_it ____
E   assert 1 == 2
=========================== 1 failed, 1 error in 3.00s ===========================
adversity: exit 1 (3.10 seconds) /checkout> pytest
  py310: OK (85.98=setup[1.00]+cmd[84.98] seconds)
  adversity: FAIL code 1 (3.20 seconds)
"""


def program(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f'#!/bin/sh\n{text}\n')
    path.chmod(0o755)
    return path


@pytest.fixture
def home(tmp_path, monkeypatch):
    """An empty home folder and an empty PATH."""
    for name in ('PYENV_ROOT', 'UV_PYTHON_INSTALL_DIR'):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv('HOME', str(tmp_path))
    monkeypatch.setenv('PATH', str(tmp_path / 'bin'))
    monkeypatch.setattr(run, 'SYSTEM_FOLDERS', [tmp_path / 'usr' / 'bin'])
    return tmp_path


def test_interpreters_are_found_where_they_usually_are(home, capsys):
    on_path = home / 'opt' / 'python3.11'
    program(home / 'bin' / 'python3.11', f'echo {on_path}')
    # what pyenv puts on the PATH for a Python that is not the chosen one
    program(home / 'bin' / 'python3.12', 'exit 127')
    of_pyenv = program(home / '.pyenv/versions/3.12.1/bin/python3.12', 'echo "$0"')
    program(home / '.pyenv/versions/3.11.7/bin/python3.11', 'echo "$0"')
    of_uv = program(home / '.local/share/uv/python/cpython-3.13/bin/python3.13', 'echo "$0"')
    of_debian = program(home / 'usr/bin/pypy3.11', 'echo "$0"')
    found = run.find_pythons()
    assert found == {'py311': on_path, 'py312': of_pyenv, 'py313': of_uv, 'pypy311': of_debian}
    run.print_pythons(found)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ['python3.10', 'not', 'found:', 'its', 'tests', 'do', 'not', 'run']
    assert lines[1].split() == ['python3.11', str(on_path)]


def test_the_newest_runs_everything():
    plan = run.plan(['py310', 'py311', 'py312', 'py313', 'pypy311'], everything=False)
    assert plan == [
        'py310-part',
        'py311-part',
        'py312-part',
        'py313',
        'pypy311-part',
        *run.SUITES,
        *run.ONCE,
    ]


def test_a_single_python_runs_everything():
    assert run.plan(['py311'], everything=False)[0] == 'py311'


def test_all_suites_on_all_pythons():
    plan = run.plan(['py310', 'py313', 'pypy311'], everything=True)
    assert {'py310', 'py313', 'pypy311', 'py310-contrib', 'py313-adversity'} <= set(plan)
    assert len(plan) == len(set(plan))


def follow(text, names):
    """A `Run` to which tox has printed a text."""
    one = run.Run(names)
    part = run.Part('tox')
    for line in text.splitlines():
        part = one.take(part, line)
    return one


@pytest.fixture(autouse=True)
def logs(tmp_path, monkeypatch):
    monkeypatch.setattr(run, 'ROOT', tmp_path)
    monkeypatch.setattr(run, 'LOGS', tmp_path / 'logs')
    return tmp_path / 'logs'


def test_summary(capsys, logs):
    one = follow(TOX, ['lint', 'py310', 'adversity', 'docs'])
    printed = capsys.readouterr().out
    assert '\n'.join(TOX.splitlines()[15:20]) in printed  # from FAILURES on
    assert '[1/4]' in printed
    assert '141 passed' not in printed.partition('py310  ...')[0]
    one.summary()
    summary = capsys.readouterr().out
    assert [line.split()[:2] for line in summary.splitlines()[2:6]] == [
        ['lint', 'OK'],
        ['py310', 'OK'],
        ['adversity', 'FAIL'],
        ['docs', 'not'],
    ]
    assert '161 passed, 2 skipped, 3 warnings' in summary
    assert '2 x no JavaScript server: there is no "node" on the PATH' in summary
    assert summary.endswith('\n161 passed, 2 failed, 2 skipped\n')
    assert not one.passed()
    assert 'assert 1 == 2' in (logs / 'adversity.log').read_text()
    assert 'assert 1 == 2' not in (logs / 'py310.log').read_text()


def test_all_green(capsys):
    one = follow('\n'.join(TOX.splitlines()[:13]), ['lint', 'py310'])
    one.summary()
    assert one.passed()
    assert capsys.readouterr().out.endswith('\n161 passed, 0 failed, 2 skipped\n')


def test_what_tox_says_before_any_environment(capsys, logs):
    one = run.Run(['nosuch'])
    one.follow([sys.executable, '-c', 'print("no such environment"); raise SystemExit(1)'], {})
    assert 'no such environment' in capsys.readouterr().out
    assert not one.passed()

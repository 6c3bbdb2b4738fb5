"""What is a mutant, what counts as killed, and what the list of survivors must say."""

import re
import subprocess
import sys

import pytest

pytest.importorskip('cosmic_ray', reason='make mutants installs cosmic-ray')

from tests.mutants.listed import read_listed
from tests.mutants.mutations import mutants_of
from tests.mutants.run import PACKAGE, ROOT

MODULE = 'protocol/sample.py'
SOURCE = """
def negative(number: int | None) -> bool | None:
    if number < 0:  # nothing
        return True
    return None
"""
MUTANTS = {
    ('if number < 0:', 'if number >= 0:'),
    ('if number < 0:', 'if number <= 0:'),
    ('if number < 0:', 'if number < 1:'),
    ('if number < 0:', 'if number < -1:'),
    ('return True', 'return False'),
    ('return True', 'pass'),
    ('return None', 'pass'),
}


def test_the_mutants_of_a_module():
    mutants = list(mutants_of(SOURCE))
    assert {(mutant.was, mutant.now) for mutant in mutants} == MUTANTS
    assert len(mutants) == len(MUTANTS)
    assert {mutant.scope for mutant in mutants} == {'negative'}
    for mutant in mutants:
        compile(mutant.source, MODULE, 'exec')


def test_a_mutant_is_known_wherever_its_line_moves_to():
    moved = '\n# more\n\ndef other():\n    """Nothing."""\n' + SOURCE.replace('# nothing', '# none')
    assert {mutant[:3] for mutant in mutants_of(SOURCE)} == {
        mutant[:3] for mutant in mutants_of(moved)
    }


def test_the_same_line_twice_in_a_function_makes_two_mutants():
    source = 'def f(a):\n    a.go()\n    a.stop()\n    a.go()\n'
    assert [(mutant.was, mutant.now) for mutant in mutants_of(source)] == [
        ('a.go()', 'pass'),
        ('a.stop()', 'pass'),
        ('a.go()', 'pass  # 2'),
    ]


def test_except_clauses():
    """Each class is replaced, whatever expression it is."""
    clauses = [
        'except (*A, ssl.B):',
        'except ssl.C as exc:',
        'except D:',
    ]
    source = 'try:\n    f()\n' + ''.join(f'{clause}\n    g()\n' for clause in clauses)
    missing = 'CosmicRayTestingException'
    assert [(mutant.was, mutant.now) for mutant in mutants_of(source)] == [
        (clauses[0], f'except ({missing}, ssl.B):'),
        (clauses[0], f'except (*A, {missing}):'),
        (clauses[1], f'except {missing} as exc:'),
        (clauses[2], f'except {missing}:'),
    ]


def test_an_annotation_without_a_value_is_no_statement_to_remove():
    assert list(mutants_of('def f():\n    a: int\n')) == []


def test_each_survivor_is_a_mutant_of_the_code_as_it_is():
    """`make mutants` finds that out, too, but only with all mutants of a file."""
    listed = {(one.file, one.scope, one.was, now) for one in read_listed() for now in one.now}
    for file in {file for file, *_ in listed}:
        for mutant in mutants_of((ROOT / PACKAGE / file).read_text()):
            listed.discard((file, mutant.scope, mutant.was, mutant.now))
    assert sorted(listed) == []


# -- the command ----------------------------------------------------------------------------------

PROGRAM = f"""
import sys
from pathlib import Path
from tests.mutants import __main__ as command, listed, run
root = run.ROOT = command.ROOT = Path(sys.argv.pop())
command.FILES = {{{MODULE!r}: 'tests/test_sample.py'}}
command.FILE = listed.FILE = root / 'survivors.toml'
sys.exit(command.main())
"""
GOOD = 'assert [negative(n) for n in (-1, 0)] == [True, None]'
ENTRY = """
[[{kind}]]
file = 'protocol/sample.py'
in = 'negative'
was = '{was}'
now = '{now}'
why = 'For a test.'
"""
NO_RETURN = ENTRY.format(kind='equivalent', was='return None', now='pass')
KILLED = ENTRY.format(kind='equivalent', was='return True', now='pass')


@pytest.fixture
def mutants(tmp_path):
    """`mutants(test, listed)`: what the command does with these in a checkout with that module."""

    def run(test, listed=''):
        package = tmp_path / 'engineio_gevent'
        (package / 'protocol').mkdir(parents=True)
        (package / '__init__.py').touch()
        (package / 'protocol' / '__init__.py').touch()
        (package / MODULE).write_text(SOURCE)
        (tmp_path / 'tox.ini').write_text('[pytest]\naddopts = --import-mode=importlib\n')
        (tmp_path / 'survivors.toml').write_text(listed)
        (tmp_path / 'tests').mkdir()
        if test is not None:
            (tmp_path / 'tests' / 'test_sample.py').write_text(
                f'from engineio_gevent.protocol.sample import negative\ndef test():\n    {test}\n'
            )
        before = sorted(tmp_path.rglob('*'))
        done = subprocess.run(
            [sys.executable, '-c', PROGRAM, '--jobs', '1', str(tmp_path)],
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        assert sorted(tmp_path.rglob('*')) == before
        assert not done.stderr
        return done.returncode, done.stdout

    return run


@pytest.mark.time_limit(300)
@pytest.mark.parametrize(
    ('test', 'listed', 'status', 'words'),
    [
        (GOOD, NO_RETURN, 0, 'Every survivor is listed.'),
        (GOOD, '', 1, "was = 'return None'\nnow = 'pass'"),
        (GOOD, NO_RETURN.replace('equivalent', 'accepted'), 1, '85.7% were killed'),
        (GOOD, NO_RETURN + KILLED, 1, 'listed in survivors.toml, but killed'),
        (GOOD, NO_RETURN.replace('return None', 'return 0'), 1, 'there is no such mutant any more'),
        ('assert negative(-1)', NO_RETURN, 1, 'fewer than 90%'),
        ('assert negative(0)', NO_RETURN, 1, 'fails without a mutant'),
        (None, NO_RETURN, 1, 'its test file is missing: tests/test_sample.py'),
    ],
    ids=[
        'killed',
        'survived',
        'accepted',
        'listed but killed',
        'listed but gone',
        'below 90%',
        'red',
        'no tests',
    ],
)
def test_what_the_command_says(mutants, test, listed, status, words):
    returned, output = mutants(test, listed)
    assert words in output
    assert returned == status


@pytest.mark.time_limit(300)
def test_a_mutant_that_never_ends_is_killed(mutants):
    status, output = mutants(f'while negative(-1) is False: pass\n    {GOOD}', NO_RETURN)
    assert status == 0
    assert re.search(r'sample.py +7 +6 +1 +0', output)

"""SECURITY.md: each guarantee names its tests, and each test of security stands for a guarantee."""

import ast
import re
from pathlib import Path

TESTS = Path(__file__).resolve().parents[1]
PAGE = TESTS.parent / 'SECURITY.md'

_TEST = re.compile(r'`([\w/]+\.py)?(?:::(\w+))?`')


def rows():
    """The guarantees, and for each the tests: pairs of a file and a name, or None for all of it.

    A name without a file is of the file before it.
    """
    found = []
    for line in PAGE.read_text().splitlines():
        cells = [cell.strip() for cell in line.strip('|').split(' | ')]
        if not line.startswith('| ') or cells[0] == 'Guarantee':
            continue
        assert len(cells) == 2, line
        tests = []
        for file, name in _TEST.findall(cells[1]):
            tests.append((file or tests[-1][0], name or None))
        found.append((cells[0], tests))
    return found


def names_in(path):
    return {
        node.name
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.FunctionDef) and node.name.startswith('test_')
    }


def test_each_guarantee_names_tests_that_exist():
    assert len(rows()) > 20
    for guarantee, tests in rows():
        assert tests, guarantee
        for file, name in tests:
            names = names_in(TESTS / file)
            assert names if name is None else name in names, f'{file}::{name}: {guarantee}'


def test_each_test_of_security_stands_for_a_guarantee():
    named = {test for _, tests in rows() for test in tests}
    for path in sorted(TESTS.glob('hostile/test_security_*.py')):
        file = str(path.relative_to(TESTS))
        if (file, None) not in named:
            assert {(file, name) for name in names_in(path)} <= named, file

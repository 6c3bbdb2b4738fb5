"""Where a tool is told to look away, or everything is caught, the line says why."""

import re
import tokenize
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

FILES = sorted(
    path
    for folder in ('engineio_gevent', 'benchmarks', 'examples', 'docs')
    for path in (ROOT / folder).rglob('*.py')
    if 'node_modules' not in path.parts
)

#: What has to have a reason, and where the reason is, which has a letter in it.
_NOQA = re.compile(r'noqa(: [\w, ]+?)?(?P<rest>( - .*)?)$')
_IGNORE = re.compile(r'type: ignore(\[[\w, -]+\])?(?P<rest>.*)$')


@pytest.mark.parametrize('path', FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_reasons(path):
    wanting = []
    with tokenize.open(path) as source:
        for token in tokenize.generate_tokens(source.readline):
            if token.type == tokenize.COMMENT:
                found = _NOQA.search(token.string) or _IGNORE.search(token.string)
                if found and not re.search(r'[a-z]{3}', found['rest']):
                    wanting.append(f'{token.start[0]}: {token.line.strip()}')
    for number, line in enumerate(path.read_text().splitlines(), 1):
        if re.search(r'except BaseException( as \w+)?:\s*$', line):
            wanting.append(f'{number}: {line.strip()}')
    assert wanting == []

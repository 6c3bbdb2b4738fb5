"""``python docs/prose.py``: checks the pages and the public docstrings for plain English.

The rules, and the files that are checked, are in ``docs/prose.toml``.
"""

from __future__ import annotations

import ast
import re
import sys
from bisect import bisect_right
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).resolve().parents[1]

# Not prose: comments, code, targets of links, addresses, tags.
_NO_PROSE = re.compile(
    r'<!--.*?-->|``.+?``|`[^`]+`|(?<=\])\([^)\s]+\)|https?://[^\s)>]+|</?[a-zA-Z][^>]*>'
)
_FENCE = re.compile(r'\s*(`{3,}|~{3,})\s*(\{?[\w-]*\}?)')
_PROSE_DIRECTIVES = frozenset(
    f'{{{name}}}'
    for name in ('attention', 'caution', 'hint', 'important', 'note', 'tip', 'warning')
)
# The beginning of a new block: a heading, an item of a list, a field of a docstring.
_BEGINS = re.compile(r'\s*(#{1,6}\s|[-*+]\s|\d+[.)]\s|:\w[^:]*:\s)')


_PRIVATE = re.compile(r'_(?!_)')


class Rule(NamedTuple):
    """A pattern that must not be in the prose."""

    name: str
    pattern: re.Pattern[str]
    write: str
    bad: str
    good: str


class Block(NamedTuple):
    """A paragraph, an item, a heading or a cell of a table, on one line."""

    text: str
    #: The offset of each line in the text, and the number of that line in the file.
    starts: list[int]
    numbers: list[int]

    def line(self, offset: int) -> int:
        """The number of the line that has this character."""
        return self.numbers[bisect_right(self.starts, offset) - 1]


def settings() -> dict[str, Any]:
    """Read ``prose.toml``."""
    return tomllib.loads((ROOT / 'docs' / 'prose.toml').read_text(encoding='utf-8'))


def rules() -> list[Rule]:
    """Compile the rules."""
    return [
        Rule(
            one['name'],
            re.compile(one['pattern'], re.IGNORECASE),
            one['write'],
            one['bad'],
            one['good'],
        )
        for one in settings()['rule']
    ]


def page_lines(text: str) -> Iterator[tuple[int, str]]:
    """The lines of a page, with their numbers. Lines that are not prose are empty."""
    fences: list[tuple[str, bool]] = []
    text = re.sub(r'<!--.*?-->', lambda found: '\n' * found[0].count('\n'), text, flags=re.DOTALL)
    for number, line in enumerate(text.split('\n'), 1):
        fence = _FENCE.match(line)
        if fence is not None and fences and line.strip() == fences[-1][0]:
            fences.pop()
        elif fence is not None and all(prose for _, prose in fences):
            fences.append((fence[1], fence[2] in _PROSE_DIRECTIVES))
        elif all(prose for _, prose in fences):
            yield number, line
            continue
        yield number, ''


def docstring_lines(source: str) -> Iterator[tuple[int, str]]:
    """The lines of the public docstrings, with their numbers. Lines of code are empty."""
    nodes = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, nodes) or _PRIVATE.match(getattr(node, 'name', '')):
            continue
        docstring = ast.get_docstring(node, clean=False)
        if docstring is None:
            continue
        constant = node.body[0]
        in_code: int | None = None
        for number, line in enumerate(docstring.split('\n'), constant.lineno):
            indent = len(line) - len(line.lstrip())
            if in_code is not None and line.strip() and indent <= in_code:
                in_code = None
            yield number, line if in_code is None else ''
            if in_code is None and line.rstrip().endswith('::'):
                in_code = indent
        yield constant.end_lineno or 0, ''


def blocks(lines: Iterator[tuple[int, str]]) -> Iterator[Block]:
    """Join the lines of each paragraph. Code, addresses and tags are left out."""
    waiting: list[tuple[int, str]] = []
    for number, line in lines:
        line = _NO_PROSE.sub(lambda found: '\0' * len(found[0]), line)
        if line.lstrip().startswith('|'):
            yield from _joined(waiting)
            waiting = []
            for cell in line.strip().strip('|').split('|'):
                yield from _joined([(number, cell)])
            continue
        if not line.strip() or _BEGINS.match(line):
            yield from _joined(waiting)
            waiting = []
        if line.strip():
            waiting.append((number, _BEGINS.sub('', line, count=1)))
    yield from _joined(waiting)


def _joined(lines: list[tuple[int, str]]) -> Iterator[Block]:
    text = ''
    starts, numbers = [], []
    for number, line in lines:
        words = ' '.join(line.strip('> \t*_').split())
        if not words:
            continue
        text = f'{text} ' if text else ''
        starts.append(len(text))
        numbers.append(number)
        text += words
    if text:
        yield Block(text, starts, numbers)


def check(found: Iterator[Block], against: list[Rule]) -> Iterator[tuple[int, Rule, str]]:
    """Find the faults.

    :returns: for each fault, the number of the line, the rule and the words.
    """
    for block in found:
        for rule in against:
            for match in rule.pattern.finditer(block.text):
                words = match[0].replace('\0', '')
                yield block.line(match.start()), rule, words.strip()


def main() -> int:
    """Check the files.

    :returns: the exit code: 1 if there are faults.
    """
    against = rules()
    files = settings()['files']
    faults = 0
    for kind, lines_of in (('pages', page_lines), ('docstrings', docstring_lines)):
        for pattern in files[kind]:
            paths = sorted(ROOT.glob(pattern))
            if not paths:
                print(f'docs/prose.toml: no file is named {pattern}')
                faults += 1
            for path in paths:
                if 'node_modules' in path.parts:
                    continue
                lines = lines_of(path.read_text(encoding='utf-8'))
                for number, rule, words in check(blocks(lines), against):
                    faults += 1
                    shown = words if len(words) <= 60 else f'{words[:57]}...'
                    where = f'{path.relative_to(ROOT)}:{number}'
                    print(f'{where}: {rule.name}: "{shown}" (write: {rule.write})')
    return min(faults, 1)


if __name__ == '__main__':
    sys.exit(main())

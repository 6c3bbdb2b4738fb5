"""The mutants that may survive, by survivors.toml."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from pathlib import Path

from .mutations import Mutant

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib  # which pytest needs, too

FILE = Path(__file__).with_name('survivors.toml')


@dataclass
class Listed:
    """An entry: changes to one place in one function, and why no test notices."""

    kind: str
    file: str
    scope: str
    was: str
    now: list[str]
    why: str
    survived: set[str] = field(default_factory=set)
    killed: set[str] = field(default_factory=set)

    def covers(self, mutant: Mutant) -> bool:
        return (self.scope, self.was) == (mutant.scope, mutant.was) and mutant.now in self.now

    def faults(self) -> list[str]:
        """What of this entry is not so, after all mutants of the file were tested."""
        return [
            f'{self.file}: listed in {FILE.name}, but '
            f'{"killed" if now in self.killed else "there is no such mutant any more"}\n'
            f'in = {self.scope!r}\nwas = {self.was!r}\nnow = {now!r}'
            for now in self.now
            if now not in self.survived
        ]


def read_listed() -> list[Listed]:
    listed = []
    for kind, entries in tomllib.loads(FILE.read_text()).items():
        for entry in entries:
            now = entry.pop('now')
            listed.append(
                Listed(
                    kind, scope=entry.pop('in'), now=[now] if isinstance(now, str) else now, **entry
                )
            )
            if kind not in ('equivalent', 'accepted') or not listed[-1].why:
                raise ValueError(f'{FILE.name}: neither equivalent nor accepted, or no reason')
    return listed

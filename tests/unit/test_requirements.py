"""The dependencies in setup.cfg: each has a floor, which the tox environments `lowest*` install."""

import configparser
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parents[2]
CONFIG = configparser.ConfigParser()
CONFIG.read(ROOT / 'setup.cfg')
SECTIONS = {
    'install_requires': CONFIG['options']['install_requires'],
    **CONFIG['options.extras_require'],
}
REQUIREMENTS = [
    Requirement(line)
    for text in SECTIONS.values()
    for line in text.split('\n')
    if line and not line.startswith('#')
]


def floors(requirement):
    return [one.version for one in requirement.specifier if one.operator == '>=']


@pytest.mark.parametrize('requirement', sorted(set(map(str, REQUIREMENTS))))
def test_each_has_a_floor(requirement):
    assert len(floors(Requirement(requirement))) == 1


def test_one_floor_for_each_name():
    found = {}
    for one in REQUIREMENTS:
        found.setdefault((one.name, str(one.marker)), set()).add(str(one.specifier))
    assert {name: kinds for name, kinds in found.items() if len(kinds) > 1} == {}


def test_the_readme_names_the_floors():
    _, _, rest = (ROOT / 'README.md').read_text().partition('## Requirements\n')
    section, _, _ = rest.partition('\n## ')
    for line in SECTIONS['install_requires'].split('\n'):
        if line and not line.startswith('#'):
            requirement = Requirement(line)
            assert f'{requirement.name} {floors(requirement)[0]}' in ' '.join(section.split())

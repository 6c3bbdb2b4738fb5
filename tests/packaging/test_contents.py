"""What is in the wheel and in the sdist, and the version on it."""

import importlib.metadata
import re
import subprocess
import tarfile
import zipfile

import pytest

import engineio_gevent

from .conftest import ROOT

#: A version as https://semver.org has it, without build metadata.
SEMANTIC = re.compile(r'(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)(-[0-9A-Za-z.-]+)?')


def tracked():
    """The files of the checkout, without those that git ignores; skips where there is no git."""
    try:
        found = subprocess.run(
            ['git', 'ls-files', '--cached', '--others', '--exclude-standard'],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=True,
        ).stdout.split()
    except (OSError, subprocess.CalledProcessError):
        pytest.skip('it is no git checkout')
    return {name for name in found if (ROOT / name).is_file()}


def test_the_sdist_is_the_checkout(sdist):
    with tarfile.open(sdist) as archive:
        members = archive.getmembers()
    top = sdist.name.removesuffix('.tar.gz')
    names = {member.name.removeprefix(f'{top}/') for member in members if member.isfile()}
    assert {
        'LICENSE',
        'engineio_gevent/protocol/_speedups.c',
        'README.md',
        'tox.ini',
        'docs/conf.py',
        'examples/README.md',
        'tests/conftest.py',
        'tests/servers/js/package-lock.json',
    } <= names
    made = {'PKG-INFO', *(name for name in names if name.startswith('engineio_gevent.egg-info/'))}
    # What only a checkout has a use for.
    left_out = {name for name in tracked() if name.startswith('.')}
    assert names - made == tracked() - left_out
    assert all(member.isfile() or member.isdir() for member in members)


def package_files():
    """What a wheel has of the package, but for the extension."""
    return {
        name
        for name in tracked()
        if name.startswith('engineio_gevent/') and not name.endswith('.c')
    }


def test_the_wheel_with_the_extension_is_the_package_and_the_extension(compiled_wheel):
    with zipfile.ZipFile(compiled_wheel) as archive:
        names = archive.namelist()
    found = {name for name in names if '.dist-info/' not in name and not name.endswith('/')}
    assert found == package_files() | {'engineio_gevent/protocol/_speedups.abi3.so'}
    # For every CPython from 3.10 on, and any glibc from 2.17 on.
    assert re.search('-cp310-abi3-.*manylinux_2_17_.*[.]whl$', compiled_wheel.name)


def test_both_wheels_have_the_same_metadata(wheel, compiled_wheel):
    def metadata(path):
        with zipfile.ZipFile(path) as archive:
            return archive.read(f'{folder(path)}/METADATA')

    assert metadata(wheel) == metadata(compiled_wheel)


def test_the_wheel_is_the_package(wheel):
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        metadata = archive.read(f'{folder(wheel)}/METADATA').decode()
        entries = archive.read(f'{folder(wheel)}/entry_points.txt').decode()
    package = package_files()
    assert {name for name in names if '.dist-info/' not in name} == package
    assert 'engineio_gevent/py.typed' in package
    assert f'{folder(wheel)}/licenses/LICENSE' in names
    assert wheel.name.endswith('-py3-none-any.whl')
    assert 'License-Expression: MIT\n' in metadata
    assert 'Requires-Python: >=3.10\n' in metadata
    assert entries.split() == [
        '[console_scripts]',
        'engineio-gevent',
        '=',
        'engineio_gevent.cli:main',
    ]


def address():
    """What ``setup.py`` says."""
    return re.search(r"^ADDRESS = '(.*)'$", (ROOT / 'setup.py').read_text(), re.MULTILINE)[1]


def test_no_file_links_to_the_repository_but_setup_py():
    """Without an address nothing links to it: somebody else could register the name."""
    links = re.compile(
        r'(?:https?://|git@|\w\.(?:com|io|org)/)[\w:/.-]*engineio[-_]gevent[\w/.-]*', re.IGNORECASE
    )
    found = {
        (name, link)
        for name in tracked()
        for link in links.findall((ROOT / name).read_text(errors='ignore'))
    }
    assert found - {('setup.py', address())} == set()


def test_without_an_address_the_page_of_an_index_has_no_link_that_leads_nowhere(wheel):
    if address():
        pytest.skip('the repository has an address')
    with zipfile.ZipFile(wheel) as archive:
        metadata = archive.read(f'{folder(wheel)}/METADATA').decode()
    links = re.findall(r'\]\((.*?)\)', metadata)
    assert [link for link in links if not link.startswith(('https://', '#'))] == []
    texts = re.findall(r'\[([^]]*)\]\((?!https:|#)', (ROOT / 'README.md').read_text())
    assert len(texts) > 20
    assert [text for text in texts if text not in metadata] == []
    assert 'Project-URL' not in metadata


def test_with_an_address_the_page_of_an_index_links_to_it(unpacked, environment):
    ours = 'https://example.org/owner/name'
    setup = unpacked / 'setup.py'
    setup.write_text(re.sub("(?m)^ADDRESS = '.*'$", f"ADDRESS = '{ours}'", setup.read_text()))
    metadata = environment(unpacked).run_python(
        'from importlib import metadata; print(metadata.distribution("engineio-gevent")'
        '.read_text("METADATA"))'
    )
    links = re.findall(r'\]\((.*?)\)', metadata)
    files = [link.removeprefix(f'{ours}/blob/main/') for link in links if link.startswith(ours)]
    assert len(files) > 20
    assert [name for name in files if not (ROOT / name.partition('#')[0]).exists()] == []
    assert [link for link in links if not link.startswith(('https://', '#'))] == []
    assert re.findall('Project-URL: (.*)', metadata) == [
        f'Source, {ours}',
        f'Issues, {ours}/issues',
        f'Changelog, {ours}/blob/main/CHANGELOG.md',
    ]


def folder(wheel):
    return f'{"-".join(wheel.name.split("-")[:2])}.dist-info'


def test_what_a_user_gets_is_what_is_needed(wheel):
    """Without extras nothing else is required."""
    with zipfile.ZipFile(wheel) as archive:
        metadata = archive.read(f'{folder(wheel)}/METADATA').decode()
    required = [
        line.removeprefix('Requires-Dist: ')
        for line in metadata.splitlines()
        if line.startswith('Requires-Dist: ') and 'extra ==' not in line
    ]
    assert [re.match(r'[\w-]+', line)[0] for line in required] == [
        'gevent',
        'requests',
        'urllib3',
        'websocket-client',
    ]


def test_there_is_one_version(wheel, sdist):
    version = engineio_gevent.__version__
    assert SEMANTIC.fullmatch(version)
    assert wheel.name.split('-')[1] == version
    assert sdist.name == f'engineio_gevent-{version}.tar.gz'


def test_the_version_that_is_installed():
    try:
        installed = importlib.metadata.version('engineio-gevent')
    except importlib.metadata.PackageNotFoundError:
        pytest.skip('the package is not installed')
    assert installed == engineio_gevent.__version__


def test_the_changelog_begins_with_this_version():
    newest = re.search(r'^## (\S+) \((.+)\)$', (ROOT / 'CHANGELOG.md').read_text(), re.MULTILINE)
    assert newest[1] == engineio_gevent.__version__
    assert newest[2] == 'unreleased' or re.fullmatch(r'\d{4}-\d\d-\d\d', newest[2])

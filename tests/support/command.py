"""The command, as a process."""


def converse(process):
    """With `engineio-gevent connect`: each line has its answer at once, though a GET waits.

    Returns its first line.
    """
    first = process.stdout.readline()
    assert ' * connected by ' in first, process.communicate(timeout=20)
    for text in ('one', 'two', 'three'):
        process.stdin.write(f'{text}\n')
        assert process.stdout.readline().rstrip().endswith(f' < {text}')
    out, err = process.communicate(timeout=20)
    assert (process.returncode, err) == (0, '')
    assert 'disconnected: client disconnect' in out
    return first

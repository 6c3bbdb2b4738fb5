"""Commands, as processes: ours, and Locust's."""

from .ports import free_port


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


def locust_port():
    """Environment variables that let the processes of a run of Locust meet at a port of their own.

    The default is one port for all: of two runs at a time the second ends with an error.
    """
    port = str(free_port())
    return {
        'LOCUST_MASTER_BIND_HOST': '127.0.0.1',
        'LOCUST_MASTER_BIND_PORT': port,
        'LOCUST_MASTER_NODE_PORT': port,
    }

"""A network of the test's own, with few ports."""

import ctypes
import fcntl
import os
import socket
import struct
from pathlib import Path

_NEW_USER = 0x10000000
_NEW_NETWORK = 0x40000000
_SET_INTERFACE_FLAGS = 0x8914
_INTERFACE_IS_UP = 1


def enter_network(ports):
    """Have this process use a new, empty network, in which connections have so many ports.

    A port that is in TIME_WAIT cannot be used again there. The process must have one thread.

    :raises OSError: the system has no namespaces, or does not allow them.
    """
    user, group = os.getuid(), os.getgid()
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(_NEW_NETWORK | (_NEW_USER if user else 0)):
        error = ctypes.get_errno()
        raise OSError(error, os.strerror(error))
    if user:
        own = Path('/proc/self')
        (own / 'setgroups').write_text('deny')
        (own / 'uid_map').write_text(f'0 {user} 1')
        (own / 'gid_map').write_text(f'0 {group} 1')
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        loopback = struct.pack('16sH', b'lo', _INTERFACE_IS_UP)
        fcntl.ioctl(sock, _SET_INTERFACE_FLAGS, loopback.ljust(40, b'\0'))
    settings = Path('/proc/sys/net/ipv4')
    (settings / 'ip_local_port_range').write_text(f'40000 {40000 + ports - 1}')
    (settings / 'tcp_tw_reuse').write_text('0')

"""TLS contexts, one for all connections that want the same.

Building one costs about 20 ms and 0.7 MB, most of it the certificate authorities.
"""

from __future__ import annotations

import contextlib
import logging
import os
import ssl
import stat
from collections.abc import Callable, Iterable, Iterator
from functools import lru_cache
from time import monotonic
from typing import Any

import gevent.ssl

from .hosts import tls_name
from .tls_over_tls import TLSOverTLS
from .tls_socket import TLSSocket

#: What requests takes for ``verify`` and ``cert``: whether to verify, or the
#: path of the certificate authorities; the path of a client certificate, or
#: (certificate, key).
Verify = bool | str
Cert = str | tuple[str, str] | None


def checked_verify(name: str, value: Any) -> Verify:
    """A setting of this name: whether to verify, or the path of the certificate authorities.

    Other values, such as None, are refused: a mistake must not switch verification off, or change
    the trusted authorities.

    :raises ValueError: it is not valid.
    """
    if isinstance(value, int) and value in (0, 1):
        return bool(value)  # contexts are shared by this, and 0 is equal to False
    path = _path(value)
    if not path:
        raise ValueError(f'{name} must be True, False or the path of a CA bundle: {value!r:.100}')
    return path


def checked_cert(name: str, value: Any) -> Cert:
    """A setting of this name: a client certificate, or None.

    :raises ValueError: it is not valid. The value is not in the text: it may have a password.
    """
    if value is None:
        return None
    given = tuple(value) if isinstance(value, (tuple, list)) else (value, None)
    # As in requests, a file with both may be in a pair.
    paths = tuple(map(_path, given[:1] if given[1:] == (None,) else given))
    if not all(paths) or len(given) != 2:
        raise ValueError(
            f'{name} must be the path of a certificate with its key, or the paths of both, not '
            f'{type(value).__name__}'
        )
    return paths[0] if len(paths) == 1 else (paths[0], paths[1])


def _path(value: Any) -> str:
    """A path as text, or an empty string for any other object."""
    try:
        return os.fsdecode(value)
    except TypeError:
        return ''


# The keys of websocket-client's sslopt that do not describe a context.
_PER_SOCKET = frozenset(
    ('context', 'server_hostname', 'do_handshake_on_connect', 'suppress_ragged_eofs')
)
# Those that name a file.
_FILES = ('ca_certs', 'ca_cert_path', 'certfile', 'keyfile')
#: All that have an effect.
SSLOPT = _PER_SOCKET.union(
    _FILES,
    ('cert_chain', 'cert_reqs', 'check_hostname', 'ciphers', 'ecdh_curve', 'password'),
    ('ssl_version',),
)

# Whether the log says that the keys of connections are written to a file.
_keys_announced = False


def context(
    verify: Verify,
    cert: Cert,
    authorities: Callable[[], str],
    sslopt: dict[str, Any] | None = None,
) -> ssl.SSLContext:
    """The context for these settings, shared with everybody who gives the same.

    :param verify: True, False, or the path of a file or folder of authorities.
    :param cert: a client certificate, or None.
    :param authorities: returns the file of authorities that True stands for.
    :param sslopt: websocket-client's option of this name. It takes precedence over the
                   other parameters.
    :raises OSError: a file cannot be read, or holds no certificate.
    """
    sslopt = sslopt or {}
    if sslopt.get('context'):
        given: ssl.SSLContext = sslopt['context']
        return given
    special = {
        key: value
        for key, value in sslopt.items()
        if key not in _PER_SOCKET and value is not None  # None: as if it were not there
    }
    if 'cert_chain' in special:
        special['cert_chain'] = tuple(special['cert_chain'])
    where = authorities() if verify is True else verify
    paths = where, *_paths(cert), *map(special.get, _FILES), *special.get('cert_chain', ())[:2]
    if where is False and 'cert_reqs' in special:
        paths += _system_paths()
    stamps = tuple((path, _stamp(path)) for path in paths if path)
    keylog = os.environ.get('SSLKEYLOGFILE') or None
    try:
        return _shared(where, cert, stamps, keylog, tuple(sorted(special.items())))
    except TypeError:  # an option that cannot be hashed: a context of its own
        return _build(where, cert, keylog, special)


def complete(
    ctx: ssl.SSLContext, verify: Verify, cert: Cert, authorities: Callable[[], str]
) -> None:
    """Add to the context of a session's adapter what requests would add when it connects.

    But a context that has authorities does not get those that True stands for.

    The parameters and the exception are those of :func:`context`.
    """
    if verify is True and not ctx.cert_store_stats()['x509']:
        verify = authorities()
    if isinstance(verify, str):
        _trust(ctx, verify)
    if cert is not None:
        _show(ctx, cert)


def _trust(ctx: ssl.SSLContext, path: str) -> None:
    where = (None, path) if os.path.isdir(path) else (path, None)
    with _naming(*where):
        ctx.load_verify_locations(*where)


def _show(ctx: ssl.SSLContext, cert: Cert) -> None:
    with _naming(*_paths(cert)):
        ctx.load_cert_chain(*_paths(cert))


def wrap(
    sock: Any, ctx: ssl.SSLContext, host: str, sslopt: dict[str, Any] | None = None
) -> gevent.ssl.SSLSocket | TLSOverTLS:
    """Do the TLS handshake over a connected socket, cooperatively.

    :param sock: a connected socket: gevent's, a :class:`.PlainSocket`, or one with TLS, which is
                 the outer one then.
    :param host: the name that the certificate must bear.
    :param sslopt: websocket-client's option of this name.
    :raises OSError: the handshake failed; ``ssl.SSLError`` among them.
    """
    wrapped = before_handshake(sock, ctx, host, sslopt or {})
    try:
        # Not in the constructor: that leaks the descriptor when a timeout interrupts it.
        wrapped.do_handshake()
    except BaseException:  # a timeout or a kill, too, leaves no socket open
        wrapped.close()
        raise
    return wrapped


def before_handshake(
    sock: Any, ctx: ssl.SSLContext, host: str, sslopt: dict[str, Any]
) -> gevent.ssl.SSLSocket | TLSOverTLS:
    """What :func:`wrap` makes of a socket, with the handshake still to be done."""
    name = tls_name(sslopt.get('server_hostname') or host)
    suppress = sslopt.get('suppress_ragged_eofs', True)
    if hasattr(sock, 'do_handshake'):
        return TLSOverTLS(sock, ctx, name, suppress)
    # Not ctx.wrap_socket: a context of the standard library's would block.
    return TLSSocket(
        sock=sock,
        server_hostname=name,
        do_handshake_on_connect=False,
        suppress_ragged_eofs=suppress,
        _context=ctx,
    )


def _paths(cert: Cert) -> tuple[str, ...]:
    if cert is None:
        return ()
    return (cert,) if isinstance(cert, str) else tuple(cert)


def _system_paths() -> tuple[str, ...]:
    """Where the certificate authorities of the system are, which a context finds by itself."""
    usual = ssl.get_default_verify_paths()
    get = os.environ.get
    folders = get(usual.openssl_capath_env) or usual.openssl_capath
    file = get(usual.openssl_cafile_env) or usual.openssl_cafile
    return (file, *folders.split(os.pathsep))


def _stamp(path: Any) -> tuple[Any, ...]:
    """What differs when a file has changed, or one in a folder: a new context is needed then.

    The time of the last change of a file alone is not enough. A file that is renamed to this path,
    or copied with its times, may have that of the file before it.
    """
    stamp: tuple[Any, ...] = ()
    if isinstance(path, (str, bytes, os.PathLike)):
        with contextlib.suppress(OSError):  # it is reported where it is loaded, if it is
            state = os.stat(path)
            stamp = _changes(state)
            if stat.S_ISDIR(state.st_mode):
                stamp += _stamps_within(os.fsdecode(path), stamp, int(monotonic()))
    return stamp


@lru_cache(maxsize=16)
def _stamps_within(folder: str, _stamp: tuple[Any, ...], _second: int) -> tuple[Any, ...]:
    """The stamps of the files in a folder, at most once in a second: it may have hundreds of them.

    A file that was added, renamed or removed shows at once, in the stamp of the folder itself.
    """
    stamps: tuple[Any, ...] = ()
    with os.scandir(folder) as entries:
        for entry in entries:
            with contextlib.suppress(OSError):  # a link to a file that has gone
                stamps += _changes(entry.stat())
    return stamps


def _changes(state: os.stat_result) -> tuple[int, ...]:
    return state.st_mtime_ns, state.st_ctime_ns, state.st_ino, state.st_size


@contextlib.contextmanager
def _naming(*what: Any) -> Iterator[None]:
    """Name the files in the error of an operation that does not."""
    try:
        yield
    except OSError as exc:
        names = ', '.join(str(one) for one in what if one)
        exc.strerror = f'{exc.strerror or exc}: {names}'
        raise


@lru_cache(maxsize=64)
def _shared(
    verify: Verify,
    cert: Cert,
    _stamps: Iterable[tuple[Any, ...]],
    keylog: str | None,
    special: Iterable[tuple[str, Any]],
) -> ssl.SSLContext:
    return _build(verify, cert, keylog, dict(special))


def _build(
    verify: Verify, cert: Cert, keylog: str | None, special: dict[str, Any]
) -> ssl.SSLContext:
    """A new context.

    :param keylog: a file for the keys of its connections, or None.
    :param special: websocket-client's ``sslopt``, with its names and meanings.
    """
    ctx = gevent.ssl.SSLContext(special.get('ssl_version', ssl.PROTOCOL_TLS_CLIENT))
    # A server could begin a renegotiation of TLS 1.2 and not finish it. No client needs one.
    ctx.options |= getattr(ssl, 'OP_NO_RENEGOTIATION', 0)
    required = special.get('cert_reqs', ssl.CERT_NONE if verify is False else ssl.CERT_REQUIRED)
    # In this order: a context refuses to check names of certificates it does not verify.
    ctx.check_hostname = False
    ctx.verify_mode = required
    ctx.check_hostname = required != ssl.CERT_NONE and special.get('check_hostname', True)
    if required != ssl.CERT_NONE:
        where = special.get('ca_certs'), special.get('ca_cert_path')
        if any(where):
            with _naming(*where):
                ctx.load_verify_locations(*where)
        elif isinstance(verify, str):
            _trust(ctx, verify)
        else:
            ctx.load_default_certs()
    if special.get('certfile'):
        own = special['certfile'], special.get('keyfile')
        with _naming(*own):
            ctx.load_cert_chain(*own, special.get('password'))
    elif cert is not None and not special.get('cert_chain'):
        _show(ctx, cert)
    if special.get('cert_chain'):  # after certfile, as websocket-client does
        with _naming(*special['cert_chain'][:2]):
            ctx.load_cert_chain(*special['cert_chain'])
    if 'ciphers' in special:
        ctx.set_ciphers(special['ciphers'])
    if 'ecdh_curve' in special:
        ctx.set_ecdh_curve(special['ecdh_curve'])
    if keylog is not None and hasattr(ctx, 'keylog_filename'):  # PyPy may have none
        with _naming(f'SSLKEYLOGFILE {keylog}'):
            ctx.keylog_filename = keylog
        _announce_keys(keylog)
    return ctx


def _announce_keys(path: str) -> None:
    """Log, once in a process, that whoever reads a file can decrypt its connections."""
    global _keys_announced
    if not _keys_announced:
        _keys_announced = True
        # Made only now: dictConfig() disables the loggers that exist.
        with contextlib.suppress(Exception):  # of a log filter: the context is complete
            logging.getLogger('engineio_gevent.tls').warning(
                'SSLKEYLOGFILE is set: the keys of TLS connections are written to %s', path
            )

"""The JavaScript servers for the clients."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Literal

from .job import Job
from .systems import JAVASCRIPT

#: Maximum number of clients per server process.
CLIENTS_PER_SERVER = 4000


def pinned_to(side: Literal['server', 'client']) -> Callable[[], None] | None:
    """For ``preexec_fn``: pins a new process to the core of its side, if there are two cores.

    This is safe because the runner has no threads.
    """
    if not hasattr(os, 'sched_getaffinity'):
        return None
    available = sorted(os.sched_getaffinity(0))
    if len(available) < 2:
        return None
    core = available[0] if side == 'server' else available[1]
    return lambda: os.sched_setaffinity(0, {core})


@contextmanager
def running(job: Job, certificates: Certificates) -> Iterator[list[str]]:
    """Run as many servers as the job needs until the block ends.

    :returns: the URLs.
    """
    with ExitStack() as stack:
        yield [
            stack.enter_context(_server(job, certificates, number))
            for number in range(-(-job.clients // CLIENTS_PER_SERVER))
        ]


@contextmanager
def _server(job: Job, certificates: Certificates, number: int) -> Iterator[str]:
    # Each server has its own address, so that the local ports do not run out.
    host = f'127.0.0.{number + 1}' if number and not job.tls else '127.0.0.1'
    options: dict[str, object] = {
        'host': host,
        'protocol': job.protocol,
        'pingInterval': int(job.ping_interval * 1000),
    }
    if job.tls:
        options['tls'] = {'key': str(certificates.key), 'cert': str(certificates.chain)}
    with subprocess.Popen(
        ['node', str(JAVASCRIPT / 'server.js'), json.dumps(options)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        preexec_fn=pinned_to('server'),  # noqa: PLW1509 - the runner has one thread
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            port = json.loads(process.stdout.readline())['port']
            yield f'{"https" if job.tls else "http"}://{host}:{port}'
        finally:
            process.stdin.close()
            process.kill()


class Certificates:
    """A certificate for the servers, and a CA bundle: the usual CAs and that of the benchmark."""

    def __init__(self, folder: Path) -> None:
        self.key = folder / 'key.pem'
        self.chain = folder / 'chain.pem'
        self.authority = folder / 'authority.pem'
        self.bundle = folder / 'bundle.pem'
        self._made = False

    def environment(self) -> dict[str, str]:
        """Environment variables that make each system trust the CA bundle."""
        self._make()
        return {
            'REQUESTS_CA_BUNDLE': str(self.bundle),
            'SSL_CERT_FILE': str(self.bundle),
            'NODE_EXTRA_CA_CERTS': str(self.authority),
        }

    def _make(self) -> None:
        if self._made:
            return
        import certifi
        import trustme

        authority = trustme.CA()
        server = authority.issue_cert('127.0.0.1', 'localhost')
        server.private_key_pem.write_to_path(self.key)
        for pem in server.cert_chain_pems:
            pem.write_to_path(self.chain, append=True)
        authority.cert_pem.write_to_path(self.authority)
        self.bundle.write_bytes(Path(certifi.where()).read_bytes() + authority.cert_pem.bytes())
        self._made = True

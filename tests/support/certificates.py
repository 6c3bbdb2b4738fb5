"""Certificates made for a test run."""

from pathlib import Path


class Certificates:
    """An authority, a server's certificate for the loopback names, a client's; files in `folder`.

    `ca`, `server_cert`, `server_key`, `client_cert`, `client_key` and `client_pem` (certificate
    and key in one file) are paths, as strings.
    """

    def __init__(self, folder):
        import trustme

        self._authority = authority = trustme.CA()
        server = authority.issue_cert('127.0.0.1', 'localhost', '::1')
        client = authority.issue_cert('client@example.test')
        self.ca = self._write(folder, 'ca.pem', authority.cert_pem)
        self.server_cert = self._write(folder, 'server.pem', *server.cert_chain_pems)
        self.server_key = self._write(folder, 'server.key', server.private_key_pem)
        self.client_cert = self._write(folder, 'client.pem', *client.cert_chain_pems)
        self.client_key = self._write(folder, 'client.key', client.private_key_pem)
        self.client_pem = self._write(
            folder, 'client-both.pem', client.private_key_pem, *client.cert_chain_pems
        )

    @property
    def tls(self):
        """The `tls` option of a server process."""
        return {'key': self.server_key, 'cert': self.server_cert}

    @property
    def mutual_tls(self):
        """The `tls` option of a server process that wants the client's certificate."""
        return {**self.tls, 'ca': self.ca, 'requestCert': True}

    def server_context(self, *names):
        """An `SSLContext` for a `HostileServer`; for these names instead of the loopback ones."""
        import gevent.ssl

        context = gevent.ssl.SSLContext(gevent.ssl.PROTOCOL_TLS_SERVER)
        if names:
            self._authority.issue_cert(*names).configure_cert(context)
        else:
            context.load_cert_chain(self.server_cert, self.server_key)
        return context

    @staticmethod
    def _write(folder, name, *blobs):
        path = Path(folder) / name
        path.write_bytes(b''.join(blob.bytes() for blob in blobs))
        return str(path)

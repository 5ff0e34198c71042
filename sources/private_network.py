"""Keeps requests out of private networks: the guard that every connection of `sources.http` passes by default."""

import ipaddress
import socket
from typing import Any

from requests.adapters import HTTPAdapter
from urllib3 import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.connection import HTTPConnection, HTTPSConnection

from sources.model import SourceError


def _is_private(address: str) -> bool:
    ip = ipaddress.ip_address(address.partition("%")[0])
    return not ip.is_global or ip.is_multicast


class _PublicOnly:
    """Connections that check where they lead: before, by name, and after, by the peer's address.

    Checking each connection covers redirects; checking the peer covers a name that resolves
    to a public address when asked first and to a private one when asked again.
    """

    host: str
    port: int

    def _new_conn(self) -> socket.socket:
        try:
            found = {str(info[4][0]) for info in socket.getaddrinfo(self.host, self.port, type=socket.SOCK_STREAM)}
        except (socket.gaierror, UnicodeError):
            found = set()  # the connection itself says so in a moment
        if any(map(_is_private, found)):
            raise _private(self.host)
        sock: socket.socket = super()._new_conn()  # type: ignore[misc]
        if _is_private(sock.getpeername()[0]):
            sock.close()
            raise _private(self.host)
        return sock


def _private(host: str) -> SourceError:
    return SourceError(
        "The address leads into a private network",
        host,
        "If that is meant (a server of your own), add --allow-private.",
    )


class _PublicHTTPConnection(_PublicOnly, HTTPConnection):
    pass


class _PublicHTTPSConnection(_PublicOnly, HTTPSConnection):
    pass


class _PublicHTTPPool(HTTPConnectionPool):
    ConnectionCls = _PublicHTTPConnection


class _PublicHTTPSPool(HTTPSConnectionPool):
    ConnectionCls = _PublicHTTPSConnection


class PublicAdapter(HTTPAdapter):
    """Takes requests to public addresses only; raises `SourceError` for others, also after a redirect."""

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        """Make the pools that open guarded connections."""
        super().init_poolmanager(*args, **kwargs)
        self.poolmanager.pool_classes_by_scheme = {"http": _PublicHTTPPool, "https": _PublicHTTPSPool}

"""A server's address: what is one, and what a proxy has to do with it."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

#: Ways of gRPC's own to name servers; they are left to gRPC.
_GRPC_SCHEME: Final = re.compile(r"(dns|ipv4|ipv6|unix|unix-abstract|vsock|xds|passthrough):(?!\d+$)")
_HOST: Final = re.compile(r"[A-Za-z0-9_.-]+")
_DEFAULT_PORT: Final = 8001


@dataclass(frozen=True)
class Address:
    """Where a server is.

    Attributes:
        host: a name or an IP address, without brackets.
        port: of gRPC.
    """

    host: str
    port: int

    @property
    def loopback(self) -> bool:
        """Whether it is this machine's own: no proxy reaches it, and none is needed."""
        host = self.host.lower().rstrip(".")
        if host == "localhost" or host.endswith(".localhost"):
            return True
        try:
            address = ipaddress.ip_address(host)
        except ValueError:
            return False
        mapped = getattr(address, "ipv4_mapped", None)
        return bool((mapped or address).is_loopback or address.is_unspecified)


def checked_address(url: str) -> str:
    """``url`` itself, if it is ``host:port`` or a name of gRPC's (``dns:///host:port``, ``unix:path``).

    Raises:
        ValueError: it is none; the message says what to write.
    """
    if _GRPC_SCHEME.match(url):
        return url
    shown = repr(url)
    if "://" in url:
        raise ValueError(f"{shown} is a URL; write host and gRPC port, such as {_from_url(url)}")
    host, colon, port = url.rpartition(":")
    if url.count(":") > 1 and not url.startswith("["):
        # Behind an IPv6 address a port looks like a part of it.
        found = next((text for text in (url, host) if _is_ipv6(text)), None)
        if found is None:
            raise ValueError(f"{shown} names no host; write host:port, such as localhost:{_DEFAULT_PORT}")
        raise ValueError(f"{shown} is an IPv6 address; write it in brackets: [{found}]:{_DEFAULT_PORT}")
    if not url:
        raise ValueError(f"{shown} is no address; write host:port, such as localhost:{_DEFAULT_PORT}")
    if not colon or url.endswith("]"):
        raise ValueError(f"{shown} has no port; gRPC's is {_DEFAULT_PORT} by default: {url}:{_DEFAULT_PORT}")
    bare = host[1:-1] if host.startswith("[") else host
    if not host:
        raise ValueError(f"{shown} has no host; write localhost:{port} for this machine")
    if not (_is_ipv6(bare) if host.startswith("[") else _HOST.fullmatch(host)):
        raise ValueError(f"{shown} names no host; write host:port, such as localhost:{_DEFAULT_PORT}")
    if not (re.fullmatch("[0-9]{1,5}", port) and 0 < int(port) < 1 << 16):
        raise ValueError(f"{shown} has no port from 1 to 65535; gRPC's is {_DEFAULT_PORT} by default")
    return url


def address_of(url: str) -> Address | None:
    """Host and port of a checked address; None where only gRPC knows them."""
    scheme = re.match(r"(?:dns:(?:///)?|ipv4:|ipv6:)(?!\d+$)", url)
    if scheme is None and _GRPC_SCHEME.match(url):
        return None
    host, _, port = url.removeprefix(scheme.group() if scheme else "").rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    return Address(host, int(port)) if host and port.isdecimal() else None


def _is_ipv6(text: str) -> bool:
    try:
        ipaddress.IPv6Address(text)
    except ValueError:
        return False
    return True


def _from_url(url: str) -> str:
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        host, port = None, None
    host = host or "localhost"
    return f"{f'[{host}]' if ':' in host else host}:{port or _DEFAULT_PORT}"

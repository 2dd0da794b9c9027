"""Addresses: whom a keyless caller is named by, and where a server without keys may listen.

No name is looked up here: nothing on the loop may wait for DNS, and what DNS says is no proof of anything.
"""

from __future__ import annotations

import ipaddress
from functools import lru_cache
from typing import Final
from urllib.parse import unquote

from facewright.core.errors import FacewrightError
from facewright_client.contract import ErrorCode

#: Name of whoever calls through a Unix socket, which has no address.
UNIX: Final = "unix"
#: What one subscriber or machine is given of IPv6, bits (RFC 6177, RFC 7421).
_IPV6_SUBNET: Final = 64

_Address = ipaddress.IPv4Address | ipaddress.IPv6Address


def grpc_peer_name(peer: str) -> str:
    """Name of a gRPC caller, of ``ServicerContext.peer()``.

    Args:
        peer: ``ipv4:192.0.2.7:5678``, ``ipv6:%5B2001:db8::1%5D:1234`` or ``unix:`` (gRPC naming,
            percent-encoded as a URI).
    """
    scheme, _, rest = unquote(peer).partition(":")
    if scheme not in ("ipv4", "ipv6"):
        return UNIX
    return host_name(rest.rpartition(":")[0])


@lru_cache(maxsize=4096)
def host_name(host: str | None) -> str:
    """Name of a caller by the address that it calls from, without its port.

    An IPv4 address in IPv6 form is the IPv4 address, so that a caller is the same on a socket that takes
    both. Of other IPv6 addresses it is the /64: whoever has one address of it has all 2^64, and would
    otherwise be as many callers as it likes to be.

    Args:
        host: of ASGI's ``scope["client"]``, with or without brackets; None for a Unix socket.
    """
    if host is None:
        return UNIX
    address = _address(host)
    if address is None:
        return host or UNIX
    if address.version == 6 and not (address.is_loopback or address.is_link_local):
        return str(ipaddress.IPv6Network((int(address), _IPV6_SUBNET), strict=False))
    return str(address)


def is_loopback(host: str) -> bool:
    """Whether nobody but this machine reaches what listens there.

    ``localhost`` is loopback without a look-up (RFC 6761, 6.3). Any other name is not: what it stands for is
    only known when it is resolved, and may be another thing then. Neither are short forms as ``127.1``.
    """
    address = _address(host)
    if address is None:
        return host.lower().removesuffix(".") == "localhost"
    return address.is_loopback


def require_keys_or_loopback(host: str, keys: bool, public: bool) -> None:
    """Refuse to listen where strangers could use a server that asks nobody who they are.

    Args:
        host: what is listened on: an address, a wildcard as ``0.0.0.0`` or ``::``, or a name.
        keys: whether callers must show an API key, or a certificate (mutual TLS).
        public: whether anybody is welcome, by ``--public``.

    Raises:
        FacewrightError: BAD_OPTION.
    """
    if keys or public or is_loopback(host):
        return
    raise FacewrightError(
        ErrorCode.BAD_OPTION,
        f"--host {host or '(everywhere)'} is reached from other machines, and nobody is asked for a key",
        "give --keys FILE (facewright keys new NAME makes one), --host 127.0.0.1 for this machine only, or "
        "--public to serve whoever comes",
    )


def _address(host: str) -> _Address | None:
    """The address that a host is, without brackets, IPv4 where it is one; None for a name."""
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return None
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        return address.ipv4_mapped
    return address

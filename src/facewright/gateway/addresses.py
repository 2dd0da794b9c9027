"""Addresses: whom a keyless caller is named by, and where a server without keys may listen.

No name is looked up here: nothing on the loop may wait for DNS, and what DNS says is no proof of anything.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import Final
from urllib.parse import unquote

from facewright.core.errors import FacewrightError
from facewright_client.contract import ErrorCode

#: Name of whoever calls through a Unix socket, which has no address.
UNIX: Final = "unix"
_IPV4_MAPPED: Final = ipaddress.IPv6Network("::ffff:0:0/96")
#: What one subscriber or machine is given of IPv6, bits (RFC 6177, RFC 7421).
_IPV6_SUBNET: Final = 64

_Address = ipaddress.IPv4Address | ipaddress.IPv6Address
_Network = ipaddress.IPv4Network | ipaddress.IPv6Network


def grpc_peer_host(peer: str) -> str:
    """Address of a gRPC caller, of ``ServicerContext.peer()``; "" for a Unix socket.

    Args:
        peer: ``ipv4:192.0.2.7:5678``, ``ipv6:%5B2001:db8::1%5D:1234`` or ``unix:`` (gRPC naming,
            percent-encoded as a URI).
    """
    scheme, _, rest = unquote(peer).partition(":")
    return rest.rpartition(":")[0] if scheme in ("ipv4", "ipv6") else ""


def grpc_peer_name(peer: str) -> str:
    """`host_name` of a gRPC caller."""
    return host_name(grpc_peer_host(peer))


@dataclass(frozen=True)
class Proxies:
    """Who is believed when he says for whom he calls.

    Attributes:
        networks: that they call from.
    """

    networks: tuple[_Network, ...] = ()

    @classmethod
    def of(cls, texts: Iterable[str]) -> Proxies:
        """Of addresses and networks, such as ``10.0.0.7`` and ``10.0.0.0/8``.

        Raises:
            FacewrightError: BAD_OPTION.
        """
        return cls(tuple(map(_network, texts)))

    def caller(self, host: str, forwarded_for: str) -> str:
        """The address that a request comes from.

        Each proxy adds the address that called it to the right, so what stands left of the first that is no
        proxy may be anybody's invention. What is no address is not believed.

        Args:
            host: that opened the connection; "" for a Unix socket.
            forwarded_for: values of ``X-Forwarded-For``, with commas.
        """
        for told in reversed(forwarded_for.split(",")):
            if not self._include(host):
                break
            told = told.strip()
            if _address(told) is None:  # some add the port
                told = told.rpartition(":")[0]
            if _address(told) is None:
                break
            host = told
        return host

    def _include(self, host: str) -> bool:
        address = _address(host)
        return address is not None and any(
            address.version == network.version and address in network for network in self.networks
        )


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


def _network(text: str) -> _Network:
    try:
        network = ipaddress.ip_network(text)
        if isinstance(network, ipaddress.IPv6Network) and network.subnet_of(_IPV4_MAPPED):
            # Callers of it are known by their IPv4 addresses, see `_address`.
            first = network.network_address.ipv4_mapped
            return ipaddress.ip_network((int(first or 0), network.prefixlen - _IPV4_MAPPED.prefixlen))
        return network
    except ValueError:
        raise FacewrightError(
            ErrorCode.BAD_OPTION,
            f"--forwarded-by {text!r} is no address and no network",
            "give the proxy's, such as 10.0.0.7 or 10.0.0.0/8",
        ) from None


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

"""A server's address: what is one, and what a proxy has to do with it."""

from __future__ import annotations

import ipaddress
import os
import re
import socket
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

#: Ways of gRPC's own to name servers, in one language or another; a host may have such a name, too.
_GRPC_SCHEME: Final = re.compile(r"(dns|ipv4|ipv6|unix|unix-abstract|vsock|xds|passthrough):(?!\d+$)")
#: What a socket's path may have, bytes (sun_path of Linux, without the NUL at its end).
_LONGEST_SOCKET: Final = 107
_XDS_SETTINGS: Final = ("GRPC_XDS_BOOTSTRAP", "GRPC_XDS_BOOTSTRAP_CONFIG")
_PROXIES: Final = ("grpc_proxy", "https_proxy", "http_proxy")
_NO_PROXIES: Final = ("no_grpc_proxy", "no_proxy")
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
    """``url`` itself, if it is ``host:port`` or a name that gRPC understands (``dns:///host:port``,
    ``ipv4:127.0.0.1:8001``, ``unix:path``).

    Raises:
        ValueError: it is none; the message says what to write.
    """
    if not isinstance(url, str):
        raise ValueError(f"{url!r:.64} is no address; write 'host:port', such as 'localhost:{_DEFAULT_PORT}'")
    scheme = _GRPC_SCHEME.match(url)
    if scheme is not None:
        _check_grpc(url, scheme[1], url[scheme.end() :])
        return url
    shown = repr(url)
    if "://" in url:
        raise ValueError(f"{shown} is a URL; {_no_url(url)}")
    host, colon, port = url.rpartition(":")
    if url.count(":") > 1 and not url.startswith("["):
        # Behind an IPv6 address a port looks like a part of it.
        found = next((text for text in (url, host) if _is_ipv6(text)), None)
        if found is None:
            raise ValueError(f"{shown} names no host; write host:port, such as localhost:{_DEFAULT_PORT}")
        raise ValueError(f"{shown} is an IPv6 address; write it in brackets: [{found}]:{_DEFAULT_PORT}")
    if not url.strip():
        raise ValueError(f"{shown} is no address; write host:port, such as localhost:{_DEFAULT_PORT}")
    if _is_port(url):
        raise ValueError(f"{shown} has no host; write localhost:{url} for this machine")
    if not colon or url.endswith("]"):
        raise ValueError(f"{shown} has no port; gRPC's is {_DEFAULT_PORT} by default: {url}:{_DEFAULT_PORT}")
    bare = host[1:-1] if host.startswith("[") else host
    if not host:
        raise ValueError(f"{shown} has no host; write localhost:{port} for this machine")
    if not (_is_ipv6(bare) if host.startswith("[") else _HOST.fullmatch(host)):
        raise ValueError(f"{shown} names no host; write host:port, such as localhost:{_DEFAULT_PORT}")
    if not _is_port(port):
        raise ValueError(f"{shown} has no port from 1 to 65535; gRPC's is {_DEFAULT_PORT} by default")
    whole = _unabbreviated(host)
    if whole:
        raise ValueError(
            f"{shown} has an abbreviated IPv4 address, which gRPC does not read; write {whole}:{port}"
        )
    return url


def address_of(url: str) -> Address | None:
    """Host and port of a checked address; None where only gRPC knows them."""
    scheme = re.match(r"(?:dns|ipv4|ipv6):(?!\d+$)(?:///)?", url)
    if scheme is None and _GRPC_SCHEME.match(url):
        return None
    host, _, port = url.removeprefix(scheme.group() if scheme else "").rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    alone = host and not re.search("[/,]", host)  # no server for names, and no several addresses
    return Address(host, int(port)) if alone and port.isdecimal() else None


def socket_of(url: str) -> str | None:
    """The name of a Unix socket of a checked address, as Python connects to it; None where it is none."""
    scheme = _GRPC_SCHEME.match(url)
    if scheme is None or scheme[1] not in ("unix", "unix-abstract"):
        return None
    rest = url[scheme.end() :]
    return rest.removeprefix("//") if scheme[1] == "unix" else f"\0{rest}"


def on_this_machine(url: str) -> bool:
    """Whether a checked address leads nowhere else: what is sent there passes no network."""
    if socket_of(url) is not None:
        return True
    several = re.match(r"ipv[46]:(?:///)?(?=.*,)", url)
    urls = url[several.end() :].split(",") if several else [url]
    addresses = [address_of(one) for one in urls]
    return all(address is not None and address.loopback for address in addresses)


def proxy_variable(address: Address) -> str | None:
    """The environment's variable that names the proxy which gRPC reaches an address through, by gRPC's own
    rules; None where it connects directly.

    The first variable that is set decides, even an empty one. A host is taken out by the end of its name, or
    by a network that its IP address is in.
    """
    if address.loopback:
        return None
    variable = next((name for name in _PROXIES if name in os.environ), None)
    if variable is None or not os.environ[variable].lower().startswith("http://"):
        return None
    taken_out = next((os.environ[name] for name in _NO_PROXIES if name in os.environ), "")
    entries = (entry.strip() for entry in taken_out.split(","))
    return None if any(entry and _covers(entry, address.host) for entry in entries) else variable


def _covers(entry: str, host: str) -> bool:
    """Whether an entry of ``no_proxy`` takes a host out."""
    if host.lower().endswith(entry.lower()):
        return True
    try:
        return "/" in entry and ipaddress.ip_address(host) in ipaddress.ip_network(entry, strict=False)
    except ValueError:
        return False


def _check_grpc(url: str, scheme: str, rest: str) -> None:
    """Refuse what gRPC could not parse, or would wait for in vain.

    Raises:
        ValueError: as `checked_address`.
    """
    shown = repr(url)
    if scheme == "dns":
        try:
            checked_address(re.sub("^//[^/]*/", "", rest))
        except ValueError as error:
            raise ValueError(f"{shown}: {error}") from None
    elif scheme in ("ipv4", "ipv6"):
        example = "127.0.0.1:8001" if scheme == "ipv4" else "[::1]:8001"
        if not all(_is_numeric(scheme, part) for part in rest.removeprefix("///").split(",")):
            raise ValueError(
                f"{shown} is no address in numbers; write {scheme}:{example}, or a name without {scheme}:"
            )
    elif scheme in ("unix", "unix-abstract"):
        if not rest or (rest.startswith("//") and not rest.startswith("///")):
            raise ValueError(f"{shown} names no socket; write {scheme}:{'/' if scheme == 'unix' else ''}path")
        if len(os.fsencode(rest.removeprefix("//"))) > _LONGEST_SOCKET:
            raise ValueError(
                f"{shown} is too long for a socket; its path has at most {_LONGEST_SOCKET} bytes"
            )
    elif scheme == "xds":
        if not any(map(os.environ.get, _XDS_SETTINGS)):
            raise ValueError(f"{shown} needs ${' or $'.join(_XDS_SETTINGS)}; set it, or write host:port")
    else:
        raise ValueError(
            f"{shown}: gRPC knows no {scheme}: in Python; write host:port, such as localhost:{_DEFAULT_PORT}"
        )


def _is_numeric(scheme: str, text: str) -> bool:
    """Whether it is an IP address in numbers, of the scheme's kind, and a port."""
    host, _, port = text.rpartition(":")
    if not _is_port(port):
        return False
    if scheme == "ipv6":
        return host.startswith("[") and host.endswith("]") and _is_ipv6(host[1:-1])
    try:
        ipaddress.IPv4Address(host)
    except ValueError:
        return False
    return True


def _unabbreviated(host: str) -> str:
    """An IPv4 address with all of its four numbers, for one with fewer or in other digits, as the C library
    reads it: 127.1, 0x7f000001, 2130706433; "" for anything else."""
    try:
        whole = socket.inet_ntoa(socket.inet_aton(host))
    except OSError:
        return ""
    return whole if whole != host else ""


def _is_port(text: str) -> bool:
    return bool(re.fullmatch("[0-9]{1,5}", text)) and 0 < int(text) < 1 << 16


def _is_ipv6(text: str) -> bool:
    try:
        ipaddress.IPv6Address(text)
    except ValueError:
        return False
    return True


def _no_url(url: str) -> str:
    """What to write in place of a URL."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        host = port = None
    host = f"[{host}]" if host and _is_ipv6(host) else host if host and _HOST.fullmatch(host) else "localhost"
    grpc = f"{host}:{_DEFAULT_PORT if port is None else port}"
    return f"write host and gRPC port, such as {grpc}, or REST's address, such as http://{host}:8000"

"""The address of a server's REST: ``http://host:port`` or ``https://host:port``."""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import urlsplit

from facewright_client._address import Address, checked_address

_PORTS: Final = {"http": 80, "https": 443}
_EXAMPLE: Final = "write scheme, host and REST port alone, such as http://localhost:8000"


def is_rest(url: object) -> bool:
    """Whether an address is one of REST and not of gRPC."""
    return isinstance(url, str) and re.match("https?://", url, re.IGNORECASE) is not None


def is_encrypted(url: str) -> bool:
    """Whether an address of REST says that it is asked encrypted."""
    return url.lower().startswith("https")


def checked_rest_address(url: str) -> Address:
    """Where a server's REST is; without a port at the scheme's own, 80 or 443.

    Raises:
        ValueError: it is no such address; the message says what to write.
    """
    try:
        parts = urlsplit(url)
        port = parts.port or _PORTS[parts.scheme]
    except ValueError:
        raise ValueError(f"{url!r:.200} is no address; {_EXAMPLE}") from None
    if "@" in parts.netloc:  # not quoted: it may be a secret
        raise ValueError(
            "the address holds the name of a user; a key is given by --key-file FILE, in Python "
            "Connection(key=…)"
        )
    if parts.path not in ("", "/") or parts.query or parts.fragment or "?" in url or "#" in url:
        raise ValueError(f"{url!r:.200} is more than an address; {_EXAMPLE}")
    host = re.sub(":[0-9]*$", "", parts.netloc)
    try:
        checked_address(f"{host}:{port}")
    except ValueError:
        raise ValueError(f"{url!r:.200} names no host; {_EXAMPLE}") from None
    return Address(host.removeprefix("[").removesuffix("]"), port)

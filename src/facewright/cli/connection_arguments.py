"""The arguments that say how a server is reached."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from facewright.cli import arguments
from facewright.core.errors import FacewrightError
from facewright.core.open_files import require_open_files
from facewright_client.contract import ErrorCode

if TYPE_CHECKING:
    from facewright_client import Connection, Tls

DEFAULT_SERVER: Final = "localhost:8001"
#: A batch has 15 open at most (measured: forty photos at once); one server may have many addresses.
_LEAST_FILES: Final = 64


def add_connection(group: Any) -> None:
    """Where the server is, and who vouches for it."""
    group.add_argument(
        "--server",
        type=arguments.server_address,
        default=DEFAULT_SERVER,
        metavar="HOST:PORT",
        help="gRPC; or REST's address, such as http://localhost:8000 (default: %(default)s)",
    )
    group.add_argument(
        "--tls-authority",
        type=Path,
        metavar="PEM",
        help="connect encrypted; who signed the server's certificate, or the certificate itself (of https:// "
        "by default whom this system trusts)",
    )
    group.add_argument(
        "--tls-server-name", metavar="NAME", help="what the certificate was issued for, where not for HOST"
    )
    group.add_argument(
        "--key-file",
        type=arguments.key_file,
        metavar="FILE",
        help="holds the API key that the server asks for (default: the key in $FACEWRIGHT_KEY)",
    )
    # Tried by whoever does not know of the file: refused without being told again, as argparse would.
    group.add_argument("--key", "--api-key", type=arguments.no_key, help=argparse.SUPPRESS)
    group.add_argument(
        "--key-in-clear",
        action="store_true",
        help="send the key to another machine without --tls-authority: over networks that are encrypted "
        "underneath",
    )


def connection_of(parsed: argparse.Namespace, timeout_s: float) -> Connection:
    """How the server is asked.

    Raises:
        FacewrightError: BAD_OPTION when a file is not what it is said to be, or a key would be seen;
            INTERNAL when this process may have too few open files.
    """
    from facewright_client import Connection
    from facewright_client._api_key import key_from
    from facewright_client._rest_address import is_rest

    require_open_files("this command", _LEAST_FILES)
    if parsed.key_file is not None:
        arguments.require_readable(parsed.key_file, "--key-file")
    tls = _tls(parsed)
    try:
        key = key_from(parsed.key_file)
        connection = Connection(timeout_s, tls=tls, key=key, key_in_clear=parsed.key_in_clear)
        connection.check_key_stays_secret(parsed.server)
        if is_rest(parsed.server):
            connection.tls_of_rest(parsed.server)
    except ValueError as error:
        raise FacewrightError(ErrorCode.BAD_OPTION, str(error), "") from None
    return connection


def _tls(parsed: argparse.Namespace) -> Tls | None:
    from facewright_client import Tls

    if parsed.tls_authority is None:
        if parsed.tls_server_name is not None:
            raise FacewrightError(
                ErrorCode.BAD_OPTION, "--tls-server-name without --tls-authority", "give the PEM file, too"
            )
        return None
    arguments.require_readable(parsed.tls_authority, "--tls-authority")
    tls = Tls(parsed.tls_authority, server_name=parsed.tls_server_name)
    try:
        tls.check()
    except ValueError as error:
        raise FacewrightError(
            ErrorCode.BAD_OPTION, str(error), "give a file with BEGIN CERTIFICATE"
        ) from None
    return tls

"""Why a server could not be reached, in words, and whether it is worth to ask again.

gRPC answers UNAVAILABLE to all of it: nothing listens, the name is unknown, a web server answers, a
certificate is refused. Only the first may mend itself, when a server starts again. So the address is tried
once more, by hand, and what answers there is looked at.
"""

from __future__ import annotations

import socket
import ssl
from http.client import BadStatusLine, RemoteDisconnected, UnknownProtocol
from typing import TYPE_CHECKING, Final

from facewright_client._address import Address, address_of, proxy_variable, socket_of
from facewright_client._errors import (
    START_HINT,
    FacewrightClientError,
    ServerUnavailableError,
    WrongServerError,
)

if TYPE_CHECKING:
    from facewright_client._connection import Tls

#: An HTTP/2 connection's first bytes: the preface and an empty SETTINGS frame (RFC 9113, section 3.4).
_PREFACE: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes((0, 0, 0, 4, 0, 0, 0, 0, 0))
_SETTINGS_FRAME: Final = 4
_HTTP_REQUEST: Final = b"GET / HTTP/1.0\r\n\r\n"
_TLS_ALERT: Final = b"\x15\x03"
_TIMEOUT_S: Final = 3.0
_ENCRYPTED_HINT: Final = (
    "connect encrypted: --tls-authority PEM, in Python Connection(tls=Tls(authority=Path(PEM)))"
)
_PLAIN_HINT: Final = "connect without TLS (no --tls-authority), or start the server with --tls-certificate"
_PORT_HINT: Final = "give the server's gRPC port, 8001 by default"
_REST_PORT_HINT: Final = "give the server's REST port, 8000 by default"
_CERTIFICATE_WANTED: Final = "asks for a client's certificate", "connect with Tls(certificate=…, key=…)"
_OTHER_PORT: Final = "speaks HTTP and not gRPC", f"{_PORT_HINT}, or write http:// before REST's address"


def diagnosed(failure: FacewrightClientError, url: str, tls: Tls | None) -> FacewrightClientError:
    """The failure in better words: `WrongServerError` where it would be the same next time.

    Args:
        failure: of a request that was answered UNAVAILABLE.
        url: the server's address, checked.
        tls: as the client connects.
    """
    name = socket_of(url)
    if name is not None:
        return _diagnosed_socket(failure, url, name)
    address = address_of(url)
    if address is None:
        return failure
    proxy = proxy_variable(address)
    if proxy is not None:  # what this machine reaches without it says nothing
        # Not what it names, which may hold a password.
        hint = f"gRPC goes through the proxy that ${proxy} names; $no_proxy takes hosts out"
        return ServerUnavailableError(failure.message, hint)
    try:
        with socket.create_connection((address.host, address.port), _TIMEOUT_S) as connection:
            connection.settimeout(_TIMEOUT_S)
            found = _of_encrypted(connection, address, tls) if tls else _of_plain(connection, address)
    except OSError as error:
        return _unreached(error, url, address.host, failure.hint)
    if found is None:
        return failure
    what, hint = found
    return WrongServerError(f"{url} {what}", hint)


def of_no_connection(
    error: Exception, url: str, address: Address, tls: Tls | None, proxy: str | None
) -> FacewrightClientError:
    """Why a connection of HTTP did not come about.

    Args:
        error: that was raised: OSError, or one of http.client's.
        url: as the server was named.
        address: where it is.
        tls: as the client connects.
        proxy: the variable that names the proxy on the way; None: none.
    """
    if proxy is not None:
        # Its words may be the proxy's; its address, which may hold a password, is in none of them.
        said = f"{url} is not reached through the proxy: {error}"
        return ServerUnavailableError(said, f"${proxy} names the proxy; $no_proxy takes hosts out")
    wrong = of_rest(error, url, address, tls)
    if wrong is not None:
        return wrong
    if isinstance(error, OSError):
        return _unreached(error, url, address.host, START_HINT)
    return ServerUnavailableError(f"{url} cannot be reached: {error}", START_HINT)


def of_rest(error: Exception, url: str, address: Address, tls: Tls | None) -> WrongServerError | None:
    """What is wrong with a server that was asked over HTTP; None where it may only have gone away."""
    found: tuple[str, str] | None = None
    if tls is not None and isinstance(error, ssl.SSLCertVerificationError):
        found = _of_certificate(error, tls.server_name or address.host, tls)
    elif tls is not None and isinstance(error, ssl.SSLError):
        if _asks_for_certificate(error):
            found = _CERTIFICATE_WANTED
        elif _speaks_http(address) or _plain_answer(address, _PREFACE):
            found = "does not answer encrypted requests", "write http://, or start it with --tls-certificate"
    elif tls is None and (isinstance(error, (BadStatusLine, ConnectionResetError))) and _speaks_tls(address):
        found = "answers encrypted requests only", "write https://"
    elif isinstance(error, (BadStatusLine, UnknownProtocol)) and not isinstance(error, RemoteDisconnected):
        found = "does not speak HTTP", _REST_PORT_HINT
    return WrongServerError(f"{url} {found[0]}", found[1]) if found else None


def _unreached(error: OSError, url: str, host: str, hint: str) -> FacewrightClientError:
    """Why no connection came about, by what the system says."""
    if isinstance(error, socket.gaierror):
        if error.errno == socket.EAI_AGAIN:
            return ServerUnavailableError(f"{host} cannot be looked up: {error.strerror}", hint)
        return WrongServerError(f"there is no machine called {host}", "check the server's address")
    if isinstance(error, ConnectionRefusedError):
        return ServerUnavailableError(f"nothing listens at {url}", hint)
    if isinstance(error, TimeoutError):
        return ServerUnavailableError(f"{url} does not answer", hint)
    return ServerUnavailableError(f"{url} cannot be reached: {error.strerror or error}", hint)


def _diagnosed_socket(failure: FacewrightClientError, url: str, name: str) -> FacewrightClientError:
    """The failure in better words, of a server at a Unix socket."""
    try:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(_TIMEOUT_S)
            connection.connect(name)
    except (FileNotFoundError, ConnectionRefusedError):
        return ServerUnavailableError(f"nothing listens at {url}", failure.hint)
    except OSError as error:
        return ServerUnavailableError(f"{url} cannot be reached: {error.strerror or error}", failure.hint)
    return failure


def _of_plain(connection: socket.socket, address: Address) -> tuple[str, str] | None:
    """What is wrong with a server that was asked in plain text, and the mend."""
    answer = _answer(connection, _PREFACE)
    if answer.startswith(_TLS_ALERT) or (not answer and _speaks_tls(address)):
        return "answers encrypted requests only", _ENCRYPTED_HINT
    # Triton's own HTTP hangs up on what it does not know.
    return _of_answer(answer) if answer or not _speaks_http(address) else _OTHER_PORT


def _of_encrypted(connection: socket.socket, address: Address, tls: Tls) -> tuple[str, str] | None:
    """The same of a server that was asked encrypted."""
    name = tls.server_name or address.host
    try:
        with verifying_context(tls, "h2").wrap_socket(connection, server_hostname=name) as encrypted:
            return _of_answer(_answer(encrypted, _PREFACE))
    except ssl.SSLCertVerificationError as error:
        return _of_certificate(error, name, tls)
    except (ssl.SSLError, ConnectionResetError) as error:
        if _asks_for_certificate(error):
            return _CERTIFICATE_WANTED
    if _speaks_http(address):
        return _OTHER_PORT
    if _plain_answer(address, _PREFACE):
        return "does not answer encrypted requests", _PLAIN_HINT
    return None  # it went away, perhaps to start again


def _asks_for_certificate(error: OSError) -> bool:
    return any(words in str(error).upper() for words in ("CERTIFICATE_REQUIRED", "HANDSHAKE_FAILURE"))


def _of_certificate(error: ssl.SSLCertVerificationError, name: str, tls: Tls) -> tuple[str, str]:
    said = error.verify_message.rstrip(".")
    if "expired" in said or "not yet valid" in said:
        return f"has a certificate that is refused: {said}", "renew the server's certificate"
    if "mismatch" in said:
        hint = "connect by a name of the certificate, or give it: --tls-server-name, Tls(server_name=…)"
        return f"has a certificate that was not issued for {name}", hint
    authority = tls.authority or "the system's authorities"
    hint = "give the PEM file of the authority that signed it, or of the certificate itself"
    return f"has a certificate that {authority} did not sign: {said}", hint


def _of_answer(answer: bytes) -> tuple[str, str] | None:
    """What is wrong with a server by its answer to HTTP/2's preface; None where that is HTTP/2 or silence."""
    if not answer or (len(answer) >= 4 and answer[3] == _SETTINGS_FRAME and answer[:2] == b"\0\0"):
        return None
    if answer.startswith((b"HTTP/", b"<!DOCTYPE ")):  # some answer the preface by a page without a status
        return _OTHER_PORT
    return f"does not speak gRPC; it says {answer[:16]!r}", _PORT_HINT


def _answer(connection: socket.socket, words: bytes) -> bytes:
    """The first bytes that a server answers; none where it hangs up.

    Raises:
        TimeoutError: it stays silent.
        ssl.SSLError: it ends the encryption.
    """
    try:
        connection.sendall(words)
        return connection.recv(64)
    except (TimeoutError, ssl.SSLError):
        raise
    except OSError:
        return b""


def _plain_answer(address: Address, words: bytes) -> bytes:
    """The same over a connection of its own."""
    try:
        with socket.create_connection((address.host, address.port), _TIMEOUT_S) as connection:
            connection.settimeout(_TIMEOUT_S)
            return _answer(connection, words)
    except OSError:
        return b""


def _speaks_http(address: Address) -> bool:
    return _plain_answer(address, _HTTP_REQUEST).startswith(b"HTTP/")


def _speaks_tls(address: Address) -> bool:
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    try:
        with socket.create_connection((address.host, address.port), _TIMEOUT_S) as connection:
            context.wrap_socket(connection, server_hostname=address.host).close()
    except OSError:
        return False
    return True


def verifying_context(tls: Tls, protocol: str) -> ssl.SSLContext:
    """As gRPC verifies: a certificate may vouch for itself.

    Args:
        tls: see there.
        protocol: what is spoken, by its name of RFC 7301.
    """
    context = ssl.create_default_context(cafile=tls.authority)
    context.verify_flags |= ssl.VerifyFlags.VERIFY_X509_PARTIAL_CHAIN
    context.verify_flags &= ~ssl.VerifyFlags.VERIFY_X509_STRICT
    context.set_alpn_protocols([protocol])
    if tls.certificate:
        context.load_cert_chain(tls.certificate, tls.key)
    return context

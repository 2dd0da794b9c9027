"""TLS at both doors from one set of PEM files, which may be replaced while the server runs.

gRPC asks for its certificates at each handshake (`grpc.dynamic_ssl_server_credentials`). Python's ``ssl`` has
no such question; an `ssl.SSLContext` that loads other files would for a moment hold a certificate and another
one's key, and never forgets an authority that it once trusted. So each set of files has a context of its own,
and the one that listens hands every handshake to the newest, in the callback for server names, which is also
called where a client names none. Connections that are open stay as they are.
"""

from __future__ import annotations

import logging
import ssl
import stat
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NoReturn

import grpc

from facewright.core.errors import FacewrightError
from facewright.gateway.followed_files import FollowedFiles
from facewright_client.contract import ErrorCode

_LOG: Final = logging.getLogger("facewright.gateway")
#: OpenSSL's X509_V_ERR_ numbers, and what to do.
_VERIFY_ERRORS: Final = {
    9: ("is not valid yet", "check this machine's clock, or give a certificate that is valid now"),
    10: ("has expired", "renew it"),
    26: ("is not for servers (its extended key usage)", "have one issued for serverAuth"),
}


@dataclass(frozen=True)
class CertificateFiles:
    """PEM files.

    Attributes:
        certificate: the server's, followed by those of the authorities between it and a root. Of RSA, P-256
            or P-384: clients on gRPC's C++ core, Python's among them, take no Ed25519 and no P-521.
        key: its private key, not encrypted: nobody is there to type a password at three in the morning.
        client_authority: callers must show a certificate that one of these has issued (mutual TLS); None:
            they need none.
    """

    certificate: Path
    key: Path
    client_authority: Path | None = None


@dataclass(frozen=True)
class _Loaded:
    """What was read at one moment, for each door, and until when its certificate is valid, seconds since
    1970.
    """

    context: ssl.SSLContext
    configuration: grpc.ServerCertificateConfiguration
    valid_until: float


class Encryption:
    """Certificates of both doors.

    Raises:
        FacewrightError: BAD_OPTION: a file is missing or wrong, they do not belong together, or are not
            valid.
    """

    def __init__(self, files: CertificateFiles) -> None:
        self._files = files
        given = (files.certificate, files.key, files.client_authority)
        self._followed = FollowedFiles(path for path in given if path is not None)
        self._followed.changed()
        self._loaded = _load(files)

    @property
    def valid_until(self) -> float:
        """When the certificate that is shown expires, seconds since 1970: to be told before it does."""
        return self._loaded.valid_until

    def reload(self) -> None:
        """Read the files again if they changed (`followed_files.follow`). What is not right is told in the
        log, and the certificates stay as they were; files that are replaced one after the other are taken
        when the last one is there.
        """
        if not self._followed.changed():
            return
        try:
            self._loaded = _load(self._files)
        except FacewrightError as error:
            _LOG.error("certificates stay as they were: %s (%s)", error.message, error.hint)
            return
        until = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(self.valid_until))
        _LOG.info("certificates read again, valid until %s", until)

    def http_context(self) -> ssl.SSLContext:
        """For one HTTP server; always shows the newest certificate."""
        context = _server_context(self._files)

        def choose(handshake: ssl.SSLObject, _name: str | None, _context: ssl.SSLContext) -> None:
            handshake.context = self._loaded.context

        # Typeshed knows sockets here only; asyncio's handshakes are `ssl.SSLObject`.
        context.sni_callback = choose  # type: ignore[assignment]
        return context

    def grpc_credentials(self) -> grpc.ServerCredentials:
        """For one gRPC server, synchronous or not; always shows the newest certificate."""
        shown = self._loaded

        def newer() -> grpc.ServerCertificateConfiguration | None:
            # Called at each handshake, from threads of gRPC's own.
            nonlocal shown
            newest = self._loaded
            if newest is shown:
                return None  # so that gRPC goes on with what it has parsed
            shown = newest
            return newest.configuration

        return grpc.dynamic_ssl_server_credentials(
            shown.configuration, newer, require_client_authentication=self._files.client_authority is not None
        )


def _load(files: CertificateFiles) -> _Loaded:
    certificate, key = _content(files.certificate), _content(files.key)
    authority = _content(files.client_authority) if files.client_authority else None
    if b"ENCRYPTED" in key:
        _refuse(f"the key in {files.key} is encrypted", "openssl pkey -in KEY -out PLAIN takes that off")
    context = _server_context(files)
    try:
        if files.key.stat().st_mode & stat.S_IROTH:
            _LOG.warning("everybody on this machine may read %s; mend: chmod 600 %s", files.key, files.key)
        context.load_cert_chain(files.certificate, files.key, password="")
    except ssl.SSLError as error:
        pair = f"{files.certificate} and {files.key}"
        if error.reason == "KEY_VALUES_MISMATCH":
            _refuse(f"{pair} do not belong together", "give the key that the certificate was made for")
        if error.reason == "EE_KEY_TOO_SMALL":
            _refuse(f"the key in {files.key} is too short for TLS", "make one of P-256, or RSA of 2048 bits")
        _refuse(f"{pair} are no certificate and its key", "give PEM files that begin with -----BEGIN")
    except OSError as error:  # gone since they were read
        _refuse(f"{files.key} cannot be read: {error.strerror}", "give a PEM file that is there")
    if authority is not None:
        _trust(context, authority, f"--tls-client-authority {files.client_authority}")
    configuration = grpc.ssl_server_certificate_configuration([(key, certificate)], authority)
    return _Loaded(context, configuration, _valid_until(context, certificate, files.certificate))


def _server_context(files: CertificateFiles) -> ssl.SSLContext:
    """One without certificates; TLS 1.2 and newer (RFC 9325), 1.3 alone where callers show certificates."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION
    context.set_alpn_protocols(["http/1.1"])
    if files.client_authority is not None:
        context.verify_mode = ssl.CERT_REQUIRED
        # A session that is resumed is not verified again: whom an authority let in that is no longer trusted
        # would come in for hours. TLS 1.3 resumes by tickets only, 1.2 also by what OpenSSL remembers, which
        # Python cannot switch off.
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        context.num_tickets = 0
    return context


def _trust(context: ssl.SSLContext, authority: bytes, place: str) -> None:
    # PEM is ASCII; what people write between the certificates need not be.
    try:
        context.load_verify_locations(cadata=authority.decode("ascii", "ignore"))
    except (ssl.SSLError, ValueError):
        _refuse(f"{place} holds no certificates", "give a PEM file that begins with -----BEGIN CERTIFICATE")


def _valid_until(server: ssl.SSLContext, certificate: bytes, path: Path) -> float:
    """When a certificate expires, by greeting ourselves in memory as a client would that trusts it: what no
    client would take is refused here, and `ssl` reads a certificate's dates only where there was a handshake.
    """
    client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client.check_hostname = False  # by which names the server is reached, it does not know
    client.verify_flags |= ssl.VerifyFlags.VERIFY_X509_PARTIAL_CHAIN
    _trust(client, certificate, str(path))
    to_client, to_server = ssl.MemoryBIO(), ssl.MemoryBIO()
    greeting = client.wrap_bio(to_client, to_server)
    answering = server.wrap_bio(to_server, to_client, server_side=True)
    try:
        for side in (greeting, answering):
            with suppress(ssl.SSLWantReadError):
                side.do_handshake()
        greeting.do_handshake()  # all of it: TLS 1.3 has one round trip
    except ssl.SSLCertVerificationError as error:
        problem, mend = _VERIFY_ERRORS.get(
            error.verify_code, (f"is refused by clients: {error.verify_message}", "have it issued again")
        )
        _refuse(f"the certificate in {path} {problem}", mend)
    except ssl.SSLError as error:
        _refuse(f"no client would take the certificate in {path}: {error.reason}", "have it issued again")
    shown = greeting.getpeercert() or {}
    return float(ssl.cert_time_to_seconds(str(shown["notAfter"])))


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        _refuse(f"{path} cannot be read: {error.strerror}", "give a PEM file that is there")


def _refuse(message: str, hint: str) -> NoReturn:
    raise FacewrightError(ErrorCode.BAD_OPTION, message, hint)

"""TLS at both doors, over real sockets: who is let in, and certificates that are replaced meanwhile."""

from __future__ import annotations

import asyncio
import logging
import shutil
import socket
import ssl
import subprocess
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path

import grpc
import pytest

from facewright.core.errors import FacewrightError
from facewright.gateway.encryption import CertificateFiles, Encryption
from facewright_client.contract import ErrorCode
from tests.support.certificates import Certificate, make_certificate

pytestmark = pytest.mark.skipif(shutil.which("openssl") is None, reason="makes certificates with openssl")

HOST = "127.0.0.1"
#: By an alert of TLS, or by hanging up.
_NOT_LET_IN = (ssl.SSLError, ConnectionError)


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> tuple[Certificate, Certificate, Certificate]:
    """Two of the server, and one of a caller."""
    folders = [tmp_path_factory.mktemp(name) for name in ("first", "second", "caller")]
    first, second, caller = (make_certificate(folder, HOST) for folder in folders)
    return first, second, caller


@dataclass(frozen=True)
class Doors:
    """Two servers that answer everybody who comes in."""

    http: int
    grpc: int

    def http_certificate(self, trusted: Certificate, caller: Certificate | None = None) -> str:
        """Greet the HTTP door; returns the certificate that it shows, PEM.

        Raises:
            OSError, ssl.SSLError: it does not let us in.
        """
        with _come_in(_client(trusted, caller), self.http) as door:
            assert door.selected_alpn_protocol() == "http/1.1"
            return ssl.DER_cert_to_PEM_cert(door.getpeercert(binary_form=True) or b"")

    async def grpc_answers(self, trusted: Certificate, caller: Certificate | None = None) -> bool:
        """Whether the gRPC door shows a certificate that we trust, and lets us in."""
        own = (caller.key.read_bytes(), caller.certificate.read_bytes()) if caller else (None, None)
        credentials = grpc.ssl_channel_credentials(trusted.certificate.read_bytes(), *own)
        async with grpc.aio.secure_channel(f"{HOST}:{self.grpc}", credentials) as channel:
            try:
                return bool(await channel.unary_unary("/any/thing")(b"hello", timeout=20) == b"hello")
            except grpc.aio.AioRpcError as error:
                if error.code() != grpc.StatusCode.UNAVAILABLE:
                    raise
                return False


def _client(trusted: Certificate, caller: Certificate | None = None) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=trusted.certificate)
    context.set_alpn_protocols(["h2", "http/1.1"])
    if caller:
        context.load_cert_chain(caller.certificate, caller.key)
    return context


@contextmanager
def _come_in(
    context: ssl.SSLContext, port: int, earlier: ssl.SSLSession | None = None
) -> Iterator[ssl.SSLSocket]:
    with (
        socket.create_connection((HOST, port), 20) as plain,
        context.wrap_socket(plain, server_hostname=HOST, session=earlier) as door,
    ):
        door.sendall(b"hello")
        # Over TLS 1.3 the server judges a caller's certificate after the greeting.
        if door.recv(5) != b"hello":
            raise ConnectionResetError
        yield door


class _Echo(grpc.GenericRpcHandler):
    def service(self, _details: object) -> grpc.RpcMethodHandler:
        async def answer(request: bytes, _context: grpc.aio.ServicerContext) -> bytes:
            return request

        return grpc.unary_unary_rpc_method_handler(answer)


async def _echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while said := await reader.read(100):
        writer.write(said)
        await writer.drain()
    writer.close()


@asynccontextmanager
async def open_doors(encryption: Encryption) -> AsyncIterator[Doors]:
    http = await asyncio.start_server(_echo, HOST, 0, ssl=encryption.http_context())
    server = grpc.aio.server()
    server.add_generic_rpc_handlers((_Echo(),))
    port = server.add_secure_port(f"{HOST}:0", encryption.grpc_credentials())
    await server.start()
    asyncio.get_running_loop().set_exception_handler(lambda _loop, _context: None)  # refused greetings
    try:
        yield Doors(http.sockets[0].getsockname()[1], port)
    finally:
        http.close()
        await http.wait_closed()
        await server.stop(None)


def installed(folder: Path, shown: Certificate, authority: Certificate | None = None) -> CertificateFiles:
    """Files of a server, which `install` replaces."""
    files = CertificateFiles(
        folder / "server.pem", folder / "server.key", folder / "callers.pem" if authority else None
    )
    install(files.certificate, shown.certificate)
    install(files.key, shown.key)
    if authority and files.client_authority:
        install(files.client_authority, authority.certificate)
    return files


def install(place: Path, source: Path) -> None:
    """As programs do that renew certificates: written beside it, and put in its place."""
    beside = place.with_suffix(".new")
    shutil.copyfile(source, beside)
    beside.chmod(0o600)
    beside.replace(place)


def test_both_doors_show_a_new_certificate_without_a_restart(
    certificates: tuple[Certificate, Certificate, Certificate], tmp_path: Path
) -> None:
    first, second, _ = certificates
    files = installed(tmp_path, first)
    encryption = Encryption(files)

    async def scene() -> None:
        async with open_doors(encryption) as doors:
            reader, writer = await asyncio.open_connection(HOST, doors.http, ssl=_client(first))
            credentials = grpc.ssl_channel_credentials(first.certificate.read_bytes())
            async with grpc.aio.secure_channel(f"{HOST}:{doors.grpc}", credentials) as channel:
                ask = channel.unary_unary("/any/thing")
                assert await ask(b"before", timeout=20) == b"before"
                install(files.certificate, second.certificate)
                install(files.key, second.key)
                shown = await asyncio.to_thread(doors.http_certificate, first)
                assert shown == first.certificate.read_text(), "not before it is told"
                await asyncio.to_thread(encryption.reload)
                for _ in range(2):
                    shown = await asyncio.to_thread(doors.http_certificate, second)
                    assert shown == second.certificate.read_text()
                    assert await doors.grpc_answers(second)
                with pytest.raises(ssl.SSLCertVerificationError):
                    await asyncio.to_thread(doors.http_certificate, first)
                assert not await doors.grpc_answers(first)
                # Whoever was connected notices nothing.
                writer.write(b"still")
                assert await reader.readexactly(5) == b"still"
                assert await ask(b"still", timeout=20) == b"still"
            writer.close()
            await writer.wait_closed()

    asyncio.run(scene())


def test_what_is_broken_when_it_is_read_again_changes_nothing(
    certificates: tuple[Certificate, Certificate, Certificate],
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    first, second, _ = certificates
    files = installed(tmp_path, first)
    encryption = Encryption(files)

    async def scene() -> None:
        async with open_doors(encryption) as doors:
            install(files.certificate, second.certificate)
            encryption.reload()
            encryption.reload()
            (record,) = caplog.records
            assert record.levelno == logging.ERROR
            assert "certificates stay as they were" in record.getMessage()
            assert "do not belong together" in record.getMessage()
            shown = await asyncio.to_thread(doors.http_certificate, first)
            assert shown == first.certificate.read_text()
            assert await doors.grpc_answers(first)
            files.key.unlink()
            encryption.reload()
            assert "cannot be read" in caplog.records[-1].getMessage()
            assert await doors.grpc_answers(first)
            install(files.key, second.key)
            encryption.reload()
            assert "certificates read again, valid until 20" in caplog.records[-1].getMessage()
            assert await doors.grpc_answers(second)

    asyncio.run(scene())
    assert "PRIVATE" not in caplog.text


def test_callers_show_certificates_of_an_authority_that_is_trusted_now(
    certificates: tuple[Certificate, Certificate, Certificate], tmp_path: Path
) -> None:
    server, stranger, caller = certificates
    files = installed(tmp_path, server, authority=caller)
    encryption = Encryption(files)

    async def scene() -> None:
        async with open_doors(encryption) as doors:
            context = _client(server, caller)
            session = await asyncio.to_thread(_session, context, doors.http, None)
            assert await doors.grpc_answers(server, caller)
            for nobody in (None, stranger):
                with pytest.raises(_NOT_LET_IN):
                    await asyncio.to_thread(doors.http_certificate, server, nobody)
                assert not await doors.grpc_answers(server, nobody)
            assert files.client_authority is not None
            install(files.client_authority, stranger.certificate)
            encryption.reload()
            await asyncio.to_thread(doors.http_certificate, server, stranger)
            assert await doors.grpc_answers(server, stranger)
            with pytest.raises(_NOT_LET_IN):
                await asyncio.to_thread(_session, context, doors.http, session)
            assert not await doors.grpc_answers(server, caller)

    asyncio.run(scene())


def _session(context: ssl.SSLContext, port: int, earlier: ssl.SSLSession | None) -> ssl.SSLSession | None:
    """Come in, with what is left of an earlier visit; returns what is left of this one."""
    with _come_in(context, port, earlier) as door:
        return door.session


@pytest.mark.parametrize("authority", [False, True], ids=["anybody", "certified callers"])
def test_old_versions_of_tls_are_not_spoken(
    authority: bool, certificates: tuple[Certificate, Certificate, Certificate], tmp_path: Path
) -> None:
    server, _, caller = certificates
    encryption = Encryption(installed(tmp_path, server, caller if authority else None))
    oldest = ssl.TLSVersion.TLSv1_3 if authority else ssl.TLSVersion.TLSv1_2
    assert encryption.http_context().minimum_version == oldest


def test_it_is_known_until_when_a_certificate_is_valid(
    certificates: tuple[Certificate, Certificate, Certificate], tmp_path: Path
) -> None:
    left = Encryption(installed(tmp_path, certificates[0])).valid_until - time.time()
    assert 86400 < left <= 2 * 86400, "made a moment ago, for two days"


def _expired(files: CertificateFiles) -> None:
    old = make_certificate(files.key.parent, HOST, expired=True)
    install(files.certificate, old.certificate)
    install(files.key, old.key)


def _for_callers(files: CertificateFiles) -> None:
    made = make_certificate(files.key.parent, "caller.example", extensions=["extendedKeyUsage=clientAuth"])
    install(files.certificate, made.certificate)
    install(files.key, made.key)


def _encrypted(files: CertificateFiles) -> None:
    beside = files.key.with_suffix(".plain")
    files.key.replace(beside)
    words = ("openssl", "pkey", "-aes256", "-passout", "pass:secret", "-in", beside, "-out", files.key)
    subprocess.run(words, check=True, capture_output=True)


def _short(files: CertificateFiles) -> None:
    words = ("openssl", "req", "-x509", "-newkey", "rsa:1024", "-nodes", "-subj", "/CN=short")
    subprocess.run([*words, "-keyout", files.key, "-out", files.certificate], check=True, capture_output=True)


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda files: files.certificate.unlink(), "server.pem cannot be read: No such file"),
        (lambda files: files.key.unlink(), "server.key cannot be read: No such file"),
        (lambda files: files.client_authority.unlink(), "callers.pem cannot be read: No such file"),
        (lambda files: files.certificate.write_bytes(b""), "are no certificate and its key"),
        (lambda files: files.key.write_text("no key\n"), "are no certificate and its key"),
        (lambda files: files.client_authority.write_text("nobody\n"), "callers.pem holds no certificates"),
        (lambda files: files.client_authority.write_bytes(b"\xff"), "callers.pem holds no certificates"),
        (_encrypted, "server.key is encrypted"),
        (_expired, "server.pem has expired"),
        (_short, "server.key is too short"),
        (_for_callers, "server.pem is not for servers"),
    ],
)
def test_a_server_does_not_start_with_files_that_no_client_would_take(
    spoil: Callable[[CertificateFiles], object],
    words: str,
    certificates: tuple[Certificate, Certificate, Certificate],
    tmp_path: Path,
) -> None:
    files = installed(tmp_path, certificates[0], certificates[2])
    spoil(files)
    with pytest.raises(FacewrightError, match=words) as refusal:
        Encryption(files)
    assert refusal.value.code == ErrorCode.BAD_OPTION
    assert refusal.value.hint


def test_what_people_write_between_certificates_is_passed_over(
    certificates: tuple[Certificate, Certificate, Certificate], tmp_path: Path
) -> None:
    server, _, caller = certificates
    files = installed(tmp_path, server, caller)
    for path in (files.certificate, files.client_authority):
        assert path is not None
        path.write_text(f"subject=O = Müller\n{path.read_text()}", "utf-8")
    Encryption(files)


def test_a_key_that_everybody_may_read_is_complained_of(
    certificates: tuple[Certificate, Certificate, Certificate],
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    files = installed(tmp_path, certificates[0])
    Encryption(files)
    assert not caplog.records
    files.key.chmod(0o644)
    Encryption(files)
    (record,) = caplog.records
    assert f"everybody on this machine may read {files.key}" in record.getMessage()

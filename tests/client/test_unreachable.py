"""What is told of an address that is no Facewright server's, and how often it is asked."""

from __future__ import annotations

import asyncio
import errno
import os
import shutil
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from facewright_client import (
    AsyncClient,
    Client,
    Connection,
    FacewrightClientError,
    RetryPolicy,
    ServerUnavailableError,
    Tls,
    WrongServerError,
    _diagnosis,
)
from facewright_client._address import address_of, checked_address
from tests.support.certificates import Certificate, make_certificate
from tests.support.scripted_triton import scripted_server

needs_openssl = pytest.mark.skipif(shutil.which("openssl") is None, reason="makes certificates with openssl")


def _failure(url: str, tls: Tls | None = None) -> tuple[FacewrightClientError, int]:
    """The error of a client that would ask three times, and how often it asked again."""
    again: list[FacewrightClientError] = []
    retries = RetryPolicy(attempts=3, first_pause_s=0.01)
    connection = Connection(timeout_s=20.0, retries=retries, tls=tls, on_retry=again.append)
    with Client(url, connection) as client, pytest.raises(FacewrightClientError) as caught:
        client.create(b"photo")
    return caught.value, len(again)


@contextmanager
def _answering(answer: Callable[[bytes], bytes]) -> Iterator[str]:
    """Answers the first bytes of every connection, and hangs up."""
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def serve() -> None:
            while True:
                try:
                    connection, _ = listening.accept()
                except OSError:
                    return
                with connection:
                    connection.settimeout(5.0)
                    try:
                        connection.sendall(answer(connection.recv(1000)))
                    except OSError:
                        continue

        threading.Thread(target=serve, daemon=True).start()
        yield f"127.0.0.1:{listening.getsockname()[1]}"
        listening.shutdown(socket.SHUT_RDWR)


def test_nothing_listens_there_yet() -> None:
    error, again = _failure("127.0.0.1:1")
    assert type(error) is ServerUnavailableError
    assert error.message == "nothing listens at 127.0.0.1:1"
    assert again == 2, "a server may start there"


def test_nothing_listens_at_a_socket(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with socket.socket(socket.AF_UNIX) as bound:
        bound.bind("bound.sock")
        for url in ("unix:none.sock", f"unix://{tmp_path}/none", "unix:bound.sock", "unix-abstract:none"):
            error, again = _failure(url)
            assert (type(error), error.message) == (ServerUnavailableError, f"nothing listens at {url}")
            assert again == 2
    Path("file").touch()
    assert _failure("unix:file")[0].message == "nothing listens at unix:file"


def test_asyncio_tells_the_same() -> None:
    async def call() -> None:
        async with AsyncClient("127.0.0.1:1", Connection(retries=RetryPolicy(attempts=1))) as client:
            with pytest.raises(ServerUnavailableError, match="nothing listens at"):
                await client.create(b"photo")
            with pytest.raises(ServerUnavailableError, match="nothing listens at"):
                await client.statistics()

    asyncio.run(call())


@pytest.mark.parametrize(
    "answer",
    [
        lambda _asked: b"HTTP/1.1 400 Bad Request\r\n\r\n",
        lambda asked: b"HTTP/1.1 404 Not Found\r\n\r\n" if asked.startswith(b"GET") else b"",
        lambda asked: b"HTTP/1.0 200 OK\r\n\r\n" if asked.startswith(b"GET") else b"<!DOCTYPE HTML>\n",
    ],
    ids=["refuses", "hangs up", "page without a status"],
)
@pytest.mark.parametrize("tls", [None, Tls()], ids=["plain", "encrypted"])
def test_a_web_server(answer: Callable[[bytes], bytes], tls: Tls | None) -> None:
    with _answering(answer) as url:
        error, again = _failure(url, tls)
    assert isinstance(error, WrongServerError)
    assert error.message == f"{url} speaks HTTP and not gRPC"
    assert "8001" in error.hint
    assert again == 0


def test_something_else() -> None:
    with _answering(lambda _asked: b"SSH-2.0-OpenSSH_9.2\r\n") as url:
        error, again = _failure(url)
    assert isinstance(error, WrongServerError)
    assert "does not speak gRPC; it says b'SSH-2.0" in error.message
    assert again == 0


def test_a_server_that_hangs_may_be_started_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_diagnosis, "_TIMEOUT_S", 0.1)
    failure = ServerUnavailableError("in gRPC's words", "hint")
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"127.0.0.1:{silent.getsockname()[1]}"
        for tls in (None, Tls()):
            error = _diagnosis.diagnosed(failure, url, tls)
            assert (type(error), error.message, error.hint) == (
                ServerUnavailableError,
                f"{url} does not answer",
                "hint",
            )


def test_a_name_that_nobody_has(monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(*_arguments: object, **_named: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "create_connection", unknown)
    error, again = _failure("nobody.invalid:8001")
    assert isinstance(error, WrongServerError)
    assert error.message == "there is no machine called nobody.invalid"
    assert again == 0


@needs_openssl
def test_encrypted_and_not(tmp_path: Path) -> None:
    made = make_certificate(tmp_path, "127.0.0.1")
    with scripted_server(made.credentials()) as (_, url):
        with Client(url, Connection(tls=Tls(made.certificate))) as client:
            assert client.create(b"photo").glb
        error, again = _failure(url)
        assert isinstance(error, WrongServerError)
        assert error.message == f"{url} answers encrypted requests only"
        assert "--tls-authority" in error.hint
        assert again == 0
    with scripted_server() as (_, url):
        error, again = _failure(url, Tls(made.certificate))
        assert isinstance(error, WrongServerError)
        assert error.message == f"{url} does not answer encrypted requests"
        assert again == 0


@needs_openssl
@pytest.mark.parametrize(
    ("shown", "trusted", "words"),
    [
        (("127.0.0.1", True), ("127.0.0.1", True), "certificate has expired"),
        (("127.0.0.1", False), ("other.example", False), "did not sign"),
        (("other.example", False), ("other.example", False), "was not issued for 127.0.0.1"),
    ],
    ids=["expired", "of somebody else", "for another name"],
)
def test_certificates_that_do_not_hold(
    shown: tuple[str, bool], trusted: tuple[str, bool], words: str, tmp_path: Path
) -> None:
    own = make_certificate(tmp_path, *shown)
    authority: Certificate = own if shown == trusted else make_certificate(tmp_path, *trusted)
    with scripted_server(own.credentials()) as (_, url):
        error, again = _failure(url, Tls(authority.certificate))
    assert isinstance(error, WrongServerError)
    assert words in error.message
    assert error.hint
    assert again == 0


@needs_openssl
def test_files_of_tls_are_read_before_anything_is_sent(tmp_path: Path) -> None:
    made = make_certificate(tmp_path, "127.0.0.1")
    text = tmp_path / "note.txt"
    text.write_text("no certificate")
    for tls in (Tls(text), Tls(made.key), Tls(certificate=text, key=made.key), Tls(key=made.key)):
        with pytest.raises(ValueError, match=r"PEM form|go together"):
            Client("127.0.0.1:1", Connection(tls=tls))
    with pytest.raises(FileNotFoundError):
        Client("127.0.0.1:1", Connection(tls=Tls(tmp_path / "none.pem")))


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("grpc://gpu:8000", r"is a URL; write host and gRPC port, such as gpu:8000, or .* http://gpu:8000$"),
        ("grpc://[::1]:9", r"such as \[::1\]:9, or REST's address, such as http://\[::1\]:8000$"),
        ("grpc://gpu;rm:8000", "such as localhost:8000, or"),
        ("18401", "'18401' has no host; write localhost:18401 for this machine"),
        ("http://gpu;rm:8000", "'http://gpu;rm:8000' names no host; write scheme, host and REST port alone"),
        ("http://", "names no host"),
        ("http://[", "is no address; write scheme, host and REST port alone, such as http://localhost:8000"),
        ("http://gpu:99999", "is no address"),
        ("HTTP://gpu:8000/v1/avatars", "is more than an address; write scheme, host and REST port alone"),
        ("https://gpu?", "is more than an address"),
        ("https://me:secret@gpu:8000", "^the address holds the name of a user; a key is given by"),
        ("gpu", "has no port; gRPC's is 8001 by default: gpu:8001"),
        ("[::1]", r"no port.*\[::1\]:8001"),
        ("::1", r"in brackets: \[::1\]:8001"),
        ("::1:8001", r"in brackets"),
        ("fe80::1%eth0", r"in brackets: \[fe80::1%eth0\]:8001"),
        ("gpu:8001:1", "names no host"),
        (":8001", "has no host; write localhost:8001"),
        ("", "'' is no address; write host:port"),
        (" ", "' ' is no address; write host:port"),
        (None, "None is no address; write 'host:port', such as 'localhost:8001'"),
        (18001, "18001 is no address"),
        (("localhost", 8001), "is no address; write 'host:port'"),
        ("127.1:8001", r"an abbreviated IPv4 address, which gRPC does not read; write 127\.0\.0\.1:8001"),
        ("2130706433:8001", r"write 127\.0\.0\.1:8001"),
        ("0x7f.1:8001", r"write 127\.0\.0\.1:8001"),
        ("dns:///127.1:8001", r"write 127\.0\.0\.1:8001"),
        ("gpu:http", "has no port from 1 to 65535"),
        ("gpu:0", "has no port from 1 to 65535"),
        ("gpu:65536", "has no port from 1 to 65535"),
        ("gpu:8001/v2", "has no port from 1 to 65535"),
        ("my gpu:8001", "names no host"),
        ("gpu\n:8001", "names no host"),
        ("[gpu]:8001", "names no host"),
        ("ipv4:localhost:8001", r"is no address in numbers; write ipv4:127\.0\.0\.1:8001, or a name without"),
        ("ipv4:127.0.0.1", "no address in numbers"),
        ("ipv4:127.0.0.1:99999", "no address in numbers"),
        ("ipv4:127.0.0.1:1,gpu:1", "no address in numbers"),
        ("ipv6:::1:8001", r"no address in numbers; write ipv6:\[::1\]:8001"),
        ("ipv6:[::1]", "no address in numbers"),
        ("dns:///", "is no address"),
        ("dns:///gpu", "has no port"),
        ("dns:gpu:x:1", "names no host"),
        ("unix:", "names no socket; write unix:/path"),
        ("unix://host/path", "names no socket"),
        ("unix-abstract:", "names no socket; write unix-abstract:path"),
        (f"unix:/{'a' * 200}", "is too long for a socket"),
        ("vsock:1:8001", "gRPC knows no vsock: in Python; write host:port"),
        ("vsock:x", "gRPC knows no vsock:"),
        ("passthrough:127.0.0.1:8001", "gRPC knows no passthrough:"),
        ("passthrough:///127.0.0.1:8001", "gRPC knows no passthrough:"),
        ("xds:///gpu", r"needs \$GRPC_XDS_BOOTSTRAP or \$GRPC_XDS_BOOTSTRAP_CONFIG"),
    ],
)
def test_what_is_no_address(url: Any, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        Client(url)


@pytest.mark.parametrize(
    ("url", "loopback"),
    [
        ("localhost:8001", True),
        ("LOCALHOST.:8001", True),
        ("me.localhost:8001", True),
        ("127.3.2.1:8001", True),
        ("[::1]:8001", True),
        ("[::ffff:127.0.0.1]:8001", True),
        ("0.0.0.0:8001", True),
        ("dns:///localhost:8001", True),
        ("ipv4:127.0.0.1:8001", True),
        ("ipv4:///127.0.0.1:8001", True),
        ("ipv6:[::1]:8001", True),
        ("gpu-1.example:8001", False),
        ("localhost.example:8001", False),
        ("10.0.0.1:8001", False),
        ("[fe80::1]:8001", False),
    ],
)
def test_addresses_and_which_are_this_machine(url: str, loopback: bool) -> None:
    address = address_of(checked_address(url))
    assert address is not None
    assert address.loopback is loopback
    assert address.port == 8001
    options = Connection().triton_arguments(url)["channel_args"]
    assert (("grpc.enable_http_proxy", 0) in options) is loopback  # type: ignore[operator]


def test_a_socket_is_left_to_grpc() -> None:
    for url in (
        "unix:/run/facewright.sock",
        "unix:///run/facewright.sock",
        "unix-abstract:facewright",
        "ipv4:127.0.0.1:8001,127.0.0.2:8001",
        "dns://127.0.0.1:53/gpu:8001",
    ):
        assert address_of(checked_address(url)) is None


@pytest.mark.parametrize("kind", ["Client", "AsyncClient"])
def test_an_address_that_only_grpc_finds_wrong(kind: str) -> None:
    """A name server without its port."""
    code = f"""
import asyncio
from facewright_client import *
client = {kind}("dns://127.0.0.1/gpu:8001", Connection(retries=RetryPolicy(attempts=3)))
try:
    made = client.create(b"photo", timeout_s=10.0)
    asyncio.run(made) if "{kind}" == "AsyncClient" else None
except WrongServerError as error:
    print(error.message)
"""
    assert _said_alone(code).startswith("'dns://127.0.0.1/gpu:8001' is no address of a server: ")


@pytest.mark.parametrize("variable", ["http_proxy", "https_proxy", "grpc_proxy", "all_proxy", "HTTP_PROXY"])
def test_no_proxy_stands_between_this_machine_and_itself(
    variable: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, "http://127.0.0.1:9")
    for name in ("no_proxy", "NO_PROXY", "no_grpc_proxy"):
        monkeypatch.delenv(name, raising=False)
    with scripted_server() as (_, url), Client(url) as client:
        assert client.create(b"photo", timeout_s=10.0).glb


def test_a_proxy_to_another_machine_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://me:secret@127.0.0.1:9")
    for name in ("no_proxy", "no_grpc_proxy"):
        monkeypatch.delenv(name, raising=False)
    error, _ = _failure("gpu-1.example:8001")
    assert isinstance(error, ServerUnavailableError)
    assert "through the proxy that $http_proxy names" in error.hint
    assert "secret" not in str(error)


@pytest.mark.parametrize(
    ("environment", "host", "variable"),
    [
        ({"http_proxy": "http://p:9"}, "gpu.example", "http_proxy"),
        ({"http_proxy": "http://p:9", "grpc_proxy": "http://q:9"}, "gpu.example", "grpc_proxy"),
        ({"http_proxy": "http://p:9", "grpc_proxy": ""}, "gpu.example", None),
        ({"http_proxy": "https://p:9"}, "gpu.example", None),
        ({"http_proxy": "HTTP://p:9"}, "gpu.example", "http_proxy"),
        ({"http_proxy": "http://p:9", "no_proxy": "10.0.0.1"}, "10.0.0.1", None),
        ({"http_proxy": "http://p:9", "no_proxy": "a.b , EXAMPLE,"}, "gpu.example", None),
        ({"http_proxy": "http://p:9", "no_proxy": "10.0.0.0/8"}, "10.1.2.3", None),
        ({"http_proxy": "http://p:9", "no_proxy": "10.0.0.0/8"}, "11.1.2.3", "http_proxy"),
        ({"http_proxy": "http://p:9", "no_proxy": "fd00::/8"}, "fd00::1", None),
        ({"http_proxy": "http://p:9", "no_proxy": "10.0.0.0/x,,/"}, "10.1.2.3", "http_proxy"),
        ({"http_proxy": "http://p:9", "no_proxy": "gpu", "no_grpc_proxy": ""}, "gpu", "http_proxy"),
        ({"http_proxy": "http://p:9", "no_proxy": "", "no_grpc_proxy": "gpu"}, "gpu", None),
    ],
)
def test_which_proxy_grpc_takes(
    environment: dict[str, str], host: str, variable: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("grpc_proxy", "https_proxy", "http_proxy", "no_grpc_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)

    def unreachable(*_arguments: object) -> None:
        raise OSError(errno.ENETUNREACH, "Network is unreachable")

    monkeypatch.setattr(socket, "create_connection", unreachable)
    error = _diagnosis.diagnosed(ServerUnavailableError("in gRPC's words"), f"[{host}]:1", None)
    assert ("goes through the proxy" in error.hint) is (variable is not None)
    assert variable is None or f"${variable} names" in error.hint


def test_grpc_itself_says_nothing() -> None:
    """Neither its own lines nor abseil's stand before what is told."""
    code = """
import os, socket, subprocess
from facewright_client import *
with socket.create_server(("127.0.0.1", 0)) as quiet:
    url = f"127.0.0.1:{quiet.getsockname()[1]}"
    quiet.close()
    for tls in (None, Tls()):
        try:
            Client(url, Connection(tls=tls, retries=RetryPolicy(attempts=1))).create(b"photo")
        except ServerUnavailableError:
            subprocess.run(["true"])
try:
    Client("unix-abstract:none", Connection(retries=RetryPolicy(attempts=1))).create(b"photo")
except Exception as error:
    print(type(error).__name__)
assert "GRPC_VERBOSITY" not in os.environ
"""
    _said_alone(code)


def _said_alone(code: str) -> str:
    """What a program prints in which nothing else has set gRPC up; it may say nothing beside that."""
    alone = {name: value for name, value in os.environ.items() if not name.startswith("GRPC_")}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, env=alone
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout

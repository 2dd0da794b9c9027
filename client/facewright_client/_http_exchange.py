"""HTTP requests that end in time, and that another thread can end; by the standard library."""

from __future__ import annotations

import base64
import http.client
import os
import socket
import threading
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from types import TracebackType
from typing import Final
from urllib.parse import unquote, urlsplit

from facewright_client._address import Address, proxy_variable
from facewright_client._connection import Tls
from facewright_client._diagnosis import of_no_connection, of_rest, verifying_context
from facewright_client._errors import (
    START_HINT,
    TIME_HINT,
    CancelledError,
    DeadlineExceededError,
    ServerUnavailableError,
)
from facewright_client._request import Request

#: The longest that a connection may take, seconds; as over gRPC.
_CONNECT_S: Final = 5.0
_PIECE: Final = 1 << 16


@dataclass(frozen=True)
class HttpServer:
    """A server that is asked over HTTP.

    Attributes:
        url: for messages.
        address: where it is.
        tls: encryption; None: plain text.
        headers: that are sent with every request.
    """

    url: str
    address: Address
    tls: Tls | None
    headers: Mapping[str, str]

    def connect(self, timeout_s: float) -> http.client.HTTPConnection:
        """A connection, through the proxy that gRPC would use, too.

        Raises:
            FacewrightClientError: there is none.
        """
        address, variable = self.address, proxy_variable(self.address)
        try:
            if variable is None:
                connection = http.client.HTTPConnection(address.host, address.port, timeout_s)
            else:
                proxy = urlsplit(os.environ[variable])
                connection = http.client.HTTPConnection(proxy.hostname or "", proxy.port or 80, timeout_s)
                connection.set_tunnel(address.host, address.port, _proxy_credentials(proxy.netloc))
            connection.connect()
            if self.tls is not None:
                context = verifying_context(self.tls, "http/1.1")
                name = self.tls.server_name or address.host
                connection.sock = context.wrap_socket(connection.sock, server_hostname=name)
        except (OSError, http.client.HTTPException) as error:
            raise of_no_connection(error, self.url, address, self.tls, variable) from None
        return connection


class Exchange:
    """Requests of one question, one after the other, by one thread; as a context manager it closes its
    connection.

    Args:
        server: that is asked.
        request: its time.
    """

    def __init__(self, server: HttpServer, request: Request) -> None:
        self._server, self._request = server, request
        self._connection: http.client.HTTPConnection | None = None
        self._socket: socket.socket | None = None
        self._left = threading.Event()
        self._why = ""

    def ask(
        self, method: str, path: str, body: bytes | None = None, headers: Mapping[str, str] | None = None
    ) -> http.client.HTTPResponse:
        """Send a request; returns when the answer begins, whatever its status is.

        Raises:
            FacewrightClientError: there is no answer.
        """
        try:
            if self._connection is None or self._connection.sock is None:
                self._connection = self._server.connect(min(self._request.left_s, _CONNECT_S))
                self._socket = self._connection.sock
            self._hasten()
            with suppress(BrokenPipeError, ConnectionResetError):  # it may be refused before it is read
                self._connection.request(method, path, body, {**self._server.headers, **(headers or {})})
            self._hasten()
            return self._connection.getresponse()
        except (OSError, http.client.HTTPException) as error:
            raise self._failure(error) from None

    def pieces(self, answer: http.client.HTTPResponse) -> Iterator[bytes]:
        """An answer's content as it comes.

        Raises:
            FacewrightClientError: it ends before its end.
        """
        try:
            while piece := answer.read1(_PIECE):
                yield piece
                self._hasten()
            if answer.length:
                raise http.client.IncompleteRead(b"", answer.length)
            answer.close()  # so that the connection takes another request
        except (OSError, ValueError, http.client.HTTPException) as error:
            raise self._failure(error) from None

    def content(self, answer: http.client.HTTPResponse) -> bytes:
        """All of it; errors as `pieces`."""
        return b"".join(self.pieces(answer))

    def leave(self, why: str = "the request was cancelled") -> None:
        """Hang up, from whatever thread: what waits in this exchange raises CancelledError, and the server
        stops."""
        self._why = self._why or why
        self._left.set()
        if self._socket is not None:
            with suppress(OSError):  # of encrypted ones, too, the socket beneath, which their reader shares
                socket.socket.shutdown(self._socket, socket.SHUT_RDWR)

    def __enter__(self) -> Exchange:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Hang up, whatever is left unread."""
        if self._connection is not None:
            self._connection.close()

    def _hasten(self) -> None:
        """Let what is read or written next end with the request's time.

        Raises:
            TimeoutError: it is over.
            ConnectionAbortedError: the caller has left.
        """
        if self._left.is_set():
            raise ConnectionAbortedError
        if self._request.is_over:
            raise TimeoutError
        if self._socket is not None:
            self._socket.settimeout(self._request.left_s)

    def _failure(self, error: Exception) -> Exception:
        """What broke a connection that was there."""
        if isinstance(error, http.client.ImproperConnectionState):
            return error  # a fault of ours
        if self._connection is not None:
            self._connection.close()
        if self._left.is_set():
            return CancelledError(self._why)
        if isinstance(error, TimeoutError):
            return DeadlineExceededError("no answer within the time allowed", TIME_HINT)
        wrong = of_rest(error, self._server.url, self._server.address, self._server.tls)
        if wrong is not None:
            return wrong
        return ServerUnavailableError(
            f"the connection to {self._server.url} broke before the answer was there", START_HINT
        )


def _proxy_credentials(netloc: str) -> dict[str, str]:
    user, at, _ = netloc.rpartition("@")
    if not at:
        return {}
    return {"Proxy-Authorization": f"Basic {base64.b64encode(unquote(user).encode()).decode()}"}

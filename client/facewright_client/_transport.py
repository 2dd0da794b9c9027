"""How questions travel: what `Client` and `AsyncClient` ask of gRPC and of REST alike."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Protocol

from facewright_client._connection import Connection
from facewright_client._errors import FacewrightClientError
from facewright_client._refinement import RefinementProgress
from facewright_client._request import Request
from facewright_client._rest_address import is_rest
from facewright_client._wire import Answer, Question

#: What is told on the way to an answer: the name of a stage that begins, or how far a refinement is.
Step = str | RefinementProgress
Told = Callable[[Step], None]


class Transport(Protocol):
    """One way to a server; from several threads. What fails is raised as FacewrightClientError.

    Attributes:
        resumes: whether a refinement that is sent again goes on where it was.
    """

    resumes: bool

    def answer(self, question: Question, request: Request, told: Told | None) -> Answer:
        """Send once, and wait.

        Args:
            question: what is asked.
            request: its time.
            told: called in this thread with each step; where it raises, the server stops. None: of no
                interest.
        """

    def submit(
        self,
        question: Question,
        request: Request,
        answered: Callable[[Answer | None, FacewrightClientError | None], None],
    ) -> Callable[[], object]:
        """Send once, and return at once what stops the server's work; ``answered`` is called in a thread of
        the transport's."""

    def ready(self, pipeline: str) -> bool:
        """Whether a pipeline is served; False where nobody answers."""

    def pipelines(self) -> list[str]:
        """Names of what makes avatars of photos."""

    def statistics(self) -> dict[str, Any]:
        """Triton's."""

    def close(self) -> None:
        """Let go of what is open."""


class AsyncTransport(Protocol):
    """As `Transport`, for the event loop that runs; whoever is cancelled stops the server's work."""

    resumes: bool

    def answer(self, question: Question, request: Request, told: Told | None) -> Awaitable[Answer]:
        """As `Transport.answer`; ``told`` is called in the event loop."""

    def ready(self, pipeline: str) -> Awaitable[bool]:
        """As `Transport.ready`."""

    def pipelines(self) -> Awaitable[list[str]]:
        """As `Transport.pipelines`."""

    def statistics(self) -> Awaitable[dict[str, Any]]:
        """As `Transport.statistics`."""

    def close(self) -> Awaitable[None]:
        """As `Transport.close`."""


def transport_to(url: str, connection: Connection) -> Transport:
    """The way to a server by its address.

    Raises:
        ValueError, OSError: as `Connection.triton_arguments`, or `Connection.tls_of_rest`.
    """
    if is_rest(url):
        from facewright_client._rest_transport import RestTransport

        return RestTransport(url, connection)
    from facewright_client._grpc_transport import GrpcTransport

    return GrpcTransport(url, connection)


def async_transport_to(url: str, connection: Connection) -> AsyncTransport:
    """The same for asyncio."""
    if is_rest(url):
        from facewright_client._rest_transport import AsyncRestTransport

        return AsyncRestTransport(url, connection)
    from facewright_client._grpc_transport import AsyncGrpcTransport

    return AsyncGrpcTransport(url, connection)

"""Questions over REST: avatars by one request, refinements as jobs. docs/calling.md has the protocol."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from functools import partial
from http import HTTPStatus
from http.client import HTTPResponse
from typing import Any, Final, TypeVar

from facewright_client import _refinement, _rest_wire, _wire, contract
from facewright_client._connection import Connection
from facewright_client._errors import (
    RETRYABLE,
    START_HINT,
    BadRequestError,
    CancelledError,
    FacewrightClientError,
    InternalServerError,
    ServerUnavailableError,
    WrongServerError,
    error_from_answer,
    has_wire_form,
)
from facewright_client._http_exchange import Exchange, HttpServer
from facewright_client._request import Request
from facewright_client._rest_address import checked_rest_address
from facewright_client._transport import Told
from facewright_client._wire import Answer, Question

_T = TypeVar("_T")
_JSON: Final = "application/json"
_EVENTS: Final = "text/event-stream"
#: Each waits in a thread for its answer.
_MOST_AT_ONCE: Final = 128
#: Statuses of balancers and proxies whose server is not there.
_AWAY: Final = (502, 503, 504)


class RestTransport:
    """A connection of its own for each question, as HTTP/1.1 has one answer at a time.

    Args:
        url: the server: ``http://host:port`` or ``https://host:port``.
        connection: the client's settings.

    Raises:
        ValueError, OSError: ``url`` is no address, or as `Connection.tls_of_rest`.
    """

    #: A question that is sent again goes on where it was: it is a job under one key.
    resumes = True

    def __init__(self, url: str, connection: Connection) -> None:
        headers = {"User-Agent": "facewright-client"}
        if connection.key is not None:
            headers["Authorization"] = f"Bearer {connection.key}"
        address = checked_rest_address(url)
        self._connection = connection
        self._server = HttpServer(url.rstrip("/"), address, connection.tls_of_rest(url), headers)
        self._open: set[Exchange] = set()
        self._threads: Final = ThreadPoolExecutor(_MOST_AT_ONCE, "facewright-client")

    def answer(self, question: Question, request: Request, told: Told | None) -> Answer:
        """As `Transport.answer`."""
        return self.answered(self.exchange(request), question, request, told)

    def submit(
        self,
        question: Question,
        request: Request,
        answered: Callable[[Answer | None, FacewrightClientError | None], None],
    ) -> Callable[[], object]:
        """As `Transport.submit`."""
        exchange = self.exchange(request)

        def work() -> None:
            try:
                answer = self.answered(exchange, question, request, None)
            except FacewrightClientError as error:
                answered(None, error)
            else:
                answered(answer, None)

        self._threads.submit(work)
        return exchange.leave

    def exchange(self, request: Request) -> Exchange:
        """What a question travels by."""
        return Exchange(self._server, request)

    def answered(self, exchange: Exchange, question: Question, request: Request, told: Told | None) -> Answer:
        """As `answer`, by an exchange that other threads may leave."""
        try:
            with self._kept(exchange):
                if question.final == contract.REFINED_W_PLUS:
                    return self._refined(exchange, question, request, told)
                headers = {**_rest_wire.headers(request), "Accept": _JSON if told is None else _EVENTS}
                reply = exchange.ask(
                    "POST", _rest_wire.avatars_path(question), _rest_wire.file_body(question), headers
                )
                if told is None:
                    return _rest_wire.answer_from(self._members(exchange, reply))
                return self._followed(exchange, reply, told)
        except FacewrightClientError as error:
            raise request.told(error) from error.__cause__

    def in_thread(self, work: Callable[[], _T]) -> asyncio.Future[_T]:
        """Some work, beside the event loop."""
        return asyncio.get_running_loop().run_in_executor(self._threads, work)

    def ready(self, pipeline: str) -> bool:
        """As `Transport.ready`."""
        try:
            return self._get("/v1/health/ready")["ready"] is True and pipeline in self._served()
        except (FacewrightClientError, LookupError):
            return False

    def pipelines(self) -> list[str]:
        """As `Transport.pipelines`."""
        served = self._served()
        return [name for name, row in served.items() if row["rest"] and _wire.makes_avatars(row)]

    def statistics(self) -> dict[str, Any]:
        """As `Transport.statistics`: there are none.

        Raises:
            BadRequestError: always.
        """
        raise BadRequestError("Triton's statistics are not told over REST", "connect to the gRPC port")

    def close(self) -> None:
        """As `Transport.close`."""
        for exchange in list(self._open):
            exchange.leave("the client was closed during the request")
        self._threads.shutdown(wait=False, cancel_futures=True)

    @contextmanager
    def _kept(self, exchange: Exchange) -> Iterator[Exchange]:
        self._open.add(exchange)
        try:
            with exchange:
                yield exchange
        finally:
            self._open.discard(exchange)

    def _refined(self, exchange: Exchange, question: Question, request: Request, told: Told | None) -> Answer:
        """A refinement: a job, which a line that breaks does not end, and whose end does not depend on it.

        Sent again under the same key the question finds the job that it began. Whoever leaves ends it.
        """
        try:
            job, ended = self._begun(exchange, question, request)
        except FacewrightClientError as error:
            if isinstance(error, CancelledError):
                self._forget_begun(question)
            raise
        except BaseException:
            self._forget_begun(question)
            raise
        try:
            if ended is not None:
                answer = _rest_wire.answer_from(ended)
            else:
                reply = exchange.ask("GET", job, None, {"Accept": _EVENTS})
                answer = self._followed(exchange, reply, told)
        except RETRYABLE:
            raise
        except BadRequestError as error:  # what has ended with its server, or is another's, is not there
            raise ServerUnavailableError(f"the refinement was lost: {error.message}", START_HINT) from None
        except BaseException:
            self._forget(job)
            raise
        self._forget(job)
        return answer

    def _begun(
        self, exchange: Exchange, question: Question, request: Request
    ) -> tuple[str, dict[str, Any] | None]:
        """The job of a refinement, new or sent before, and its answer where it has ended."""
        headers = {"Prefer": "respond-async", "Idempotency-Key": f'"{question.key}"', "Accept": _JSON}
        path, body = _rest_wire.refinements_path(question), _rest_wire.start_body(question)
        reply = exchange.ask("POST", path, body, {**_rest_wire.headers(request), **headers})
        members = self._members(exchange, reply)
        if reply.status == HTTPStatus.ACCEPTED:
            return str(reply.headers["Location"]), None
        return str(reply.headers["Content-Location"]).removesuffix("/result"), members

    def _forget_begun(self, question: Question) -> None:
        """Have a job stopped whose place was not heard before its caller left: it is asked for again."""
        request = self._short(question.pipeline)
        with suppress(FacewrightClientError), Exchange(self._server, request) as exchange:
            job, _ = self._begun(exchange, question, request)
            self._forget(job)

    def _forget(self, job: str) -> None:
        """Have a job stopped, and its result kept no longer than it is needed."""
        with (
            suppress(FacewrightClientError),
            Exchange(self._server, self._short("DELETE")) as exchange,
        ):
            exchange.content(exchange.ask("DELETE", job))

    def _followed(self, exchange: Exchange, reply: HTTPResponse, told: Told | None) -> Answer:
        """What comes of events; ``told`` hears of the steps."""
        if reply.status != 200 or reply.headers.get_content_type() != _EVENTS:
            return _rest_wire.answer_from(self._members(exchange, reply))  # it failed before it began
        for name, data in _rest_wire.events(exchange.pieces(reply)):
            if name == "error":
                raise _rest_wire.in_our_words(error_from_answer("INTERNAL", data))
            if name in ("began", "progress"):
                if told is not None:
                    step = json.loads(data)
                    told(step["stage"] if name == "began" else _refinement.progress_of(step))
            else:
                return _rest_wire.answer_from(json.loads(data))
        raise InternalServerError("the events ended without a result", "the server's log has the details")

    def _members(self, exchange: Exchange, reply: HTTPResponse) -> dict[str, Any]:
        """A JSON answer.

        Raises:
            FacewrightClientError: it is a refusal, or comes from something else.
        """
        content = exchange.content(reply)
        if reply.status >= 400:
            raise self._refusal(reply, content)
        try:
            members = json.loads(content)
            if isinstance(members, dict) and reply.headers.get_content_type() == _JSON:
                return members
        except ValueError:
            pass
        raise self._another(reply)

    def _refusal(self, reply: HTTPResponse, content: bytes) -> FacewrightClientError:
        text = content.decode(errors="replace")
        if has_wire_form(text):
            return _rest_wire.in_our_words(error_from_answer("INTERNAL", text))
        if reply.status in _AWAY:  # of a balancer whose server is not there
            return ServerUnavailableError(
                f"{self._server.url} answers {reply.status} {reply.reason}", START_HINT
            )
        return self._another(reply)

    def _another(self, reply: HTTPResponse) -> WrongServerError:
        return WrongServerError(
            f"{self._server.url} answers {reply.status} {reply.reason}, and not as a Facewright server does",
            "check the address; REST's port is 8000 by default",
        )

    def _served(self) -> dict[str, dict[str, Any]]:
        """The pipelines, by name; ``rest``: whether they are to be had here."""
        return {
            row["name"]: {**row, "inputs": row["takes"], "outputs": row["gives"]}
            for row in (self._get("/v1/pipelines").get("pipelines", ()))
        }

    def _get(self, path: str) -> dict[str, Any]:
        """What the server says about itself: not counted, not asked again."""
        request = self._short(path)
        try:
            with self._kept(self.exchange(request)) as exchange:
                return self._members(exchange, exchange.ask("GET", path, None, {"Accept": _JSON}))
        except FacewrightClientError as error:
            raise request.told(error) from None

    def _short(self, what: str) -> Request:
        return Request(self._server.url, self._connection, what, _wire.SHORT_S)


class AsyncRestTransport:
    """As `RestTransport`, whose questions wait in threads of its own."""

    resumes = True

    def __init__(self, url: str, connection: Connection) -> None:
        self._rest = RestTransport(url, connection)

    async def answer(self, question: Question, request: Request, told: Told | None) -> Answer:
        """As `AsyncTransport.answer`."""
        loop = asyncio.get_running_loop()
        steps: asyncio.Queue[Any] = asyncio.Queue()

        def tell(step: object) -> None:
            loop.call_soon_threadsafe(steps.put_nowait, step)

        exchange = self._rest.exchange(request)
        working = self._rest.in_thread(
            partial(self._rest.answered, exchange, question, request, None if told is None else tell)
        )
        working.add_done_callback(lambda _: steps.put_nowait(None))
        # Of whoever leaves nobody hears how it ended.
        working.add_done_callback(lambda done: None if done.cancelled() else done.exception())
        try:
            while (step := await steps.get()) is not None:
                if told is not None:
                    told(step)
            return await working
        finally:
            exchange.leave()

    async def ready(self, pipeline: str) -> bool:
        """As `Transport.ready`."""
        return await self._rest.in_thread(partial(self._rest.ready, pipeline))

    async def pipelines(self) -> list[str]:
        """As `Transport.pipelines`."""
        return await self._rest.in_thread(self._rest.pipelines)

    async def statistics(self) -> dict[str, Any]:
        """As `Transport.statistics`."""
        return self._rest.statistics()

    async def close(self) -> None:
        """As `Transport.close`."""
        self._rest.close()

"""Traces: what a call waited for and which stages worked on it, when, as OpenTelemetry has it.

A caller's ``traceparent`` (W3C Trace Context), a header or gRPC metadata, is the parent: ::

    avatar_twin                 from its arrival in the house to its answer
      wait                      until it is let in and there is a Triton
      send                      to Triton, and once more for each time that it was lost on the way
        find_face               from the stage's first mark of it to the first without it
        …

Stages know nothing of this: their spans are made here, of the marks that they send anyway. Nothing is traced,
and nothing of it is imported, unless the environment names whom to tell (``OTEL_EXPORTER_OTLP_ENDPOINT``, or
``…_TRACES_ENDPOINT``); its other variables are the SDK's.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Final

from facewright.core.errors import FacewrightError
from facewright.core.provenance import Provenance
from facewright.gateway.call import CallTrace
from facewright_client.contract import ErrorCode

if TYPE_CHECKING:
    from opentelemetry.context import Context
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.trace import Span, Tracer

ENDPOINTS: Final = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
_PROTOCOLS: Final = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")
_PROTOCOL: Final = "http/protobuf"
_TOLD_WITHIN_S: Final = 2.0
#: Where the API of OpenTelemetry warns of each ``tracestate`` that is none.
_STRANGERS_LOG: Final = "opentelemetry.trace"


class Tracing:
    """Makes the traces of calls.

    Args:
        provider: what is told of spans; ended with this.
    """

    def __init__(self, provider: TracerProvider) -> None:
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        logging.getLogger(_STRANGERS_LOG).setLevel(logging.ERROR)  # it quotes what strangers send
        self._provider = provider
        self._tracer = provider.get_tracer("facewright.gateway", Provenance().version)
        self._propagator = TraceContextTextMapPropagator()

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> Tracing | None:
        """What the standard variables ask for; None: no traces.

        Raises:
            FacewrightError: BAD_OPTION: there is no such package, or a variable is not what it should be, the
                protocol among them.
        """
        asked = next((name for name in ENDPOINTS if environment.get(name)), None)
        disabled = environment.get("OTEL_SDK_DISABLED", "").lower() == "true"
        if asked is None or disabled or environment.get("OTEL_TRACES_EXPORTER", "otlp") == "none":
            return None
        protocol = next((environment[name] for name in _PROTOCOLS if environment.get(name)), _PROTOCOL)
        if protocol != _PROTOCOL:
            raise FacewrightError(
                ErrorCode.BAD_OPTION,
                f"traces are to go by {protocol[:32]}, and go by {_PROTOCOL} alone",
                f"set {_PROTOCOLS[1]}={_PROTOCOL}, or unset it",
            )
        if not environment[asked].lower().startswith(("http://", "https://")):
            raise FacewrightError(
                ErrorCode.BAD_OPTION, f"{asked} has no scheme", "write it as http://collector:4318"
            )
        try:
            from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
            from opentelemetry.sdk.resources import Resource
            from opentelemetry.sdk.trace import TracerProvider
            from opentelemetry.sdk.trace.export import BatchSpanProcessor
        except ImportError as error:
            raise FacewrightError(
                ErrorCode.BAD_OPTION,
                f"{asked} is set, and {error.name} is not installed",
                "pip install 'facewright[traces]', or unset it",
            ) from None
        named = environment.get("OTEL_SERVICE_NAME", "facewright")
        try:
            resource = Resource.create({"service.name": named, "service.version": Provenance().version})
            provider = TracerProvider(resource=resource, shutdown_on_exit=False)
            provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
        except ValueError as error:
            raise FacewrightError(
                ErrorCode.BAD_OPTION,
                f"one of OpenTelemetry's variables (OTEL_…) is out of range: {error}",
                "mend or unset it",
            ) from None
        return cls(provider)

    def begin(self, pipeline: str, headers: Mapping[str, str]) -> CallTrace:
        """The trace of a call; nothing is told of one that never enters the house.

        Args:
            pipeline: its name.
            headers: or gRPC metadata, by names in small letters.
        """
        names = ("traceparent", "tracestate")
        carrier = {name: value for name in names if (value := headers.get(name)) is not None}
        return _SpansOfCall(self._tracer, pipeline, self._propagator.extract(carrier))

    def close(self) -> None:
        """Tell what was not told yet; a collector that cannot be reached is not waited for long."""
        telling = threading.Thread(target=self._provider.shutdown, daemon=True)
        telling.start()
        telling.join(_TOLD_WITHIN_S)


class _SpansOfCall:
    """As of `CallTrace`."""

    def __init__(self, tracer: Tracer, pipeline: str, parent: Context) -> None:
        self._tracer, self._pipeline, self._parent = tracer, pipeline, parent
        self._stages: dict[str, Span] = {}

    async def __aenter__(self) -> _SpansOfCall:
        from opentelemetry.trace import SpanKind

        attributes = {"facewright.pipeline": self._pipeline}
        self._call = self._tracer.start_span(
            self._pipeline, self._parent, SpanKind.SERVER, attributes=attributes
        )
        self._step = self._child("wait", self._call)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        from opentelemetry.trace import Status, StatusCode

        if error is not None and kind is not GeneratorExit:
            # The code alone: messages may name what a caller sent.
            code = str(error.code) if isinstance(error, FacewrightError) else type(error).__name__
            self._call.set_attribute("error.type", code)
            self._call.set_status(Status(StatusCode.ERROR, code))
        self._end_step()
        self._call.end()

    def sent(self) -> None:
        """As of `CallTrace`."""
        self._end_step()
        self._step = self._child("send", self._call)

    def began(self, stage: str) -> None:
        """As of `CallTrace`."""
        self.finished(stage)
        self._stages[stage] = self._child(stage, self._step)

    def finished(self, stage: str) -> None:
        """As of `CallTrace`."""
        span = self._stages.pop(stage, None)
        if span is not None:
            span.end()

    def _child(self, name: str, parent: Span) -> Span:
        from opentelemetry.trace import set_span_in_context

        return self._tracer.start_span(name, set_span_in_context(parent))

    def _end_step(self) -> None:
        for stage in tuple(self._stages):
            self.finished(stage)
        self._step.end()

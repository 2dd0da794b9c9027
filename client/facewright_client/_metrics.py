"""Prometheus metrics of a client's own requests; needs ``pip install facewright-client[metrics]``."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry


class ClientMetrics:
    """``facewright_client_seconds`` by outcome (ok or a code) and ``facewright_client_retries_total``.

    Args:
        registry: where to register; Prometheus' default when None.

    Raises:
        ImportError: prometheus-client is not installed.
    """

    def __init__(self, registry: CollectorRegistry | None = None) -> None:
        from prometheus_client import REGISTRY, Counter, Histogram

        registry = REGISTRY if registry is None else registry
        self._seconds = Histogram(
            "facewright_client_seconds",
            "Time from sending a photo to its avatar or error, retries included",
            ["pipeline", "outcome"],
            buckets=(0.1, 0.2, 0.3, 0.5, 0.8, 1.2, 2, 4, 8, 16, 32, 64),
            registry=registry,
        )
        self._retries = Counter(
            "facewright_client_retries", "Requests sent again", ["pipeline", "code"], registry=registry
        )

    def finished(self, pipeline: str, outcome: str, seconds: float) -> None:
        """Count a request that ended."""
        self._seconds.labels(pipeline, outcome).observe(seconds)

    def retried(self, pipeline: str, code: str) -> None:
        """Count a request that is sent again after ``code``."""
        self._retries.labels(pipeline, code).inc()

"""A stage's own Prometheus metrics, beside those that Triton keeps for every model."""

from __future__ import annotations

from typing import Final

import triton_python_backend_utils as pb_utils

from facewright_client.contract import ErrorCode

#: Upper edges of the stage time histogram, seconds.
_SECONDS: Final = [0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.4, 0.8, 1.6, 3.2]


class StageMetrics:
    """``facewright_stage_seconds`` (histogram) and ``facewright_failures_total``, by stage and code."""

    def __init__(self, stage: str) -> None:
        # A family must outlive its metrics.
        self._families = (
            pb_utils.MetricFamily(
                name="facewright_stage_seconds",
                description="Time that a stage computed for one request",
                kind=pb_utils.MetricFamily.HISTOGRAM,
            ),
            pb_utils.MetricFamily(
                name="facewright_failures_total",
                description="Requests that a stage answered with an error, by code",
                kind=pb_utils.MetricFamily.COUNTER,
            ),
        )
        seconds, failures = self._families
        self._seconds = seconds.Metric(labels={"stage": stage}, buckets=_SECONDS)
        self._failures = {
            code: failures.Metric(labels={"stage": stage, "code": str(code)}) for code in ErrorCode
        }

    def answered(self, seconds: float) -> None:
        """Count a request that was answered after ``seconds``."""
        self._seconds.observe(seconds)

    def failed(self, code: ErrorCode) -> None:
        """Count a request that was answered with an error."""
        self._failures[code].increment(1)

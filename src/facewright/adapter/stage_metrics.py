"""A stage's own Prometheus metrics, beside those that Triton keeps for every model."""

from __future__ import annotations

from typing import Any, Final

import triton_python_backend_utils as pb_utils

from facewright_client.contract import STAGE_ERRORS, ErrorCode

#: Upper edges of the stage time histogram, times what the stage is expected to take.
_EDGES: Final = (0.0625, 0.125, 0.25, 0.5, 0.75, 1.0, 1.5, 2.0, 4.0, 8.0, 16.0)


class StageMetrics:
    """``facewright_stage_seconds`` (histogram), ``facewright_stage_expected_seconds`` (what alerts measure it
    by) and ``facewright_failures_total``, by stage and code.

    Args:
        stage: its name.
        expected_s: an ordinary request's time in it, seconds.
    """

    def __init__(self, stage: str, expected_s: float) -> None:
        # A family must outlive its metrics.
        self._families = (
            pb_utils.MetricFamily(
                name="facewright_stage_seconds",
                description="Time that a stage computed for one request",
                kind=pb_utils.MetricFamily.HISTOGRAM,
            ),
            pb_utils.MetricFamily(
                name="facewright_stage_expected_seconds",
                description="What an ordinary request takes in a stage on two CPU cores",
                kind=pb_utils.MetricFamily.GAUGE,
            ),
            pb_utils.MetricFamily(
                name="facewright_failures_total",
                description="Requests that a stage answered with an error, by code",
                kind=pb_utils.MetricFamily.COUNTER,
            ),
        )
        seconds, expected, failures = self._families
        self._seconds = seconds.Metric(
            labels={"stage": stage}, buckets=[round(edge * expected_s, 6) for edge in _EDGES]
        )
        self._expected = expected.Metric(labels={"stage": stage})
        self._expected.set(expected_s)
        self._failures: dict[ErrorCode, Any] = {
            code: failures.Metric(labels={"stage": stage, "code": str(code)}) for code in STAGE_ERRORS
        }

    def answered(self, seconds: float) -> None:
        """Count a request that was answered after ``seconds``."""
        self._seconds.observe(seconds)

    def failed(self, code: ErrorCode) -> None:
        """Count a request that was answered with an error."""
        self._failures[code].increment(1)

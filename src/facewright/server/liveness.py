"""Whether a server really answers: Triton says "ready" even when a stage has died, so a photo is sent."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from facewright_client import (
    Client,
    Connection,
    FacewrightClientError,
    InternalServerError,
    OverloadedError,
    RetryPolicy,
    ServerUnavailableError,
)

#: A public-domain portrait (NASA), 256 x 256.
PROBE_PHOTO = Path(__file__).with_name("probe.jpg")


class LivenessProbe:
    """Asks a server for avatars of a portrait that comes with the package.

    Args:
        client: a connection to the server.
        pipeline: what to ask.
    """

    def __init__(self, client: Client, pipeline: str = "avatar_twin") -> None:
        self._client = client
        self._pipeline = pipeline
        self._photo = PROBE_PHOTO.read_bytes()
        self._answered = -1

    @staticmethod
    def connection() -> Connection:
        """For probes: a failure is news, so nothing is retried."""
        return Connection(retries=RetryPolicy(attempts=1))

    def warm_up(self, requests: int, timeout_s: float) -> None:
        """Send ``requests`` at once, so that each instance of each stage has worked before users come.

        Raises:
            FacewrightClientError: a stage fails.
        """

        until = time.monotonic() + timeout_s

        def one(number: int) -> None:
            while True:
                left = max(until - time.monotonic(), 1.0)
                try:
                    self._client.create(self._photo, self._pipeline, preview=number == 0, timeout_s=left)
                    return
                except OverloadedError:  # cold stages are slower than the longest wait may allow
                    if time.monotonic() > until:
                        raise

        with ThreadPoolExecutor(requests) as pool:
            for answer in [pool.submit(one, number) for number in range(requests)]:
                answer.result()

    def alive(self, timeout_s: float) -> bool:
        """Whether users were answered since the last call, or else the probe is now.

        A refusal (overloaded, deadline) is an answer; silence, a lost connection and INTERNAL are not.
        """
        try:
            answered = _answers(self._client.statistics(), self._pipeline)
            if answered == self._answered:
                self._client.create(self._photo, self._pipeline, timeout_s=timeout_s, texture_size=512)
                answered += 1
            self._answered = answered
        except (ServerUnavailableError, InternalServerError):
            return False
        except FacewrightClientError as error:
            return bool(error.stage)
        return True


def _answers(statistics: dict[str, Any], pipeline: str) -> int:
    for model in statistics.get("model_stats", ()):
        if model["name"] == pipeline:
            return int(model.get("inference_stats", {}).get("success", {}).get("count", 0))
    return 0

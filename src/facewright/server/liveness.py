"""Whether a server really answers: Triton says "ready" even when a stage has died, so a photo is sent.

Over HTTP on this machine: whatever encrypts the gRPC port is not in the way.
"""

from __future__ import annotations

import json
import time
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final

from facewright_client import (
    FacewrightClientError,
    InternalServerError,
    OverloadedError,
    ServerUnavailableError,
)
from facewright_client._errors import error_from_answer
from facewright_client.contract import GLB, PHOTO, PREVIEW, REPORT

#: A public-domain portrait (NASA), 256 x 256.
PROBE_PHOTO: Final = Path(__file__).with_name("probe.jpg")


class LivenessProbe:
    """Asks a server for avatars of a portrait that comes with the package.

    Args:
        address: ``host:port`` of Triton's HTTP endpoint.
        pipeline: what to ask.
    """

    def __init__(self, address: str, pipeline: str = "avatar_twin") -> None:
        self._model = f"http://{address}/v2/models/{pipeline}"
        self._photo = PROBE_PHOTO.read_bytes()
        self._answered = -1

    def ready(self) -> bool:
        """Whether Triton says that the pipeline is loaded."""
        try:
            self._call("/ready", timeout_s=5.0)
        except FacewrightClientError:
            return False
        return True

    def warm_up(self, requests: int, timeout_s: float) -> None:
        """Send ``requests`` at once, so that each instance of each stage has worked before users come.

        Raises:
            FacewrightClientError: a stage fails.
        """
        until = time.monotonic() + timeout_s

        def one(number: int) -> None:
            outputs = [GLB.name, REPORT.name, *([PREVIEW.name] if number == 0 else [])]
            while True:
                try:
                    self._create(outputs, {}, max(until - time.monotonic(), 1.0))
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
            answered = self._answers()
        except FacewrightClientError:
            # A busy server may count slowly. Only a photo tells whether it lives.
            answered = self._answered
        try:
            if answered == self._answered:
                self._create([GLB.name], {"texture_size": 512}, timeout_s)
                answered += 1
            self._answered = answered
        except (ServerUnavailableError, InternalServerError):
            return False
        except FacewrightClientError as error:
            return bool(error.stage)
        return True

    def _answers(self) -> int:
        (model,) = json.loads(self._call("/stats", timeout_s=5.0))["model_stats"]
        return int(model["inference_stats"]["success"]["count"])

    def _create(self, outputs: list[str], options: dict[str, Any], timeout_s: float) -> None:
        photo = {
            "name": PHOTO.name,
            "shape": [1, len(self._photo)],
            "datatype": "UINT8",
            "parameters": {"binary_data_size": len(self._photo)},
        }
        wanted = [{"name": name, "parameters": {"binary_data": True}} for name in outputs]
        header = json.dumps({"parameters": options, "inputs": [photo], "outputs": wanted}).encode()
        self._call(
            "/infer", header + self._photo, {"Inference-Header-Content-Length": len(header)}, timeout_s
        )

    def _call(
        self,
        path: str,
        body: bytes | None = None,
        headers: dict[str, Any] | None = None,
        timeout_s: float = 5.0,
    ) -> bytes:
        request = urllib.request.Request(self._model + path, body, headers or {})
        try:
            with _DIRECT.open(request, timeout=timeout_s) as answer:
                content: bytes = answer.read()
                return content
        except urllib.error.HTTPError as error:
            raise error_from_answer("", _said(error.read())) from None
        except OSError as error:
            raise ServerUnavailableError(f"no answer over HTTP: {error}") from None


#: A machine's proxy settings are not for calls to itself.
_DIRECT: Final = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def _said(body: bytes) -> str:
    """The message in Triton's JSON error."""
    try:
        return str(json.loads(body)["error"])
    except (ValueError, KeyError, TypeError):
        return body[:500].decode(errors="replace")

"""Whether a server really answers: Triton says "ready" even when a stage has died, so a photo is sent.

Over HTTP on this machine: whatever encrypts the gRPC port is not in the way.
"""

from __future__ import annotations

import json
import time
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPException
from pathlib import Path
from typing import Any, Final

from facewright.pipelines.stages import Pipeline
from facewright_client import (
    DeadlineExceededError,
    FacewrightClientError,
    OverloadedError,
    ServerUnavailableError,
)
from facewright_client._errors import error_from_answer
from facewright_client.contract import PHOTO, Tensor

#: A public-domain portrait (NASA), 256 x 256.
PROBE_PHOTO: Final = Path(__file__).with_name("probe.jpg")


class LivenessProbe:
    """Asks a server for avatars of a portrait that comes with the package, by every pipeline that takes one.

    Args:
        address: ``host:port`` of Triton's HTTP endpoint.
        served: the pipelines by name.
    """

    def __init__(self, address: str, served: Mapping[str, Pipeline]) -> None:
        self._models = f"http://{address}/v2/models"
        self._photo = PROBE_PHOTO.read_bytes()
        self._served = tuple(served)
        needed = {
            name: [tensor for tensor in row.takes if not tensor.optional] for name, row in served.items()
        }
        self._asked = [row for name, row in served.items() if needed[name] == [PHOTO]]
        self._answered: dict[str, int] = {}

    def ready(self) -> bool:
        """Whether Triton says that every pipeline is loaded."""
        try:
            for name in self._served:
                self._call(f"/{name}/ready", timeout_s=5.0)
        except FacewrightClientError:
            return False
        return True

    def warm_up(self, requests: int, timeout_s: float) -> None:
        """Send ``requests`` at once, so that each instance of each stage has worked before users come.

        Raises:
            FacewrightClientError: a stage fails.
        """
        until = time.monotonic() + timeout_s

        def one(row: Pipeline, number: int) -> None:
            # The first pays for every output, the others for what callers always want.
            outputs = row.gives if number == 0 else row.gives[:2]
            while True:
                try:
                    self._create(row, outputs, {}, max(until - time.monotonic(), 1.0))
                    return
                except OverloadedError:  # cold stages are slower than the longest wait may allow
                    if time.monotonic() > until:
                        raise

        for row in self._asked:
            with ThreadPoolExecutor(requests) as pool:
                for answer in [pool.submit(one, row, number) for number in range(requests)]:
                    answer.result()

    def alive(self, timeout_s: float) -> bool:
        """Whether users of every pipeline were answered since the last call, or else the probe is now.

        A refusal (overloaded, deadline) is an answer; silence, a lost connection and INTERNAL are not.
        """
        return all(self._pipeline_alive(row, timeout_s) for row in self._asked)

    def _pipeline_alive(self, row: Pipeline, timeout_s: float) -> bool:
        before = self._answered.get(row.name, -1)
        try:
            answered = self._answers(row)
        except FacewrightClientError:
            # A busy server may count slowly. Only a photo tells whether it lives.
            answered = before
        try:
            if answered == before:
                self._create(row, row.gives[:1], smallest_options(row), timeout_s)
                answered += 1
            self._answered[row.name] = answered
        except (OverloadedError, DeadlineExceededError) as error:
            return bool(error.stage)  # a stage's own refusal names it; a deadline that passed in silence not
        except FacewrightClientError:
            return False
        return True

    def _answers(self, row: Pipeline) -> int:
        answer = self._call(f"/{row.name}/stats", timeout_s=5.0)
        try:
            (model,) = json.loads(answer)["model_stats"]
            return int(model["inference_stats"]["success"]["count"])
        except (ValueError, LookupError, TypeError) as error:
            raise ServerUnavailableError(f"statistics that are none: {type(error).__name__}") from None

    def _create(
        self, row: Pipeline, outputs: Sequence[Tensor], options: dict[str, Any], timeout_s: float
    ) -> None:
        photo = {
            "name": PHOTO.name,
            "shape": [1, len(self._photo)],
            "datatype": "UINT8",
            "parameters": {"binary_data_size": len(self._photo)},
        }
        wanted = [{"name": tensor.name, "parameters": {"binary_data": True}} for tensor in outputs]
        header = json.dumps({"parameters": options, "inputs": [photo], "outputs": wanted}).encode()
        self._call(
            f"/{row.name}/infer",
            header + self._photo,
            {"Inference-Header-Content-Length": len(header)},
            timeout_s,
        )

    def _call(
        self,
        path: str,
        body: bytes | None = None,
        headers: dict[str, Any] | None = None,
        timeout_s: float = 5.0,
    ) -> bytes:
        request = urllib.request.Request(self._models + path, body, headers or {})
        try:
            with _DIRECT.open(request, timeout=timeout_s) as answer:
                content: bytes = answer.read()
                return content
        except urllib.error.HTTPError as error:
            raise error_from_answer("", _said(error.read())) from None
        except (OSError, HTTPException) as error:  # the latter: Triton died in the middle of its answer
            raise ServerUnavailableError(f"no answer over HTTP: {error}") from None


def smallest_options(row: Pipeline) -> dict[str, Any]:
    """Options that make a pipeline's cheapest answer."""
    sizes = row.options["texture_size"].choices if "texture_size" in row.options else ()
    return {"texture_size": min(sizes)} if sizes else {}


#: A machine's proxy settings are not for calls to itself.
_DIRECT: Final = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def _said(body: bytes) -> str:
    """The message in Triton's JSON error."""
    try:
        return str(json.loads(body)["error"])
    except (ValueError, KeyError, TypeError):
        return body[:500].decode(errors="replace")

"""A stand-in for ``triton_python_backend_utils``, as far as stages use it: tensors of either memory by
DLPack, requests, responses, and metrics. The real one exists inside Triton's stub only.
"""

from __future__ import annotations

import importlib
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest


class Tensor:
    """A named tensor over an array of NumPy or CuPy."""

    def __init__(self, name: str, array: Any) -> None:
        self._name, self.array = name, array

    @classmethod
    def from_dlpack(cls, name: str, capsule: Any) -> Tensor:
        """Over the memory of a capsule of the host's."""
        lender = SimpleNamespace(__dlpack__=lambda **_: capsule, __dlpack_device__=lambda: (1, 0))
        return cls(name, np.from_dlpack(lender))

    def name(self) -> str:
        return self._name

    def is_cpu(self) -> bool:
        return isinstance(self.array, np.ndarray)

    def __dlpack__(self, **options: Any) -> Any:
        return self.array.__dlpack__(**options)

    def __dlpack_device__(self) -> tuple[int, int]:
        device: tuple[int, int] = self.array.__dlpack_device__()
        return device


class TritonError(Exception):
    """What a response carries in the place of tensors."""

    INVALID_ARG, UNAVAILABLE, CANCELLED, INTERNAL = "INVALID_ARG", "UNAVAILABLE", "CANCELLED", "INTERNAL"

    def __init__(self, message: str, code: str) -> None:
        super().__init__(message)
        self.code = code


@dataclass
class InferenceResponse:
    """Tensors, or an error."""

    output_tensors: Sequence[Tensor] = ()
    error: TritonError | None = None

    def arrays(self) -> dict[str, Any]:
        """Without their batch dimension, by name; raises the error."""
        if self.error:
            raise self.error
        return {tensor.name(): tensor.array[0] for tensor in self.output_tensors}


@dataclass
class Request:
    """One request, and what a decoupled model sent for it."""

    inputs: Mapping[str, Any]
    outputs: Sequence[str]
    options: Mapping[str, Any] = field(default_factory=dict)
    sent: list[InferenceResponse] = field(default_factory=list)
    name: str = ""

    def request_id(self) -> str:
        return self.name

    def requested_output_names(self) -> Sequence[str]:
        return self.outputs

    def parameters(self) -> str:
        return json.dumps(self.options)

    def is_cancelled(self) -> bool:
        return False

    def get_response_sender(self) -> Any:
        return SimpleNamespace(send=lambda response, **_flags: self.sent.append(response))


class MetricFamily:
    """Keeps what is observed, by labels."""

    HISTOGRAM, COUNTER, GAUGE = "histogram", "counter", "gauge"

    def __init__(self, name: str, description: str, kind: str) -> None:
        self.observed: list[float] = []

    def Metric(self, labels: Mapping[str, str], buckets: Sequence[float] = ()) -> Any:  # noqa: N802
        keep = self.observed.append
        return SimpleNamespace(observe=keep, increment=keep, set=keep)


def triton_python_backend_utils() -> ModuleType:
    """The module."""
    module = ModuleType("triton_python_backend_utils")
    for part in (Tensor, TritonError, InferenceResponse, MetricFamily):
        setattr(module, part.__name__, part)
    module.TRITONSERVER_RESPONSE_COMPLETE_FINAL = 1  # type: ignore[attr-defined]
    module.Logger = SimpleNamespace(log_error=print)  # type: ignore[attr-defined]

    def get_input_tensor_by_name(request: Request, name: str) -> Tensor | None:
        return Tensor(name, request.inputs[name][None]) if name in request.inputs else None

    module.get_input_tensor_by_name = get_input_tensor_by_name  # type: ignore[attr-defined]
    return module


def load_adapter(monkeypatch: pytest.MonkeyPatch, name: str) -> ModuleType:
    """A module of the adapter that only Triton's stub can import, with this one in its place."""
    for imported in ("facewright.adapter.triton_stage", name):
        monkeypatch.delitem(sys.modules, imported, raising=False)
    monkeypatch.setitem(sys.modules, "triton_python_backend_utils", triton_python_backend_utils())
    return importlib.import_module(name)

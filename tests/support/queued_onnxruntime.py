"""ONNX Runtime's CUDA provider on the simulated device: what `OnnxEngine` asks of it, with the CPU's numbers.

A run is a function of the host that is queued on the stream of the session, where it reads and writes the
device's memory through the CPU provider; one with a graph's number is captured and then launched. Which
layers a GPU has, and what the real provider waits for, is in ``tests/export/test_onnxruntime_cuda.py``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import SimpleNamespace
from typing import Any

import cupy
import numpy as np
import pytest

from facewright.core.onnx_runtime import ort
from facewright.engines import onnx_engine


def use_queued_onnxruntime(monkeypatch: pytest.MonkeyPatch) -> None:
    """`OnnxEngine` finds this in the place of ONNX Runtime, for "cpu" as well."""
    stand_in = SimpleNamespace(
        **{name: value for name, value in vars(ort).items() if not name.startswith("__")},
        __version__=ort.__version__,
    )
    stand_in.get_available_providers = lambda: ["CUDAExecutionProvider", "CPUExecutionProvider"]
    stand_in.InferenceSession = _open
    monkeypatch.setattr(onnx_engine, "ort", stand_in)


def _open(path: str, options: ort.SessionOptions, providers: Sequence[tuple[str, Mapping[str, str]]]) -> Any:
    (provider, provider_options) = providers[0]
    session = ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    return session if provider == "CPUExecutionProvider" else QueuedSession(session, provider_options)


class QueuedBinding:
    """Addresses by tensor; an output without one is allocated when it is computed."""

    def __init__(self, session: ort.InferenceSession) -> None:
        self.on_host = session.io_binding()
        self.has_addresses = True

    def bind_input(self, name: str, device: str, number: int, dtype: Any, shape: Any, address: int) -> None:
        """As ONNX Runtime's."""
        assert (device, number) == ("cuda", 0)
        self.on_host.bind_input(name, "cpu", 0, dtype, shape, _of_the_device(address))

    def bind_output(
        self, name: str, device: str, number: int = 0, dtype: Any = None, shape: Any = None, address: int = 0
    ) -> None:
        """As ONNX Runtime's."""
        assert (device, number) == ("cuda", 0)
        if address:
            self.on_host.bind_output(name, "cpu", 0, dtype, shape, _of_the_device(address))
        else:
            self.on_host.bind_output(name, "cpu")
            self.has_addresses = False

    def get_outputs(self) -> list[Any]:
        """Of what was computed last, on the device."""
        return [_DeviceValue(value.numpy()) for value in self.on_host.get_outputs()]


class _DeviceValue:
    """An ``OrtValue`` in the device's memory."""

    def __init__(self, array: np.ndarray) -> None:
        self._array = cupy.asarray(array)
        cupy.cuda.get_current_stream().synchronize()

    def shape(self) -> list[int]:
        return list(self._array.shape)

    def data_ptr(self) -> int:
        return int(self._array.data.ptr)


def _of_the_device(address: int) -> int:
    attributes = cupy.cuda.runtime.pointerGetAttributes(address)
    assert attributes.type == 2, "ONNX Runtime was given an address that is not the device's"
    return address


class QueuedSession:
    """An ``InferenceSession`` of the CUDA provider.

    Args:
        session: the network on the CPU.
        options: the provider's.
    """

    def __init__(self, session: ort.InferenceSession, options: Mapping[str, str]) -> None:
        self._session = session
        self._captures = options.get("enable_cuda_graph") == "1"
        stream = options.get("user_compute_stream")
        self._stream: Any = (
            cupy.cuda.Stream(non_blocking=True)
            if stream is None
            else cupy.cuda.Stream.from_external(SimpleNamespace(__cuda_stream__=lambda: (0, int(stream))))
        )
        self._graphs: dict[str, Any] = {}

    def __getattr__(self, name: str) -> Any:
        return getattr(self._session, name)

    def get_providers(self) -> list[str]:
        """The simulated one alone."""
        return ["CUDAExecutionProvider"]

    def io_binding(self) -> QueuedBinding:
        """As ONNX Runtime's."""
        return QueuedBinding(self._session)

    def run(self, names: None, fed: dict[str, np.ndarray], options: ort.RunOptions) -> Any:
        """Host arrays in and out: waited for."""
        self._stream.synchronize()
        return self._session.run(names, fed)

    def run_with_iobinding(self, binding: QueuedBinding, options: ort.RunOptions) -> None:
        """Queues a run."""
        graph = options.get_run_config_entry("gpu_graph_id") if self._captures else "-1"
        if graph in self._graphs:
            self._graphs[graph].launch(self._stream)
            return
        self._queue(lambda: self._session.run_with_iobinding(binding.on_host))
        if not binding.has_addresses:
            self._stream.synchronize()
        elif graph != "-1":
            self._stream.synchronize()  # the runs before a capture are waited for
            self._stream.begin_capture()
            self._queue(lambda: self._session.run_with_iobinding(binding.on_host))
            self._graphs[graph] = self._stream.end_capture()
            self._graphs[graph].launch(self._stream)

    def _queue(self, run: Callable[[], None]) -> None:
        # Not the stream's own method: another object may have begun a capture of the same stream.
        cupy.cuda.runtime._launchHostFuncUnmanaged(self._stream.ptr, (lambda _: run(), None))

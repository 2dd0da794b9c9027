"""`TensorRTEngine` on the simulated GPU: its memory, streams and graphs. TensorRT is a stand-in that queues a
network's run on the stream; what the real one takes is in ``tests/export/test_tensorrt_api.py``.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from enum import Enum
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, helper, save_model

from facewright.core.onnx_runtime import ort
from facewright.engines.tensorrt_engine import TensorRTEngine
from facewright.engines.tensorrt_plan import PlanIdentity, plan_name, write_identity
from tests.support.gpu import GPU, IS_REAL, cupy_with_onnxruntime

pytestmark = pytest.mark.skipif(IS_REAL, reason="this machine has a GPU")


class DataType(Enum):
    """Of TensorRT's, what `TensorRTEngine` names."""

    FLOAT, HALF, UINT8, INT32, INT64, BOOL = range(6)


class _Engine:
    """An ``ICudaEngine`` whose plan is an ONNX file; all tensors are ``[?, 3]`` floats."""

    device_memory_size_v2 = 4096

    def __init__(self, network: bytes) -> None:
        self.session = ort.InferenceSession(network, providers=["CPUExecutionProvider"])
        self.inputs = [value.name for value in self.session.get_inputs()]
        self.names = [*self.inputs, *(value.name for value in self.session.get_outputs())]
        self.num_io_tensors = len(self.names)

    def get_tensor_name(self, index: int) -> str:
        return self.names[index]

    def get_tensor_shape(self, name: str) -> tuple[int, int]:
        return (-1, 3)

    def get_tensor_dtype(self, name: str) -> DataType:
        return DataType.FLOAT

    def get_tensor_mode(self, name: str) -> str:
        return "input" if name in self.inputs else "output"

    def get_tensor_profile_shape(self, name: str, profile: int) -> Sequence[tuple[int, int]]:
        return (1, 3), (2, 3), (4, 3)

    def create_execution_context(self, strategy: str) -> _Context:
        assert strategy == "user managed"
        return _Context(self)


class _Context:
    """An ``IExecutionContext``."""

    def __init__(self, engine: _Engine) -> None:
        self._engine = engine
        self._batch = 0
        self._scratch = 0
        self._addresses: dict[str, int] = {}

    def set_device_memory(self, address: int, size: int) -> None:
        assert size == self._engine.device_memory_size_v2
        self._scratch = address

    def set_input_shape(self, name: str, shape: tuple[int, ...]) -> bool:
        self._batch = shape[0]
        return 1 <= shape[0] <= 4

    def get_tensor_shape(self, name: str) -> tuple[int, int]:
        return (self._batch, 3)

    def set_tensor_address(self, name: str, address: int) -> None:
        self._addresses[name] = address

    def execute_async_v3(self, stream: int) -> bool:
        from tests.support.queued_onnxruntime import QueuedSession

        assert self._scratch
        session = QueuedSession(self._engine.session, {"user_compute_stream": str(stream)})
        binding = session.io_binding()
        for name, address in self._addresses.items():
            tie = binding.bind_input if name in self._engine.inputs else binding.bind_output
            tie(name, "cuda", 0, np.float32, (self._batch, 3), address)
        session.run_with_iobinding(binding, ort.RunOptions())
        return True


class _Logger:
    """An ``ILogger``."""

    Severity = SimpleNamespace(WARNING=1)

    def __init__(self, severity: int) -> None:
        self.severity = severity


@pytest.fixture(params=[GPU])
def cupy(monkeypatch: pytest.MonkeyPatch) -> Any:
    tensorrt = SimpleNamespace(
        __version__="11.4.0.106",
        Logger=_Logger,
        Runtime=lambda _logger: SimpleNamespace(deserialize_cuda_engine=_Engine),
        DataType=DataType,
        TensorIOMode=SimpleNamespace(INPUT="input", OUTPUT="output"),
        ExecutionContextAllocationStrategy=SimpleNamespace(USER_MANAGED="user managed"),
    )
    monkeypatch.setitem(sys.modules, "tensorrt", tensorrt)
    return cupy_with_onnxruntime(monkeypatch)


@pytest.fixture
def plan(tmp_path: Path) -> Path:
    """SUM = A + B."""
    a, b, total = (
        helper.make_tensor_value_info(n, TensorProto.FLOAT, ["batch", 3]) for n in ("A", "B", "SUM")
    )
    graph = helper.make_graph([helper.make_node("Add", ["A", "B"], ["SUM"])], "sum", [a, b], [total])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    path = tmp_path / plan_name("9.0")
    save_model(model, str(path))
    write_identity(path, PlanIdentity("sum", "11.4.0.106", "9.0", "ab" * 32, "fp32", (1, 2, 4)))
    return path


def test_runs_on_either_memory(cupy: Any, plan: Path) -> None:
    engine = TensorRTEngine(plan)
    host = {"A": np.full((2, 3), 2, np.float32), "B": np.full((2, 3), 5, np.float32)}
    np.testing.assert_array_equal(engine.run(host)["SUM"], np.full((2, 3), 7))
    on_gpu = {name: cupy.asarray(array)[::-1] for name, array in host.items()}  # not contiguous
    cupy.cuda.Device().synchronize()
    result = engine.run(on_gpu)["SUM"]
    assert isinstance(result, cupy.ndarray)
    np.testing.assert_array_equal(result.get(), np.full((2, 3), 7))
    with pytest.raises(ValueError, match=r"A is \[5, 3\], the plan takes \[1, 3\] to \[4, 3\]"):
        engine.run({name: np.zeros((5, 3), np.float32) for name in "AB"})


@pytest.mark.parametrize("own_stream", [True, False])
def test_bound_buffers_are_computed_by_one_graph(cupy: Any, plan: Path, own_stream: bool) -> None:
    stream = cupy.cuda.Stream(non_blocking=True)
    engine = TensorRTEngine(plan, stream=None if own_stream else stream.ptr)
    bound = []
    for batch in (2, 4, 2):
        buffers = {name: cupy.zeros((batch, 3), cupy.float32) for name in ("A", "B", "SUM")}
        cupy.cuda.Device().synchronize()
        bound.append((engine.bind(buffers), buffers))
    for value in (1, 4):
        for run, buffers in bound:
            with stream:
                buffers["A"][...] = value
                buffers["B"][...] = 10
            if own_stream:
                stream.synchronize()
            run()
        if not own_stream:
            stream.synchronize()
        for _, buffers in bound:
            np.testing.assert_array_equal(
                buffers["SUM"].get(), np.full_like(buffers["SUM"].get(), value + 10)
            )

"""A network in a TensorRT plan: CuPy arrays in, CuPy arrays out, CUDA graphs for buffers that stay.

Not run on hardware yet: what is called here is checked against the real bindings of TensorRT 10.16 and 11.4
(``tests/export/test_tensorrt_api.py`` reads the annotations in this file).
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from facewright.core.arrays import Array
from facewright.core.errors import FacewrightError
from facewright.engines.engine import NamedTensors, TensorSpec
from facewright.engines.tensorrt_plan import compute_capability, content_hash, read_identity, require_fit
from facewright_client.contract import ErrorCode

if TYPE_CHECKING:
    import tensorrt as trt


class TensorRTEngine(NamedTensors):
    """A network in a TensorRT plan, an `Engine` whose arrays are CuPy's.

    `run` allocates its outputs. `bind` captures a CUDA graph, which goes when its result goes; what layers
    need while they run is one piece of memory for all of them, since an engine's runs never overlap. Host
    arrays are accepted by `run` alone, and are copied both ways.

    Args:
        plan: made by ``facewright build`` on a GPU like this one.
        network: the ONNX file that the plan must have been built from; None: not compared.
        stream: a CUDA stream's address, such as ``cupy.cuda.Stream().ptr``: every run is queued on it and the
            host does not wait. None: a stream of the engine's own, waited for.

    Raises:
        FacewrightError: ENGINE_MISMATCH when TensorRT, CuPy or the GPU is missing, or the plan was built for
            another machine, TensorRT or network: with the command that builds it again.
    """

    def __init__(self, plan: Path, network: Path | None = None, stream: int | None = None) -> None:
        identity = read_identity(plan)
        tensorrt, cupy = _import_tensorrt(plan.name)
        content = None if network is None else content_hash(network)
        require_fit(plan, identity, tensorrt.__version__, compute_capability(), content)
        self._logger: trt.Logger = tensorrt.Logger(tensorrt.Logger.Severity.WARNING)
        runtime: trt.Runtime = tensorrt.Runtime(self._logger)
        self._runtime = runtime
        engine: trt.ICudaEngine | None = runtime.deserialize_cuda_engine(plan.read_bytes())
        if engine is None:
            raise FacewrightError(
                ErrorCode.ENGINE_MISMATCH,
                f"TensorRT {tensorrt.__version__} cannot read {plan}; its log on standard error says why",
                "build it on the GPU that serves it: facewright build REPOSITORY",
            )
        self._engine: trt.ICudaEngine = engine
        inputs: dict[str, TensorSpec] = {}
        outputs: dict[str, TensorSpec] = {}
        for index in range(self._engine.num_io_tensors):
            name = self._engine.get_tensor_name(index)
            shape = tuple(None if n < 0 else int(n) for n in self._engine.get_tensor_shape(name))
            spec = TensorSpec(_numpy_type(tensorrt, self._engine.get_tensor_dtype(name)), shape)
            is_input = self._engine.get_tensor_mode(name) == tensorrt.TensorIOMode.INPUT
            (inputs if is_input else outputs)[name] = spec
        # Plans of one GPU have one name, so that the network's is the one to tell.
        super().__init__(f"{identity.network} ({plan.name})", inputs, outputs)
        self._waits = stream is None
        self._stream: Any = (
            cupy.cuda.Stream(non_blocking=True)
            if stream is None
            else cupy.cuda.Stream.from_external(_ForeignStream(stream))
        )
        self._scratch_bytes = int(self._engine.device_memory_size_v2)
        with self._queued():
            self._scratch: Any = cupy.cuda.alloc(self._scratch_bytes)
        self._without_memory = tensorrt.ExecutionContextAllocationStrategy.USER_MANAGED
        self._context: trt.IExecutionContext = self._new_context()
        self._lock = threading.Lock()

    def run(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """See `Engine.run`."""
        import cupy

        self.require_inputs(inputs)
        on_host = all(isinstance(array, np.ndarray) for array in inputs.values())
        with self._lock, self._queued():
            buffers = {name: cupy.ascontiguousarray(cupy.asarray(array)) for name, array in inputs.items()}
            self._set_shapes(self._context, buffers)
            for name, spec in self._outputs.items():
                buffers[name] = cupy.empty(tuple(self._context.get_tensor_shape(name)), spec.dtype)
            self._enqueue(self._context, buffers)
            results = {name: buffers[name] for name in self._outputs}
            if on_host:
                return {name: cupy.asnumpy(array) for name, array in results.items()}
        self._wait()
        return results

    def bind(self, buffers: Mapping[str, Array]) -> Callable[[], None]:
        """See `Engine.bind`."""
        self.require_buffers(buffers)
        for name, array in buffers.items():
            self.address(name, array, "cuda")
        # A context of its own: running another shape through a captured context would invalidate the graph.
        context: trt.IExecutionContext = self._new_context()
        with self._lock, self._queued():
            self._set_shapes(context, buffers)
            self._enqueue(context, buffers)  # what TensorRT defers to the first run may not be captured
            self._stream.synchronize()
            self._stream.begin_capture()
            try:
                self._enqueue(context, buffers)
            finally:
                graph = self._stream.end_capture()
        kept = (context, dict(buffers))  # the graph knows only addresses

        def run() -> None:
            assert kept
            graph.launch(self._stream)
            self._wait()

        return run

    def _new_context(self) -> trt.IExecutionContext:
        context: trt.IExecutionContext = self._engine.create_execution_context(self._without_memory)
        context.set_device_memory(self._scratch.ptr, self._scratch_bytes)
        return context

    def _set_shapes(self, context: trt.IExecutionContext, buffers: Mapping[str, Array]) -> None:
        for name in self._inputs:
            if not context.set_input_shape(name, buffers[name].shape):
                low, _, high = self._engine.get_tensor_profile_shape(name, 0)
                got = list(buffers[name].shape)
                raise ValueError(f"{self._name}: {name} is {got}, the plan takes {list(low)} to {list(high)}")

    def _enqueue(self, context: trt.IExecutionContext, buffers: Mapping[str, Any]) -> None:
        for name, array in buffers.items():
            context.set_tensor_address(name, array.data.ptr)
        if not context.execute_async_v3(self._stream.ptr):
            raise FacewrightError(
                ErrorCode.INTERNAL,
                f"TensorRT could not run {self._name}; its log on standard error says why",
                "restart the server; if it happens again, build the plan again: facewright build REPOSITORY",
            )

    def _queued(self) -> AbstractContextManager[Any]:
        """CuPy queues on the engine's stream inside."""
        stream: AbstractContextManager[Any] = self._stream
        return stream

    def _wait(self) -> None:
        if self._waits:
            self._stream.synchronize()


class _ForeignStream:
    """A stream that somebody else keeps, by CUDA's stream protocol."""

    def __init__(self, address: int) -> None:
        self._address = address

    def __cuda_stream__(self) -> tuple[int, int]:
        """The protocol's version, 0, and the stream's address."""
        return 0, self._address


def _import_tensorrt(plan: str) -> tuple[Any, Any]:
    try:
        import cupy
        import tensorrt
    except ImportError as error:
        raise FacewrightError(
            ErrorCode.ENGINE_MISMATCH,
            f"{plan} needs TensorRT and CuPy, and {error.name} cannot be imported",
            "install them (facewright doctor says how), or choose another profile",
        ) from error
    return tensorrt, cupy


def _numpy_type(tensorrt: Any, kind: trt.DataType) -> np.dtype[Any]:
    types = {
        tensorrt.DataType.FLOAT: np.float32,
        tensorrt.DataType.HALF: np.float16,
        tensorrt.DataType.UINT8: np.uint8,
        tensorrt.DataType.INT32: np.int32,
        tensorrt.DataType.INT64: np.int64,
        tensorrt.DataType.BOOL: np.bool_,
    }
    if kind not in types:
        raise FacewrightError(
            ErrorCode.ENGINE_MISMATCH,
            f"a tensor of the plan has type {kind}, which NumPy does not have",
            "export the network with float32 inputs and outputs (the default) and build it again",
        )
    return np.dtype(types[kind])

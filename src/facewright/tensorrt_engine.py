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

from facewright.engine import Array, TensorSpec
from facewright.errors import FacewrightError
from facewright.tensorrt_plan import compute_capability, read_identity, require_fit
from facewright_client.contract import ErrorCode

if TYPE_CHECKING:
    import tensorrt as trt


class TensorRTEngine:
    """A network in a TensorRT plan, an `Engine` whose arrays are CuPy's.

    `run` allocates its outputs. `bind` captures one CUDA graph for the shapes and addresses of its buffers;
    buffers bound again give the graph that is there. Host arrays are accepted by `run` alone, and are copied
    both ways.

    Args:
        plan: made by ``facewright build`` on a GPU like this one.
        stream: a CUDA stream's address, such as ``cupy.cuda.Stream().ptr``: every run is queued on it and the
            host does not wait. None: a stream of the engine's own, waited for.

    Raises:
        FacewrightError: ENGINE_MISMATCH when TensorRT, CuPy or the GPU is missing, or the plan was built for
            another machine, TensorRT or network: with the command that builds it again.
    """

    def __init__(self, plan: Path, stream: int | None = None) -> None:
        identity = read_identity(plan)
        tensorrt, cupy = _import_tensorrt(plan.name)
        require_fit(plan, identity, tensorrt.__version__, compute_capability())
        self._name = plan.name
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
        self._inputs: dict[str, TensorSpec] = {}
        self._outputs: dict[str, TensorSpec] = {}
        for index in range(self._engine.num_io_tensors):
            name = self._engine.get_tensor_name(index)
            shape = tuple(None if n < 0 else int(n) for n in self._engine.get_tensor_shape(name))
            spec = TensorSpec(_numpy_type(tensorrt, self._engine.get_tensor_dtype(name)), shape)
            is_input = self._engine.get_tensor_mode(name) == tensorrt.TensorIOMode.INPUT
            (self._inputs if is_input else self._outputs)[name] = spec
        self._waits = stream is None
        self._stream: Any = (
            cupy.cuda.Stream(non_blocking=True) if stream is None else cupy.cuda.ExternalStream(stream)
        )
        self._context: trt.IExecutionContext = self._engine.create_execution_context()
        self._lock = threading.Lock()
        self._graphs: dict[tuple[Any, ...], Callable[[], None]] = {}

    @property
    def inputs(self) -> Mapping[str, TensorSpec]:
        """What `run` takes, by name."""
        return self._inputs

    @property
    def outputs(self) -> Mapping[str, TensorSpec]:
        """What `run` gives, by name."""
        return self._outputs

    def run(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """See `Engine.run`."""
        import cupy

        if inputs.keys() != self._inputs.keys():
            raise ValueError(f"{self._name} takes {sorted(self._inputs)}, got {sorted(inputs)}")
        self._require(inputs, self._inputs)
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
        specs = {**self._inputs, **self._outputs}
        if buffers.keys() != specs.keys():
            raise ValueError(f"{self._name} binds {sorted(specs)}, got {sorted(buffers)}")
        self._require(buffers, specs)
        for name, array in buffers.items():
            if isinstance(array, np.ndarray):
                raise ValueError(f"{self._name} runs on cuda, {name} is an array of the cpu")
            if not array.flags.c_contiguous:
                raise ValueError(f"{self._name}: {name} must be C-contiguous, got strides {array.strides}")
        addresses: dict[str, Any] = dict(buffers)
        key = tuple((name, array.shape, array.data.ptr) for name, array in sorted(addresses.items()))
        with self._lock:
            if key not in self._graphs:
                self._graphs[key] = self._capture(dict(buffers))
            return self._graphs[key]

    def _capture(self, buffers: dict[str, Array]) -> Callable[[], None]:
        # A context of its own: running another shape through a captured context would invalidate the graph.
        context: trt.IExecutionContext = self._engine.create_execution_context()
        with self._queued():
            self._set_shapes(context, buffers)
            self._enqueue(context, buffers)  # what TensorRT defers to the first run may not be captured
            self._stream.synchronize()
            self._stream.begin_capture()
            self._enqueue(context, buffers)
            graph = self._stream.end_capture()
        kept = (context, buffers)  # the graph knows only addresses

        def run() -> None:
            assert kept
            graph.launch(self._stream)
            self._wait()

        return run

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

    def _require(self, arrays: Mapping[str, Array], specs: Mapping[str, TensorSpec]) -> None:
        for name, array in arrays.items():
            if not specs[name].accepts(array):
                got = TensorSpec(array.dtype, array.shape)
                raise ValueError(f"{self._name}: {name} must be {specs[name]}, got {got}")

    def _queued(self) -> AbstractContextManager[Any]:
        """CuPy queues on the engine's stream inside."""
        stream: AbstractContextManager[Any] = self._stream
        return stream

    def _wait(self) -> None:
        if self._waits:
            self._stream.synchronize()


def _import_tensorrt(plan: str) -> tuple[Any, Any]:
    try:
        import cupy
        import tensorrt
    except ImportError as error:
        raise FacewrightError(
            ErrorCode.ENGINE_MISMATCH,
            f"{plan} needs TensorRT and CuPy, and {error.name} cannot be imported",
            "install them (tensorrt-cu13 and cupy-cuda13x), or choose the cuda or cpu profile",
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

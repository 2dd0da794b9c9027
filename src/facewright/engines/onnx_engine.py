"""A network in an ONNX file, run by ONNX Runtime on the CPU or through its CUDA provider."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np

from facewright.core.arrays import Array
from facewright.core.assets import BUILD_COMMAND, open_assets_folder
from facewright.core.errors import FacewrightError
from facewright.core.onnx_runtime import ort
from facewright.engines.engine import NamedTensors, TensorSpec
from facewright_client.contract import ErrorCode

#: onnxruntime and onnxruntime-gpu fill the same folder, so that only one of them may be installed; the first
#: is a dependency, which pip brings with the extra.
INSTALL_GPU: Final = (
    "pip install --constraint constraints.txt --editable '.[gpu]' && "
    "pip uninstall --yes onnxruntime onnxruntime-gpu && "
    "pip install --constraint constraints.txt --no-deps onnxruntime-gpu   (in the source tree)"
)

_DTYPES: dict[str, np.dtype[Any]] = {
    "tensor(float)": np.dtype(np.float32),
    "tensor(float16)": np.dtype(np.float16),
    "tensor(double)": np.dtype(np.float64),
    "tensor(uint8)": np.dtype(np.uint8),
    "tensor(int8)": np.dtype(np.int8),
    "tensor(int32)": np.dtype(np.int32),
    "tensor(int64)": np.dtype(np.int64),
    "tensor(bool)": np.dtype(np.bool_),
}
_PROVIDERS = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider"}
#: CUDA graphs of one session: ONNX Runtime frees them only together with it.
_MOST_GRAPHS: Final = 64
#: The run option that names a CUDA graph, and the name of none.
_GRAPH_ID: Final = "gpu_graph_id"
_NO_GRAPH: Final = "-1"
#: Of a file that an owner of weights brought; ours are built again by a command.
_OWNERS_HINT: Final = "export it again with facewright export (docs/export.md), or copy the file again"
_HOST_MEMORY_LOCK: Final = threading.Lock()


class OnnxEngine(NamedTensors):
    """A network in an ONNX file, run by ONNX Runtime on the CPU or, through its CUDA provider, on a GPU.

    `run` takes host arrays on both devices (the CUDA provider copies them) and, on a GPU, CuPy arrays. One
    thread by default: the networks of the default pipeline are small, and a server runs several requests side
    by side instead.

    With a stream, what `bind` gives is one CUDA graph: its first call runs three times (ONNX Runtime
    allocates, then captures), every later one is a launch for which the host does not wait. Bindings of the
    same addresses and shapes share a graph. Nothing but its session frees a graph, so that a session captures
    at most 64; what is bound after them runs layer by layer. No other thread may wait for the GPU or allocate
    on it during a first call: the capture forbids both to the whole process.

    Args:
        path: the ``.onnx`` file.
        device: where it runs.
        threads: CPU threads of one run.
        stream: a CUDA stream's address, such as ``cupy.cuda.Stream().ptr``: every run is queued on it and the
            host does not wait. None: a stream of the engine's own, waited for, and no CUDA graphs.

    Raises:
        FacewrightError: ENGINE_MISMATCH when the device is not available to ONNX Runtime, or the file is not
            a network it can load, or has an input or output of a type that NumPy lacks; with a stream also
            when a layer does not run on the GPU. There is no silent fallback to the CPU.
    """

    def __init__(
        self,
        path: Path,
        device: Literal["cpu", "cuda"] = "cpu",
        threads: int = 1,
        stream: int | None = None,
    ) -> None:
        provider = require_provider(device, path.name)
        session_options = ort.SessionOptions()
        session_options.intra_op_num_threads = threads
        session_options.inter_op_num_threads = 1
        # A spinning worker on a busy machine steals the core that its own next step needs.
        session_options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        session_options.log_severity_level = 3
        if device == "cpu":
            # A session that plans its memory keeps it between runs; one arena serves all sessions in turn.
            session_options.enable_mem_pattern = False
            session_options.add_session_config_entry("session.use_env_allocators", "1")
            with _HOST_MEMORY_LOCK:
                _share_host_memory()
        provider_options = {} if device == "cpu" else _cuda_options(stream)
        try:
            self._session = ort.InferenceSession(
                str(path), session_options, providers=[(provider, provider_options)]
            )
        except Exception as error:  # ONNX Runtime raises a different class for each cause
            if "graph capture" in str(error):
                raise _cannot_be_captured(path, error) from error
            raise FacewrightError(
                ErrorCode.ENGINE_MISMATCH,
                f"ONNX Runtime {ort.__version__} cannot load {path}: {_first_line(error)}",
                f"run: {BUILD_COMMAND}" if path.parent == open_assets_folder() else _OWNERS_HINT,
            ) from error
        self._session.disable_fallback()
        if self._session.get_providers()[0] != provider:
            raise FacewrightError(
                ErrorCode.ENGINE_MISMATCH,
                f"{path.name} was asked to run on {device} but ONNX Runtime chose "
                f"{self._session.get_providers()[0]}",
                "look for a missing CUDA or cuDNN library in ONNX Runtime's log, or choose the cpu profile",
            )
        super().__init__(
            path.name,
            {value.name: _spec(path, value) for value in self._session.get_inputs()},
            {value.name: _spec(path, value) for value in self._session.get_outputs()},
        )
        self._device: Literal["cpu", "cuda"] = device
        self._stream = stream
        self._graph_numbers: dict[tuple[Any, ...], int] = {}
        self._queued = self._run_options(_NO_GRAPH)

    def run(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """See `Engine.run`."""
        self.require_inputs(inputs)
        if not all(isinstance(array, np.ndarray) for array in inputs.values()):
            return self._run_on_device(inputs)
        fed = {name: np.ascontiguousarray(array) for name, array in inputs.items()}
        results = self._session.run(None, fed, self._run_options(_NO_GRAPH, waits=True))
        return dict(zip(self._outputs, results, strict=True))

    def bind(self, buffers: Mapping[str, Array]) -> Callable[[], None]:
        """See `Engine.bind`."""
        self.require_buffers(buffers)
        binding = self._session.io_binding()
        addresses = {name: self.address(name, array, self._device) for name, array in buffers.items()}
        for name, array in buffers.items():
            tie = binding.bind_input if name in self._inputs else binding.bind_output
            tie(name, self._device, 0, array.dtype, array.shape, addresses[name])
        kept = dict(buffers)  # ONNX Runtime knows only their addresses
        options = self._run_options(self._graph_number(buffers, addresses))
        bound_on = threading.get_ident()

        def run() -> None:
            assert kept
            # ONNX Runtime keeps a session's graphs for each thread, and those of a thread that has ended too.
            here = threading.get_ident() == bound_on
            self._session.run_with_iobinding(binding, options if here else self._queued)

        return run

    def _run_on_device(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        binding = self._session.io_binding()
        fed = {name: array if array.flags.c_contiguous else array.copy() for name, array in inputs.items()}
        for name, array in fed.items():
            address = self.address(name, array, self._device)
            binding.bind_input(name, self._device, 0, array.dtype, array.shape, address)
        for name in self._outputs:
            binding.bind_output(name, self._device)
        self._session.run_with_iobinding(binding, self._queued)
        return {
            name: _cupy_view(value, self._outputs[name].dtype)
            for name, value in zip(self._outputs, binding.get_outputs(), strict=True)
        }

    def _graph_number(self, buffers: Mapping[str, Array], addresses: Mapping[str, int]) -> str:
        """The CUDA graph of these shapes and addresses, by which ONNX Runtime finds it again."""
        if self._stream is None:
            return _NO_GRAPH
        key = tuple((name, buffers[name].shape, addresses[name]) for name in sorted(buffers))
        if key not in self._graph_numbers:
            if len(self._graph_numbers) == _MOST_GRAPHS:
                return _NO_GRAPH
            self._graph_numbers[key] = 1 + len(self._graph_numbers)
        return str(self._graph_numbers[key])

    def _run_options(self, graph: str, waits: bool = False) -> ort.RunOptions:
        options = ort.RunOptions()
        if self._stream is not None:
            # Without a number a run would be captured as graph 0, with buffers that it does not keep.
            options.add_run_config_entry(_GRAPH_ID, graph)
            options.add_run_config_entry("disable_synchronize_execution_providers", "0" if waits else "1")
        return options


def require_provider(device: Literal["cpu", "cuda"], what: str) -> str:
    """The name of ONNX Runtime's provider for a device.

    Args:
        device: where ``what`` is to run.
        what: for the message.

    Raises:
        FacewrightError: ENGINE_MISMATCH when ONNX Runtime has none.
    """
    provider, available = _PROVIDERS[device], ort.get_available_providers()
    if provider not in available:
        raise FacewrightError(
            ErrorCode.ENGINE_MISMATCH,
            f"{what} is to run on {device}, but ONNX Runtime {ort.__version__} has only "
            f"{', '.join(available)}",
            f"choose the cpu profile, or on a machine with an NVIDIA driver: {INSTALL_GPU}",
        )
    return provider


@cache
def _share_host_memory() -> None:
    """Once in a process: the arena that intermediate results of all its sessions come from.

    A later registration replaces an earlier one, the embedding process's own too; sessions that are open keep
    the arena they have. So it is done once (`cache`), or sessions would not share; and under a lock, because
    `cache` lets two threads that come at once both call.
    """
    unlimited, extended_by_what_is_asked, default = 0, 1, -1
    arena = ort.OrtArenaCfg(unlimited, extended_by_what_is_asked, default, default)
    kind = ort.OrtAllocatorType.ORT_ARENA_ALLOCATOR
    ort.create_and_register_allocator(ort.OrtMemoryInfo("Cpu", kind, 0, ort.OrtMemType.DEFAULT), arena)


def _cuda_options(stream: int | None) -> dict[str, str]:
    """Options of the CUDA provider. Convolution algorithms by rule, not by timing them: results repeat.

    The rules of its CUDA graphs that this file keeps are in "CUDA Graphs (Preview)" of ONNX Runtime's CUDA
    provider and in its source (``cuda_graph.cc``, ``inference_session.cc``): every layer on the GPU but those
    that compute shapes, inputs and outputs bound to the addresses of the capture, one graph for each number
    and thread, captured after two runs. That a launch is not waited for came with pull request 28686.
    """
    options = {"cudnn_conv_algo_search": "HEURISTIC"}
    if stream is None:
        return options
    return {**options, "user_compute_stream": str(stream), "enable_cuda_graph": "1"}


def _cannot_be_captured(path: Path, error: Exception) -> FacewrightError:
    """What to say of a network that ONNX Runtime does not run on the GPU alone."""
    options = ort.SessionOptions()
    options.log_severity_level = 3
    options.add_session_config_entry("session.record_ep_graph_assignment_info", "1")
    session = ort.InferenceSession(str(path), options, providers=[(_PROVIDERS["cuda"], _cuda_options(None))])
    elsewhere = {
        node.op_type
        for part in session.get_provider_graph_assignment_info()
        if part.ep_name != _PROVIDERS["cuda"]
        for node in part.get_nodes()
    }
    return FacewrightError(
        ErrorCode.ENGINE_MISMATCH,
        f"{path.name} cannot be one CUDA graph ({_first_line(error)}); on the CPU it would run "
        f"{', '.join(sorted(elsewhere)) or 'none of its layers'}",
        "export it without those layers (what only computes shapes may stay), or choose the cpu profile",
    )


def _cupy_view(value: Any, dtype: np.dtype[Any]) -> Array:
    """A CuPy array over the GPU memory of an ``OrtValue``, which it keeps alive."""
    import cupy

    shape = tuple(value.shape())
    size = int(np.prod(shape, dtype=np.int64)) * dtype.itemsize
    memory = cupy.cuda.UnownedMemory(value.data_ptr(), size, owner=value)
    view: Array = cupy.ndarray(shape, dtype, cupy.cuda.MemoryPointer(memory, 0))
    return view


def _spec(path: Path, value: Any) -> TensorSpec:
    """A tensor at the border of the network.

    Raises:
        FacewrightError: ENGINE_MISMATCH for a type that NumPy has no array for, such as bfloat16.
    """
    if value.type not in _DTYPES:
        raise FacewrightError(
            ErrorCode.ENGINE_MISMATCH,
            f"{path}: {value.name} is a {value.type}, and inputs and outputs are one of {', '.join(_DTYPES)}",
            "export it with float32 inputs and outputs; inside, any type will do",
        )
    shape = tuple(n if isinstance(n, int) else None for n in value.shape)
    return TensorSpec(_DTYPES[value.type], shape)


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:200]

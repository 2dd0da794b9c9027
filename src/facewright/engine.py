"""What runs a network: named arrays in, named arrays out."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
import numpy.typing as npt
import onnxruntime as ort

from facewright.errors import FacewrightError
from facewright_client.contract import ErrorCode

Array = npt.NDArray[Any]

_DTYPES: dict[str, np.dtype[Any]] = {
    "tensor(float)": np.dtype(np.float32),
    "tensor(float16)": np.dtype(np.float16),
    "tensor(uint8)": np.dtype(np.uint8),
    "tensor(int32)": np.dtype(np.int32),
    "tensor(int64)": np.dtype(np.int64),
    "tensor(bool)": np.dtype(np.bool_),
}
_PROVIDERS = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider"}


@dataclass(frozen=True)
class TensorSpec:
    """A tensor of a network: dtype and shape, where None stands for a dimension free at run time."""

    dtype: np.dtype[Any]
    shape: tuple[int | None, ...]

    def accepts(self, array: Array) -> bool:
        """Whether ``array`` has this dtype and a shape that fits."""
        return (
            array.dtype == self.dtype
            and array.ndim == len(self.shape)
            and all(want in (None, have) for want, have in zip(self.shape, array.shape, strict=True))
        )

    def __str__(self) -> str:
        return f"{self.dtype.name}[{', '.join('?' if n is None else str(n) for n in self.shape)}]"


class Engine(Protocol):
    """Runs one network. Implementations may be called from several threads."""

    @property
    def inputs(self) -> Mapping[str, TensorSpec]:
        """What `run` takes, by name."""

    @property
    def outputs(self) -> Mapping[str, TensorSpec]:
        """What `run` gives, by name."""

    def run(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """Run the network once.

        Args:
            inputs: one array for each name in `inputs`, of its dtype and shape.

        Returns:
            One new array for each name in `outputs`, where the inputs are: host in, host out; CuPy arrays
            in, CuPy arrays out, for an engine on a GPU.

        Raises:
            ValueError: an input is missing, unknown, has another dtype or shape, or is on another device.
        """

    def bind(self, buffers: Mapping[str, Array]) -> Callable[[], None]:
        """Tie every input and every output to memory of the caller's, for runs without copies.

        Args:
            buffers: one C-contiguous array for each name in `inputs` and in `outputs`, on the engine's
                device: NumPy for the CPU, CuPy for a GPU. The result keeps them alive.

        Returns:
            Each call runs the network once: it reads the inputs' buffers and overwrites the outputs'.

        Raises:
            ValueError: a name is missing or unknown, or a buffer has another dtype or shape, is not
                contiguous, or is on another device.
        """


class OnnxEngine:
    """A network in an ONNX file, run by ONNX Runtime on the CPU or, through its CUDA provider, on a GPU.

    `run` takes host arrays on both devices (the CUDA provider copies them) and, on a GPU, CuPy arrays. One
    thread by default: the networks of the default pipeline are small, and a server runs several requests side
    by side instead.

    Args:
        path: the ``.onnx`` file.
        device: where it runs.
        threads: CPU threads of one run.
        stream: a CUDA stream's address, such as ``cupy.cuda.Stream().ptr``: every run is queued on it and the
            host does not wait. None: a stream of the engine's own, waited for.

    Raises:
        FacewrightError: ENGINE_MISMATCH when the device is not available to ONNX Runtime, or the file is not
            a network it can load. There is no silent fallback to the CPU.
    """

    def __init__(
        self,
        path: Path,
        device: Literal["cpu", "cuda"] = "cpu",
        threads: int = 1,
        stream: int | None = None,
    ) -> None:
        provider = _PROVIDERS[device]
        available = ort.get_available_providers()
        if provider not in available:
            raise FacewrightError(
                ErrorCode.ENGINE_MISMATCH,
                f"{path.name} is to run on {device}, but ONNX Runtime {ort.__version__} has only "
                f"{', '.join(available)}",
                "install onnxruntime-gpu on a machine with an NVIDIA driver, or choose the cpu profile",
            )
        session_options = ort.SessionOptions()
        session_options.intra_op_num_threads = threads
        session_options.inter_op_num_threads = 1
        # A spinning worker on a busy machine steals the core that its own next step needs.
        session_options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        session_options.log_severity_level = 3
        provider_options = {} if device == "cpu" else _cuda_options(stream)
        try:
            self._session = ort.InferenceSession(
                str(path), session_options, providers=[(provider, provider_options)]
            )
        except Exception as error:  # ONNX Runtime raises a different class for each cause
            raise FacewrightError(
                ErrorCode.ENGINE_MISMATCH,
                f"ONNX Runtime {ort.__version__} cannot load {path}: {_first_line(error)}",
                "rebuild it with: python -m facewright_export.open_assets",
            ) from error
        self._session.disable_fallback()
        if self._session.get_providers()[0] != provider:
            raise FacewrightError(
                ErrorCode.ENGINE_MISMATCH,
                f"{path.name} was asked to run on {device} but ONNX Runtime chose "
                f"{self._session.get_providers()[0]}",
                "look for a missing CUDA or cuDNN library in ONNX Runtime's log, or choose the cpu profile",
            )
        self._inputs = {value.name: _spec(value) for value in self._session.get_inputs()}
        self._outputs = {value.name: _spec(value) for value in self._session.get_outputs()}
        self._name = path.name
        self._device = device
        self._run_options = ort.RunOptions()
        if stream is not None:
            self._run_options.add_run_config_entry("disable_synchronize_execution_providers", "1")

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
        if inputs.keys() != self._inputs.keys():
            raise ValueError(f"{self._name} takes {sorted(self._inputs)}, got {sorted(inputs)}")
        for name, array in inputs.items():
            if not self._inputs[name].accepts(array):
                got = TensorSpec(array.dtype, array.shape)
                raise ValueError(f"{self._name}: input {name} must be {self._inputs[name]}, got {got}")
        if not all(isinstance(array, np.ndarray) for array in inputs.values()):
            return self._run_on_device(inputs)
        fed = {name: np.ascontiguousarray(array) for name, array in inputs.items()}
        results = self._session.run(None, fed)
        return dict(zip(self._outputs, results, strict=True))

    def bind(self, buffers: Mapping[str, Array]) -> Callable[[], None]:
        """See `Engine.bind`."""
        specs = {**self._inputs, **self._outputs}
        if buffers.keys() != specs.keys():
            raise ValueError(f"{self._name} binds {sorted(specs)}, got {sorted(buffers)}")
        binding = self._session.io_binding()
        for name, array in buffers.items():
            if not (specs[name].accepts(array) and array.flags.c_contiguous):
                got = f"{TensorSpec(array.dtype, array.shape)} with strides {array.strides}"
                raise ValueError(f"{self._name}: {name} must be C-contiguous {specs[name]}, got {got}")
            tie = binding.bind_input if name in self._inputs else binding.bind_output
            tie(name, self._device, 0, array.dtype, array.shape, self._address(name, array))
        kept = dict(buffers)  # ONNX Runtime knows only their addresses

        def run() -> None:
            assert kept
            self._session.run_with_iobinding(binding, self._run_options)

        return run

    def _run_on_device(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        binding = self._session.io_binding()
        fed = {name: array if array.flags.c_contiguous else array.copy() for name, array in inputs.items()}
        for name, array in fed.items():
            address = self._address(name, array)
            binding.bind_input(name, self._device, 0, array.dtype, array.shape, address)
        for name in self._outputs:
            binding.bind_output(name, self._device)
        self._session.run_with_iobinding(binding, self._run_options)
        return {
            name: _cupy_view(value, self._outputs[name].dtype)
            for name, value in zip(self._outputs, binding.get_outputs(), strict=True)
        }

    def _address(self, name: str, array: Array) -> int:
        """Where the array's memory begins, if it is this engine's device's."""
        on = "cpu" if isinstance(array, np.ndarray) else "cuda"
        if on != self._device:
            raise ValueError(f"{self._name} runs on {self._device}, {name} is an array of the {on}")
        return int(array.ctypes.data if on == "cpu" else array.data.ptr)  # type: ignore[attr-defined]


def _cuda_options(stream: int | None) -> dict[str, str]:
    """Options of the CUDA provider. Convolution algorithms by rule, not by timing them: results repeat."""
    options = {"cudnn_conv_algo_search": "HEURISTIC"}
    return options if stream is None else {**options, "user_compute_stream": str(stream)}


def _cupy_view(value: Any, dtype: np.dtype[Any]) -> Array:
    """A CuPy array over the GPU memory of an ``OrtValue``, which it keeps alive."""
    import cupy

    shape = tuple(value.shape())
    size = int(np.prod(shape, dtype=np.int64)) * dtype.itemsize
    memory = cupy.cuda.UnownedMemory(value.data_ptr(), size, owner=value)
    view: Array = cupy.ndarray(shape, dtype, cupy.cuda.MemoryPointer(memory, 0))
    return view


def _spec(value: Any) -> TensorSpec:
    shape = tuple(n if isinstance(n, int) else None for n in value.shape)
    return TensorSpec(_DTYPES[value.type], shape)


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:200]

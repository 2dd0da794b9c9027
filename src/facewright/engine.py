"""What runs a network: named arrays in, named arrays out."""

from __future__ import annotations

from collections.abc import Mapping
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
            One new array for each name in `outputs`, where the inputs are: host in, host out.

        Raises:
            ValueError: an input is missing, unknown, or has another dtype or shape.
        """


class OnnxEngine:
    """A network in an ONNX file, run by ONNX Runtime on the CPU or, through its CUDA provider, on a GPU.

    Arrays are NumPy on the host for both; the CUDA provider copies them. One thread by default: the networks
    of the default pipeline are small, and a server runs several requests side by side instead.

    Args:
        path: the ``.onnx`` file.
        device: where it runs.
        threads: CPU threads of one run.

    Raises:
        FacewrightError: ENGINE_MISMATCH when the device is not available to ONNX Runtime, or the file is not
        a
            network it can load. There is no silent fallback to the CPU.
    """

    def __init__(self, path: Path, device: Literal["cpu", "cuda"] = "cpu", threads: int = 1) -> None:
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
        try:
            self._session = ort.InferenceSession(str(path), session_options, providers=[provider])
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
        fed = {name: np.ascontiguousarray(array) for name, array in inputs.items()}
        results = self._session.run(None, fed)
        return dict(zip(self._outputs, results, strict=True))


def _spec(value: Any) -> TensorSpec:
    shape = tuple(n if isinstance(n, int) else None for n in value.shape)
    return TensorSpec(_DTYPES[value.type], shape)


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:200]

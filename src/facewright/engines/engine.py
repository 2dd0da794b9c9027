"""What runs a network: named arrays in, named arrays out."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]


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
            Each call runs the network once: it reads the inputs' buffers and overwrites the outputs'. On a
            GPU it is to be called on the thread that bound it.

        Raises:
            ValueError: a name is missing or unknown, or a buffer has another dtype or shape, is not
                contiguous, or is on another device.
        """


class NamedTensors:
    """The tensors of a network that is open, and the checks of what it is given: what all engines share.

    Args:
        network: its file's name, for messages.
        inputs, outputs: by name.
    """

    def __init__(
        self, network: str, inputs: Mapping[str, TensorSpec], outputs: Mapping[str, TensorSpec]
    ) -> None:
        self._name, self._inputs, self._outputs = network, inputs, outputs

    @property
    def inputs(self) -> Mapping[str, TensorSpec]:
        """What `Engine.run` takes, by name."""
        return self._inputs

    @property
    def outputs(self) -> Mapping[str, TensorSpec]:
        """What `Engine.run` gives, by name."""
        return self._outputs

    def require_inputs(self, arrays: Mapping[str, Array]) -> None:
        """Raises ValueError unless the arrays are the network's inputs, of their dtypes and shapes."""
        if arrays.keys() != self._inputs.keys():
            raise ValueError(f"{self._name} takes {sorted(self._inputs)}, got {sorted(arrays)}")
        for name, array in arrays.items():
            if not self._inputs[name].accepts(array):
                got = TensorSpec(array.dtype, array.shape)
                raise ValueError(f"{self._name}: input {name} must be {self._inputs[name]}, got {got}")

    def require_buffers(self, buffers: Mapping[str, Array]) -> None:
        """Raises ValueError unless the buffers are what `Engine.bind` wants, on whichever device."""
        specs = {**self._inputs, **self._outputs}
        if buffers.keys() != specs.keys():
            raise ValueError(f"{self._name} binds {sorted(specs)}, got {sorted(buffers)}")
        for name, array in buffers.items():
            if not (specs[name].accepts(array) and array.flags.c_contiguous):
                got = f"{TensorSpec(array.dtype, array.shape)} with strides {array.strides}"
                raise ValueError(f"{self._name}: {name} must be C-contiguous {specs[name]}, got {got}")

    def address(self, name: str, array: Array, device: Literal["cpu", "cuda"]) -> int:
        """Where the array's memory begins; ValueError where that is not the device's."""
        on = "cpu" if isinstance(array, np.ndarray) else "cuda"
        if on != device:
            raise ValueError(f"{self._name} runs on {device}, {name} is an array of the {on}")
        return int(array.ctypes.data if on == "cpu" else array.data.ptr)  # type: ignore[attr-defined]

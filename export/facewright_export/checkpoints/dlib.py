"""dlib's face recognition network in ``dlib_face_recognition_resnet_model_v1.dat``, as dlib serialised it.

The format has no names and no lengths to skip by: a file is the fields of the network's layers, one after
the other, and says nothing without knowing the network. So the reader goes through the layers of
`facewright_export.networks.dlib_resnet` and holds every field to what that network has. Sources in dlib:
``serialize.h`` (integers, texts), ``float_details.h``, ``cuda/tensor.h``, ``dnn/core.h`` (the order of
layers) and ``dnn/layers.h``, ``dnn/input.h``, ``dnn/loss.h`` (their fields), in the versions that the
published file has.

Layers lie in each other like C++ templates: first the version of every layer, from the outermost, the loss,
to the innermost, the first convolution; then their fields, from the innermost to the outermost.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final

import numpy as np
import numpy.typing as npt
import torch

from facewright_export.checkpoints._files import (
    AGAIN,
    WHICH,
    LayoutError,
    UnreadableCheckpointError,
    first_bytes,
)
from facewright_export.checkpoints._formats import wrong_format
from facewright_export.checkpoints._reading import StateDict, load_strictly
from facewright_export.networks.dlib_resnet import (
    DESCRIPTOR_SIZE,
    INPUT_SIZE,
    LEVELS,
    PIXEL_MEAN,
    STEM_WIDTH,
    DlibFaceDescriptor,
)

F32 = npt.NDArray[np.float32]

#: Version 1 of a network with a loss, and the name of the loss with its length.
_MAGIC: Final = b"\x01\x01\x01\x0dloss_metric_2"
#: `float_details`: exponents from here on stand for infinities and NaN.
_FIRST_SPECIAL_EXPONENT: Final = 32000


def import_dlib_face_descriptor(path: Path | str) -> DlibFaceDescriptor:
    """The network of a file, scales and shifts folded into the convolutions before them.

    Raises CheckpointError: UnreadableCheckpointError for another or a shortened file, LayoutError for another
    network or more than the network, WeightError for NaN or infinity.
    """
    path = Path(path)
    start = first_bytes(path)
    if not start.startswith(_MAGIC):
        raise wrong_format(path, "a network with a metric loss that dlib wrote")
    with path.open("rb") as file:
        state = _read_network(_Fields(file, str(path)))
    network = DlibFaceDescriptor()
    load_strictly(network, state, source=str(path))
    network.eval()
    return network


@dataclass(frozen=True)
class _Convolution:
    name: str
    inputs: int
    outputs: int
    size: int
    stride: int
    padding: int


@dataclass(frozen=True)
class _Pooling:
    """Of windows without padding; a size of 0 is the whole picture."""

    kind: str
    size: int
    stride: int


@dataclass(frozen=True)
class _Named:
    """A layer without fields of its own but the text: ``relu_`` or the sum of a block."""

    text: str


class _Tag:
    """A name for what an inner layer gives, or the jump to one: nothing but its version is in the file."""


_Layer = _Convolution | _Pooling | _Named | _Tag


def _layers() -> Iterator[_Layer]:
    """From the innermost to the outermost, without the loss and the last, linear layer; a convolution stands
    for itself and the scale and shift after it.
    """
    relu = _Named("relu_")
    yield _Convolution("stem", 3, STEM_WIDTH, 7, 2, 0)
    yield relu
    yield _Pooling("max_pool_2", 3, 2)
    channels, number = STEM_WIDTH, 0
    for level, (width, count) in enumerate(LEVELS):
        for i in range(count):
            halves = level > 0 and i == 0
            yield _Tag()
            yield _Convolution(f"blocks.{number}.conv1", channels, width, 3, *((2, 0) if halves else (1, 1)))
            yield relu
            yield _Convolution(f"blocks.{number}.conv2", width, width, 3, 1, 1)
            if halves:
                yield from (_Tag(), _Tag(), _Pooling("avg_pool_2", 2, 2))
            yield _Named("add_prev_")
            yield relu
            channels, number = width, number + 1
    yield _Pooling("avg_pool_2", 0, 1)


def _read_network(fields: _Fields) -> StateDict:
    layers = list(_layers())
    fields.expect("version of the file", 1)
    fields.expect_text("loss_metric_2")
    fields.pass_numbers(2)  # margin and distance threshold of the training
    versions = [version for layer in layers for version in _versions(layer)]
    versions[0] = 3  # the innermost layer is of a kind of its own
    for version in [2, *reversed(versions)]:
        fields.expect("version of a layer", version)

    fields.expect_text("input_rgb_image_sized")
    for channel, mean in zip(("red", "green", "blue"), PIXEL_MEAN, strict=True):
        found = fields.number()
        if not math.isclose(found, mean, rel_tol=1e-6):
            raise fields.wrong(f"mean of {channel}", found, mean)
    fields.expect("rows and columns of the input", INPUT_SIZE, INPUT_SIZE)

    state: StateDict = {}
    for position, layer in enumerate(layers):
        if isinstance(layer, _Convolution):
            weight, bias = _read_convolution(fields, layer, innermost=position == 0)
            state[f"{layer.name}.weight"], state[f"{layer.name}.bias"] = map(torch.from_numpy, (weight, bias))
        elif isinstance(layer, _Pooling):
            fields.expect_text(layer.kind)
            fields.expect(layer.kind, layer.size, layer.size, layer.stride, layer.stride, 0, 0)
            fields.end_of_layer()
        elif isinstance(layer, _Named):
            fields.expect_text(layer.text)
            fields.end_of_layer()
    state["descriptor.weight"] = torch.from_numpy(_read_linear(fields, LEVELS[-1][0]))
    fields.expect_end()
    return state


def _versions(layer: _Layer) -> tuple[int, ...]:
    if isinstance(layer, _Convolution):
        return 2, 2
    return (1,) if isinstance(layer, _Tag) else (2,)


def _read_convolution(fields: _Fields, layer: _Convolution, innermost: bool) -> tuple[F32, F32]:
    """Weights [O, I, n, n] and biases [O] of a convolution and the scale and shift after it, as one."""
    name, outputs, size = layer.name, layer.outputs, layer.size
    shape = (outputs, layer.inputs, size, size)
    fields.expect_text("con_4")
    numbers = fields.tensor(name, math.prod(shape) + outputs, 1, 1, 1)
    fields.expect(f"filters and their size of {name}", outputs, size, size)
    fields.expect(f"strides and padding of {name}", *2 * (layer.stride,), *2 * (layer.padding,))
    fields.expect(f"filters of {name}", 1, *shape)
    fields.expect(f"biases of {name}", 1, 1, outputs, 1, 1)
    fields.pass_numbers(4)  # rates of training
    fields.end_of_layer(innermost=innermost)

    fields.expect_text("affine_")
    affine = fields.tensor(f"{name}, affine", 2 * outputs, 1, 1, 1)
    for part in ("scales", "shifts"):
        fields.expect(f"{part} of {name}", 1, 1, outputs, 1, 1)
    fields.expect(f"mode of the affine layer after {name}", 0)  # by channel
    fields.end_of_layer()
    scale, shift = affine[:outputs], affine[outputs:]
    filters, biases = numbers[:-outputs].reshape(shape), numbers[-outputs:]
    with np.errstate(over="ignore", invalid="ignore"):  # a product beyond float32 is found as an infinity
        return filters * scale[:, None, None, None], biases * scale + shift


def _read_linear(fields: _Fields, inputs: int) -> F32:
    """Weights [128, I] of the last layer, which dlib stores [I, 128]."""
    fields.expect_text("fc_2")
    fields.expect("outputs and inputs of the last layer", DESCRIPTOR_SIZE, inputs)
    weight = fields.tensor("last layer", inputs, DESCRIPTOR_SIZE, 1, 1)
    fields.expect("weights of the last layer", 1, inputs, DESCRIPTOR_SIZE, 1, 1)
    fields.expect("biases of the last layer", 1, 0, 0, 0, 0)
    fields.expect("bias mode of the last layer", 1)  # none
    fields.pass_numbers(4)
    fields.end_of_layer()
    return np.ascontiguousarray(weight.reshape(inputs, DESCRIPTOR_SIZE).T)


class _Fields:
    """dlib's fields, one after the other, each held to what it must be; nothing larger than that is read."""

    def __init__(self, file: BinaryIO, source: str) -> None:
        self._file = file
        self._source = source

    def integer(self) -> int:
        """An integer: a byte with the sign and the number of bytes, then the bytes, the lowest first."""
        control = self._bytes(1)[0]
        length = control & 0x0F
        if not 1 <= length <= 8 or control & 0x70:
            raise UnreadableCheckpointError(
                f"checkpoint {self._source}",
                f"damaged (no integer begins with {control:#04x}, byte {self._file.tell() - 1})",
                AGAIN,
            )
        magnitude = int.from_bytes(self._bytes(length), "little")
        return -magnitude if control & 0x80 else magnitude

    def number(self) -> float:
        """A floating-point number: mantissa · 2^exponent, two integers."""
        mantissa, exponent = self.integer(), self.integer()
        if exponent >= _FIRST_SPECIAL_EXPONENT:
            raise self.wrong("a setting", "NaN or infinity", "a number")
        try:
            return math.ldexp(mantissa, exponent)
        except OverflowError:
            raise self.wrong("a setting", f"{mantissa} times 2^{exponent}", "a number") from None

    def pass_numbers(self, count: int) -> None:
        """Numbers that only training reads."""
        for _ in range(count):
            self.number()

    def expect(self, what: str, *values: int) -> None:
        """Integers that must be these."""
        found = [self.integer() for _ in values]
        if found != list(values):
            raise self.wrong(what, _joined(found), _joined(values))

    def expect_text(self, text: str) -> None:
        """A text: its length and its bytes."""
        length = self.integer()
        found = self._bytes(length) if 0 <= length <= 64 else b""
        if found != text.encode():
            seen = repr(found.decode("latin-1")) if found else f"a text of {length} bytes"
            raise self.wrong("the kind of a layer", seen, repr(text))

    def tensor(self, what: str, *shape: int) -> F32:
        """The flat numbers f32 of a tensor that must have this shape (samples, k, rows, columns)."""
        self.expect(f"version and shape of the tensor of {what}", 2, *shape)
        return np.frombuffer(self._bytes(4 * math.prod(shape)), "<f4").astype(np.float32)

    def end_of_layer(self, *, innermost: bool = False) -> None:
        """What ends every layer: flags, and three tensors, empty where a network was cleaned after
        training.
        """
        flags = self._bytes(3)
        if set(flags) - set(b"01"):
            raise self.wrong("flags of a layer", repr(flags), "three of 0 and 1")
        for what in ("gradient", "output", "gradient of the parameters"):
            self.tensor(f"a layer's {what}", 0, 0, 0, 0)
        if innermost:
            self.expect("samples per image", 1)

    def expect_end(self) -> None:
        """Nothing may follow."""
        if self._file.read(1):
            raise self.wrong("the end", "more bytes", f"none after byte {self._file.tell() - 1}")

    def wrong(self, what: str, found: object, expected: object) -> LayoutError:
        """The error for a field that this network has otherwise."""
        return LayoutError(
            f"{self._source} is not dlib's face recognition network",
            f"{what}: {found}, expected {expected} (byte {self._file.tell()})",
            WHICH,
        )

    def _bytes(self, count: int) -> bytes:
        found = self._file.read(count)
        if len(found) != count:
            raise UnreadableCheckpointError(
                f"checkpoint {self._source}",
                f"cut short: {count - len(found)} bytes missing at byte {self._file.tell()}",
                AGAIN,
            )
        return found


def _joined(values: Iterable[int]) -> str:
    return " ".join(map(str, values))

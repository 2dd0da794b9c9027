"""``dlib_face_recognition_resnet_model_v1.dat`` as dlib writes it, with numbers of one's own."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

F32 = NDArray[np.float32]

EMPTY = b"\x01\x02" + 4 * b"\x01\x00"
#: What ends a layer: three flags, three empty tensors.
END = b"110" + 3 * EMPTY


def integer(value: int) -> bytes:
    """The sign and the number of bytes, then the bytes, the lowest first."""
    size = max(1, (abs(value).bit_length() + 7) // 8)
    return bytes([size | (0x80 if value < 0 else 0)]) + abs(value).to_bytes(size, "little")


def number(value: float) -> bytes:
    """A mantissa of 24 bits and an exponent."""
    fraction, exponent = math.frexp(value)
    return integer(int(fraction * 2**24)) + integer(exponent - 24)


def text(value: str) -> bytes:
    return integer(len(value)) + value.encode()


def tensor(values: F32, *shape: int) -> bytes:
    return b"".join(map(integer, (2, *shape))) + values.astype("<f4").tobytes()


def alias(*shape: int) -> bytes:
    return b"".join(map(integer, (1, *shape)))


def convolution(weight: F32, bias: F32, scale: F32, shift: F32, stride: int, padding: int) -> bytes:
    """A convolution and the affine layer after it, each with its end."""
    outputs, inputs, rows, columns = weight.shape
    numbers = np.concatenate([weight.ravel(), bias])
    body = text("con_4") + tensor(numbers, len(numbers), 1, 1, 1)
    body += b"".join(map(integer, (outputs, rows, columns, stride, stride, padding, padding)))
    body += alias(outputs, inputs, rows, columns) + alias(1, outputs, 1, 1) + 4 * number(1.0) + END
    both = np.concatenate([scale, shift])
    affine = text("affine_") + tensor(both, len(both), 1, 1, 1) + 2 * alias(1, outputs, 1, 1)
    return body + affine + integer(0) + END


def pooling(kind: str, size: int, stride: int) -> bytes:
    return text(kind) + b"".join(map(integer, (size, size, stride, stride, 0, 0))) + END


def dlib_file(arrays: Mapping[str, F32]) -> bytes:
    """The file of a network.

    Args:
        arrays: ``<convolution>.weight``, ``.bias``, ``.scale``, ``.shift`` by the names of
            `DlibFaceDescriptor`'s convolutions, and ``descriptor.weight`` [128, 256].
    """

    def read(name: str, stride: int, padding: int) -> bytes:
        parts = (arrays[f"{name}.{part}"] for part in ("weight", "bias", "scale", "shift"))
        return convolution(*parts, stride, padding)

    relu = text("relu_") + END
    body, versions = [read("stem", 2, 0), relu, pooling("max_pool_2", 3, 2)], [3, 2, 2, 2]
    # The first layer of all has one more field after its end, which lies before its affine layer.
    first_end = body[0].index(END) + len(END)
    body[0] = body[0][:first_end] + integer(1) + body[0][first_end:]
    for block in range(14):
        halves = block in (3, 7, 10, 13)
        body += [read(f"blocks.{block}.conv1", *((2, 0) if halves else (1, 1))), relu]
        body += [read(f"blocks.{block}.conv2", 1, 1)]
        versions += [1, 2, 2, 2, 2, 2]  # tag1, convolution, affine, relu, convolution, affine
        if halves:
            body += [pooling("avg_pool_2", 2, 2)]
            versions += [1, 1, 2]  # tag2, skip1
        body += [text("add_prev_") + END, relu]
        versions += [2, 2]
    last = arrays["descriptor.weight"].T
    body += [pooling("avg_pool_2", 0, 1)]
    body += [text("fc_2") + integer(128) + integer(256) + tensor(last.ravel(), 256, 128, 1, 1)]
    body += [alias(256, 128, 1, 1) + alias(0, 0, 0, 0) + integer(1) + 4 * number(1.0) + END]
    head = integer(1) + text("loss_metric_2") + number(0.04) + number(0.5)
    means = b"".join(number(mean) for mean in (122.782, 117.001, 104.298))
    head += b"".join(map(integer, [2, 2, *reversed(versions)])) + text("input_rgb_image_sized") + means
    return head + integer(150) + integer(150) + b"".join(body)

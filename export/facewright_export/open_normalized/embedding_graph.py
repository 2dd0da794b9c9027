"""The open ``face_embedding`` as ONNX: a picture and the fitted form to a code.

FACE_IMAGE u8 [B, 160, 160, 3] (sRGB, aligned as FaceNet's) and IDENTITY f32 [B, 160] → EMBEDDING f32
[B, 512], the code w of that form, which passes through exactly, and of the look that a small network reads
from the picture.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

import numpy as np
import onnx
from numpy.typing import NDArray

from facewright_client.contract import IDENTITY_SIZE
from facewright_export.open_normalized.factors import SCALE, W_SIZE, factor_map
from facewright_export.tflite_to_onnx.onnx_graph import OnnxGraph

WEIGHTS_FILE: Final = Path(__file__).with_name("look_encoder.npz")
#: Pixels per side of the picture.
PICTURE_SIZE: Final = 160
#: Outputs, side of the kernel and stride of each convolution of the picture at half its size; a rectifier is
#: behind each.
CONVOLUTIONS: Final = (
    (16, 5, 2),
    (32, 3, 2),
    (48, 3, 1),
    (64, 3, 2),
    (96, 3, 1),
    (128, 3, 2),
)
LAST_SIDE: Final = 5
HIDDEN: Final = 128
_LICENCE: Final = {"licence": "Apache-2.0", "source": "trained on rendered synthetic people; no photos"}


def embedding_graph(weights: Path = WEIGHTS_FILE) -> onnx.ModelProto:
    """The network of trained weights."""
    with np.load(weights, allow_pickle=False) as file:
        arrays: dict[str, NDArray[np.float32]] = {
            name: file[name].astype(np.float32) for name in file.files if name != "provenance"
        }
    graph = OnnxGraph()

    def kept(name: str) -> str:
        """Stored in half precision; engines widen it once."""
        return graph.add("Cast", graph.constant(arrays[name], np.float16), to=onnx.TensorProto.FLOAT)

    value = graph.add("Cast", "FACE_IMAGE", to=onnx.TensorProto.FLOAT)
    value = graph.add("Transpose", value, perm=[0, 3, 1, 2])
    value = graph.add("AveragePool", value, kernel_shape=[2, 2], strides=[2, 2])
    value = graph.add("Sub", graph.add("Div", value, graph.constant(127.5)), graph.constant(1.0))
    for i, (_, kernel, stride) in enumerate(CONVOLUTIONS):
        value = graph.add(
            "Conv",
            value,
            kept(f"convolution_{i}"),
            kept(f"convolution_bias_{i}"),
            strides=[stride] * 2,
            pads=[kernel // 2] * 4,
        )
        value = graph.add("Relu", value)
    value = graph.reshape(value, (-1, CONVOLUTIONS[-1][0] * LAST_SIDE**2))
    value = graph.add("Relu", graph.add("Gemm", value, kept("hidden"), kept("hidden_bias"), transB=1))
    look = graph.add("Gemm", value, kept("last"), kept("last_bias"), transB=1)
    factors = graph.add("Concat", "IDENTITY", look, axis=1)
    graph.add("MatMul", factors, graph.constant(factor_map().T * np.float32(SCALE)), output="EMBEDDING")
    return graph.model(
        "face_embedding",
        {"FACE_IMAGE": (PICTURE_SIZE, PICTURE_SIZE, 3), "IDENTITY": (IDENTITY_SIZE,)},
        {"EMBEDDING": (W_SIZE,)},
        _LICENCE,
        bytes_of=("FACE_IMAGE",),
    )

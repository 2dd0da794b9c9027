"""Weights of an ONNX file stored as float16 and computed with as float32: half the file, one graph."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

#: Tensors of fewer numbers stay as they are.
_SMALLEST = 256


def store_weights_as_half(path: Path) -> None:
    """Rewrite the ONNX file: each large float32 constant becomes a float16 one behind a cast to float32.

    Engines fold the cast when they load the file. Weights change by at most 2⁻¹¹ of their value.

    Raises:
        ValueError: a weight that half precision cannot hold.
    """
    model = onnx.load(path)
    casts = []
    for constant in list(model.graph.initializer):
        values = numpy_helper.to_array(constant)
        if constant.data_type != TensorProto.FLOAT or values.size < _SMALLEST:
            continue
        if not np.abs(values).max() <= np.finfo(np.float16).max:
            raise ValueError(f"{path.name}: {constant.name} reaches {np.abs(values).max():g}, beyond float16")
        half = values.astype(np.float16)
        name = constant.name
        constant.CopyFrom(numpy_helper.from_array(half, f"{name}_half"))
        casts.append(
            helper.make_node("Cast", [f"{name}_half"], [name], to=TensorProto.FLOAT, name=f"{name}_cast")
        )
    nodes = [*casts, *model.graph.node]
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    onnx.checker.check_model(model)
    onnx.save(model, path)

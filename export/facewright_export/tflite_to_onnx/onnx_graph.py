"""A small builder of ONNX graphs: nodes and constants with unique names, then one checked model.

Deterministic: the same calls give the same bytes.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper

OPSET = 17
# The oldest IR version with opset 17, so that any runtime that knows the opset reads the file.
IR_VERSION = 8


@dataclass
class OnnxGraph:
    """An ONNX graph under construction. Methods return the name of the value they add."""

    nodes: list[onnx.NodeProto] = field(default_factory=list)
    constants: list[onnx.TensorProto] = field(default_factory=list)
    _count: int = 0
    _shared: dict[tuple[str, tuple[int, ...], bytes], str] = field(default_factory=dict)

    def constant(self, value: npt.ArrayLike, dtype: npt.DTypeLike = np.float32) -> str:
        """Add a constant; equal constants share one entry."""
        array = np.array(value, dtype=dtype, order="C")  # ascontiguousarray would turn a scalar into a vector
        key = (array.dtype.str, array.shape, array.tobytes())
        if key not in self._shared:
            name = f"constant_{len(self.constants)}"
            self.constants.append(numpy_helper.from_array(array, name))
            self._shared[key] = name
        return self._shared[key]

    def add(self, op_type: str, *inputs: str, output: str | None = None, **attributes: Any) -> str:
        """Add a node with one output."""
        self._count += 1
        name = output or f"{op_type.lower()}_{self._count}"
        self.nodes.append(
            helper.make_node(op_type, list(inputs), [name], name=f"{op_type}_{self._count}", **attributes)
        )
        return name

    def reshape(self, value: str, shape: tuple[int, ...]) -> str:
        """Reshape; -1 stands for the batch."""
        return self.add("Reshape", value, self.constant(shape, np.int64))

    def slice(self, value: str, axis: int, begin: int, end: int) -> str:
        """``value[begin:end]`` along ``axis``."""
        bounds = [self.constant([n], np.int64) for n in (begin, end, axis)]
        return self.add("Slice", value, *bounds)

    def model(
        self,
        name: str,
        inputs: dict[str, tuple[int, ...]],
        outputs: dict[str, tuple[int, ...]],
        properties: dict[str, str],
        bytes_of: tuple[str, ...] = (),
    ) -> onnx.ModelProto:
        """The checked model. Shapes are given without the batch, which is the dynamic dimension ``batch``;
        inputs ``bytes_of`` are uint8, all others float32.

        Raises:
            onnx.checker.ValidationError: the graph is not valid ONNX, or shapes contradict each other.
        """

        def declare(values: dict[str, tuple[int, ...]]) -> list[onnx.ValueInfoProto]:
            return [
                helper.make_tensor_value_info(
                    key, TensorProto.UINT8 if key in bytes_of else TensorProto.FLOAT, ["batch", *shape]
                )
                for key, shape in values.items()
            ]

        graph = helper.make_graph(self.nodes, name, declare(inputs), declare(outputs), self.constants)
        model = helper.make_model(
            graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION
        )
        model.producer_name = "facewright_export"
        helper.set_model_props(model, properties)
        onnx.checker.check_model(model, full_check=True)
        return model

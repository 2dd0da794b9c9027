"""What a half-precision graph computes on hardware that has half precision, found out on a CPU.

ONNX Runtime's CPU provider runs float16 operators that it has no kernel for in float32, whole chains of
them, and rounds nothing between: an overflow to infinity does not happen there. Here every operator
computes in float32 and its result is rounded to the type the graph says, as a tensor core with float32
accumulation does.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, fx


class HalfArithmetic(fx.Interpreter):
    """Runs a traced graph; each float16 result is the float32 result rounded once."""

    def run_node(self, node: fx.Node) -> Any:
        """The node's value."""
        value = node.meta.get("val")
        if node.op != "call_function" or not isinstance(value, Tensor) or value.dtype != torch.float16:
            return super().run_node(node)
        args, kwargs = fx.map_arg((node.args, node.kwargs), lambda source: _widened(self.env[source]))
        if node.target is torch.ops.aten._to_copy.default:
            return args[0].to(torch.float16)
        return node.target(*args, **kwargs).to(torch.float16)


def _widened(value: Any) -> Any:
    return value.float() if isinstance(value, Tensor) and value.dtype == torch.float16 else value

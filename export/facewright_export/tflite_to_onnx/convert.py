"""Walks a TensorFlow Lite graph and writes it into an ONNX graph."""

from __future__ import annotations

from typing import Final

from facewright_export.tflite_to_onnx.attention_operators import ATTENTION_WRITERS
from facewright_export.tflite_to_onnx.builtin_operators import BUILTIN_WRITERS, Writer
from facewright_export.tflite_to_onnx.onnx_graph import OnnxGraph
from facewright_export.tflite_to_onnx.tflite_graph import TfliteGraph

IMAGE_WRITERS: Final = BUILTIN_WRITERS | ATTENTION_WRITERS


def write_operators(
    graph: OnnxGraph, source: TfliteGraph, network_input: str, writers: dict[str, Writer] = IMAGE_WRITERS
) -> dict[int, str]:
    """Write all operators of ``source``.

    Args:
        graph: receives the nodes.
        source: a graph with one input.
        network_input: the ONNX value fed to it, of an image ``[B, C, H, W]``, already in the network's range.
        writers: by kind of operator; the default turns images to NCHW, those of `token_operators` do not.

    Returns:
        The ONNX value of every TensorFlow Lite activation, by tensor index: images as ``[B, C, H, W]``, all
        others in their stored layout with a dynamic batch.

    Raises:
        ValueError: an operator, or an option of one, that no writer supports.
    """
    if len(source.inputs) != 1:
        raise ValueError(f"expected one input, found {len(source.inputs)}")
    values = {source.inputs[0]: network_input}
    for operator in source.operators:
        if operator.kind not in writers:
            raise ValueError(
                f"operator {operator.kind} has no ONNX writer; known: {', '.join(sorted(writers))}"
            )
        if len(operator.outputs) != 1:
            raise ValueError(f"{operator.kind} with {len(operator.outputs)} outputs is not supported")
        inputs = []
        for index in operator.inputs:
            constant = source.tensors[index].value
            if index in values:
                inputs.append(values[index])
            elif constant is not None:
                # Weights are consumed by the writers; only small operands of MUL or ADD are read as they are.
                inputs.append(graph.constant(constant) if operator.kind in ("ADD", "MUL") else "")
            else:
                raise ValueError(
                    f"{operator.kind} reads {source.tensors[index].name!r} before it is computed"
                )
        values[operator.outputs[0]] = writers[operator.kind](graph, source, operator, inputs)
    return values

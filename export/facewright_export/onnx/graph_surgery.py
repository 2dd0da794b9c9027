"""Changes to an exported graph that buy something measured, made with onnx-graphsurgeon.

`fold_constants` computes what depends on weights alone: StyleGAN2's equalised learning rate multiplies every
kernel by a constant at run time, and a convolution whose kernel is computed is one that TensorRT cannot
rearrange. `fuse_pixel_normalisation` lets the network take the bytes of an image: a quarter of the tensor's
size between stages. `keep_outputs` drops what no later stage reads, and with it everything that only computed
it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx

from facewright_export.export_error import ExportError


@dataclass(frozen=True)
class PixelNormalisation:
    """What a network's authors did to an image before it: (pixel − mean) / deviation, pixels 0–255.

    Args:
        mean, deviation: for each channel in the network's order, in units of pixel values 0–255.
        order: of the network's channels: ``RGB``, ``BGR``, or ``GRAY`` (ITU-R 601 luma of RGB).
    """

    mean: tuple[float, ...]
    deviation: tuple[float, ...]
    order: str = "RGB"

    def __post_init__(self) -> None:
        channels = {"RGB": 3, "BGR": 3, "GRAY": 1}.get(self.order)
        if channels is None:
            raise ValueError(f"order must be RGB, BGR or GRAY, got {self.order!r}")
        if len(self.mean) != channels or len(self.deviation) != channels or 0 in self.deviation:
            raise ValueError(f"{self.order} needs {channels} means and deviations other than 0")

    def apply(self, pixels: np.ndarray[Any, Any]) -> np.ndarray[Any, np.dtype[np.float32]]:
        """The same in NumPy: uint8 ``[B, H, W, 3]`` sRGB to float32 ``[B, C, H, W]``."""
        image = pixels.astype(np.float32)
        if self.order == "GRAY":
            image = image @ _LUMA[:, None]
        elif self.order == "BGR":
            image = image[..., ::-1]
        scale = np.float32(1) / np.asarray(self.deviation, np.float32)
        shifted = (image - np.asarray(self.mean, np.float32)) * scale
        return np.ascontiguousarray(shifted.transpose(0, 3, 1, 2))


_LUMA = np.array([0.299, 0.587, 0.114], np.float32)


def fold_constants(model: onnx.ModelProto) -> onnx.ModelProto:
    """Replaces what weights alone decide by its value, and removes what is left over.

    Returns:
        A graph with the same names of inputs, outputs and remaining nodes, checked.
    """
    gs = _surgeon()
    graph = gs.import_onnx(model)
    graph.fold_constants(size_threshold=None).cleanup().toposort()
    return _exported(graph, model)


def fuse_pixel_normalisation(
    model: onnx.ModelProto, name: str, normalisation: PixelNormalisation
) -> onnx.ModelProto:
    """The input ``name``, float32 ``[B, C, H, W]``, becomes sRGB bytes ``[B, H, W, 3]``, normalised inside.

    Raises:
        ExportError: there is no such input, or it has other channels.
    """
    gs = _surgeon()
    graph = gs.import_onnx(model)
    network_input = next((value for value in graph.inputs if value.name == name), None)
    if network_input is None:
        there = ", ".join(value.name for value in graph.inputs)
        raise ExportError(f"the graph has no input {name}, only {there}", "mend the row of the network table")
    batch, channels, height, width = network_input.shape
    if channels != len(normalisation.mean):
        raise ExportError(
            f"{name} has {channels} channels, its normalisation {len(normalisation.mean)}",
            "mend the row of the network table",
        )
    consumers = list(network_input.outputs)
    pixels = gs.Variable(name, np.uint8, [batch, height, width, 3])

    def layer(op: str, inputs: list[Any], output: str, **attributes: Any) -> Any:
        result = gs.Variable(f"{name}_{output}", np.float32)
        graph.nodes.append(gs.Node(op, f"pixels/{op}", attributes, inputs, [result]))
        return result

    image = layer("Cast", [pixels], "float", to=onnx.TensorProto.FLOAT)
    if normalisation.order == "GRAY":
        image = layer("MatMul", [image, gs.Constant(f"{name}_luma_weights", _LUMA[:, None])], "luma")
    elif normalisation.order == "BGR":
        image = layer("Gather", [image, gs.Constant(f"{name}_bgr_order", np.array([2, 1, 0]))], "bgr", axis=3)
    image = layer("Transpose", [image], "planes", perm=[0, 3, 1, 2])
    mean = np.asarray(normalisation.mean, np.float32).reshape(1, -1, 1, 1)
    scale = np.float32(1) / np.asarray(normalisation.deviation, np.float32).reshape(1, -1, 1, 1)
    image = layer("Sub", [image, gs.Constant(f"{name}_mean", mean)], "centred")
    image = layer("Mul", [image, gs.Constant(f"{name}_scale", scale)], "normalised")
    for consumer in consumers:
        consumer.inputs = [image if value is network_input else value for value in consumer.inputs]
    graph.inputs = [pixels if value is network_input else value for value in graph.inputs]
    graph.cleanup().toposort()
    return _exported(graph, model)


def checked(model: onnx.ModelProto) -> onnx.ModelProto:
    """The model with all types and shapes inferred; raises what ONNX's own checks raise."""
    result = onnx.shape_inference.infer_shapes(model, check_type=True, strict_mode=True, data_prop=True)
    onnx.checker.check_model(result)
    return result


def _surgeon() -> Any:
    """onnx-graphsurgeon, imported where a graph is changed: a row of the network table needs none."""
    import onnx_graphsurgeon
    from onnx_graphsurgeon.logger import G_LOGGER

    # Its warnings go to standard output: one for each import of a graph, about a package for colours.
    G_LOGGER.severity = G_LOGGER.ERROR
    return onnx_graphsurgeon


def _exported(graph: Any, original: onnx.ModelProto) -> onnx.ModelProto:
    model = _surgeon().export_onnx(graph, ir_version=original.ir_version)
    model.producer_name = "facewright"
    return checked(model)

"""The open generator of ``avatar_normalized`` as ONNX, forward and backward, and the network before it.

Written node by node, without torch: the geometry half's matrices are made from the head file of this
machine (16 MB, so they travel nowhere), the albedo half's weights travel with this package. Every step is a
product, a tanh, a sum or an enlargement, so that its gradient is, too: that of tanh comes from its result,
that of a transposed convolution is the convolution.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import onnx
from numpy.typing import NDArray

from facewright.head.head_model import HeadModel
from facewright.refine.networks import GRAD_UV_MAPS, GRAD_W_PLUS, UV_MAPS, W_PLUS
from facewright_client.contract import IDENTITY_SIZE
from facewright_export.open_normalized.albedo_weights import (
    BENDING,
    BENDING_BIAS,
    DOUBLING_TAPS,
    HIDDEN,
    LEVELS,
    LevelShape,
    LevelWeights,
    load_weights,
)
from facewright_export.open_normalized.factors import LAYERS, LOOK_SIZE, W_SIZE, reading_map
from facewright_export.open_normalized.geometry_maps import (
    COARSE_SIZE,
    MAP_SIZE,
    GeometryMaps,
    enlarging_taps,
)
from facewright_export.tflite_to_onnx.onnx_graph import OnnxGraph

F32 = NDArray[np.float32]

LICENCE: Final = {
    "licence": "CC0-1.0 AND MIT AND Apache-2.0",
    "source": "the open head's identity basis; albedo of drawn people",
}
_ROOT: Final = "RESIDUAL_ROOT"
_LATENTS: Final = (LAYERS, W_SIZE)
_MAPS: Final = (6, MAP_SIZE, MAP_SIZE)


def generator_forward(head: HeadModel) -> onnx.ModelProto:
    """W_PLUS → UV_MAPS, RESIDUAL_*, as `facewright.refine.networks` says."""
    graph = OnnxGraph()
    offset = _offsets(graph, GeometryMaps.of(head))
    root = ""
    for shape, level in zip(LEVELS, load_weights()[0], strict=True):
        own = _level(graph, shape, level)
        if root:
            output = _ROOT if shape is LEVELS[-1] else None
            own = graph.add("Add", own, _enlarged(graph, root, _doubling()), output=output)
        root = own
    graph.add("Concat", offset, graph.add("Mul", root, root), axis=1, output=UV_MAPS)
    return graph.model("generator_forward", {W_PLUS: _LATENTS}, {UV_MAPS: _MAPS, **_residuals()}, LICENCE)


def generator_backward(head: HeadModel) -> onnx.ModelProto:
    """RESIDUAL_*, GRAD_UV_MAPS → GRAD_W_PLUS, as `facewright.refine.networks` says."""
    graph = OnnxGraph()
    bounds = [graph.constant([bound], np.int64) for bound in (0, 3, 6, 1)]
    by_offset = graph.add("Slice", GRAD_UV_MAPS, bounds[0], bounds[1], bounds[3])
    by_albedo = graph.add("Slice", GRAD_UV_MAPS, bounds[1], bounds[2], bounds[3])
    by_identity = _offset_gradient(graph, by_offset, GeometryMaps.of(head))
    by_root = graph.add("Mul", graph.add("Mul", by_albedo, _ROOT), graph.constant(2.0))
    by_look: dict[int, str] = {}
    for shape, level in reversed(list(zip(LEVELS, load_weights()[0], strict=True))):
        by_look[shape.size] = _level_gradient(graph, shape, level, by_root)
        if shape is not LEVELS[0]:
            by_root = _shrunk(graph, by_root, _doubling())
    reading = reading_map().T
    by_w = []
    for shape in LEVELS:
        read = graph.constant(reading[IDENTITY_SIZE:] / np.float32(shape.layers))
        row = graph.reshape(graph.add("MatMul", by_look[shape.size], read), (-1, 1, W_SIZE))
        by_w += [row] * shape.layers
    same = graph.constant(reading[:IDENTITY_SIZE] / np.float32(LAYERS))
    everywhere = graph.reshape(graph.add("MatMul", by_identity, same), (-1, 1, W_SIZE))
    graph.add("Add", graph.add("Concat", *by_w, axis=1), everywhere, output=GRAD_W_PLUS)
    return graph.model(
        "generator_backward", {**_residuals(), GRAD_UV_MAPS: _MAPS}, {GRAD_W_PLUS: _LATENTS}, LICENCE
    )


def avatar_generator(forward: onnx.ModelProto) -> onnx.ModelProto:
    """The same as ``generator_forward``, with UV_MAPS alone."""
    alone = onnx.ModelProto()
    alone.CopyFrom(forward)
    del alone.graph.output[:]
    alone.graph.output.extend(value for value in forward.graph.output if value.name == UV_MAPS)
    return alone


def identity_regressor() -> onnx.ModelProto:
    """EMBEDDING f32 [B, 512], a code w, → W_PLUS f32 [B, 14, 512] that repeats it."""
    graph = OnnxGraph()
    column = graph.reshape("EMBEDDING", (-1, 1, W_SIZE))
    graph.add("Tile", column, graph.constant([1, LAYERS, 1], np.int64), output=W_PLUS)
    return graph.model("identity_regressor", {"EMBEDDING": (W_SIZE,)}, {W_PLUS: _LATENTS}, LICENCE)


def _residuals() -> dict[str, tuple[int, ...]]:
    rows = {"BENT": len(BENDING_BIAS), "HIDDEN": HIDDEN}
    return {
        **{f"RESIDUAL_{row}_{shape.size}": (size,) for shape in LEVELS for row, size in rows.items()},
        _ROOT: (3, MAP_SIZE, MAP_SIZE),
    }


def _level(graph: OnnxGraph, shape: LevelShape, level: LevelWeights) -> str:
    """A level's own map [B, 3, S, S]."""
    layers = graph.slice(W_PLUS, 1, shape.first_layer, shape.first_layer + shape.layers)
    read = graph.add("ReduceMean", layers, axes=[1], keepdims=0)
    factors = graph.add("MatMul", read, graph.constant(reading_map()[:, IDENTITY_SIZE:]))
    bent = _tanh(graph, factors, BENDING, BENDING_BIAS, f"RESIDUAL_BENT_{shape.size}")
    both = graph.add("Concat", factors, bent, axis=1)
    hidden = _tanh(graph, both, level.hidden, level.hidden_bias, f"RESIDUAL_HIDDEN_{shape.size}")
    weights = graph.add(
        "Add",
        graph.add("MatMul", hidden, graph.constant(level.last)),
        graph.add("MatMul", both, graph.constant(level.direct)),
    )
    maps = graph.add("MatMul", weights, _half(graph, level.components))
    return graph.add(
        "Add", graph.reshape(maps, (-1, 3, shape.size, shape.size)), graph.constant(level.mean[None])
    )


def _tanh(graph: OnnxGraph, value: str, weight: F32, bias: F32, output: str) -> str:
    drawn = graph.add("MatMul", value, graph.constant(weight))
    return graph.add("Tanh", graph.add("Add", drawn, graph.constant(bias)), output=output)


def _level_gradient(graph: OnnxGraph, shape: LevelShape, level: LevelWeights, by_map: str) -> str:
    """Gradient [B, 32] by the factors that a level reads, of that by its map."""
    flat = graph.reshape(by_map, (-1, 3 * shape.size**2))
    by_weights = graph.add("Gemm", flat, _half(graph, level.components), transB=1)
    by_hidden = graph.add("MatMul", by_weights, graph.constant(level.last.T))
    by_both = graph.add(
        "Add",
        _tanh_gradient(graph, by_hidden, level.hidden, f"RESIDUAL_HIDDEN_{shape.size}"),
        graph.add("MatMul", by_weights, graph.constant(level.direct.T)),
    )
    by_bent = graph.slice(by_both, 1, LOOK_SIZE, LOOK_SIZE + len(BENDING_BIAS))
    return graph.add(
        "Add",
        graph.slice(by_both, 1, 0, LOOK_SIZE),
        _tanh_gradient(graph, by_bent, BENDING, f"RESIDUAL_BENT_{shape.size}"),
    )


def _tanh_gradient(graph: OnnxGraph, by_result: str, weight: F32, result: str) -> str:
    """Gradient by what `_tanh` took."""
    slope = graph.add("Sub", graph.constant(1.0), graph.add("Mul", result, result))
    return graph.add("MatMul", graph.add("Mul", by_result, slope), graph.constant(weight.T))


def _offsets(graph: OnnxGraph, maps: GeometryMaps) -> str:
    """Offsets [B, 3, 256, 256]."""
    mean = graph.add("ReduceMean", W_PLUS, axes=[1], keepdims=0)
    identity = graph.add("MatMul", mean, graph.constant(reading_map()[:, :IDENTITY_SIZE]))
    coarse = graph.add("MatMul", identity, _half(graph, maps.coarse))
    enlarged = _enlarged(graph, graph.reshape(coarse, (-1, 3, COARSE_SIZE, COARSE_SIZE)), enlarging_taps())
    # One texel more than there are, which is 0: every texel that no vertex reads takes it.
    fine = graph.add("MatMul", identity, _half(graph, _with_none(maps.fine)))
    taken = np.full(MAP_SIZE**2, len(maps.texels))
    taken[maps.texels] = np.arange(len(maps.texels))
    texels = graph.reshape(fine, (-1, 3, len(maps.texels) + 1))
    placed = graph.add("Gather", texels, graph.constant(taken, np.int64), axis=2)
    return graph.add("Add", enlarged, graph.reshape(placed, (-1, 3, MAP_SIZE, MAP_SIZE)))


def _offset_gradient(graph: OnnxGraph, by_offset: str, maps: GeometryMaps) -> str:
    """Gradient [B, 160] by the identity."""
    shrunk = graph.reshape(_shrunk(graph, by_offset, enlarging_taps()), (-1, 3 * COARSE_SIZE**2))
    by_coarse = graph.add("Gemm", shrunk, _half(graph, maps.coarse), transB=1)
    texels = graph.constant(np.append(maps.texels, 0), np.int64)
    read = graph.add("Gather", graph.reshape(by_offset, (-1, 3, MAP_SIZE**2)), texels, axis=2)
    flat = graph.reshape(read, (-1, 3 * (len(maps.texels) + 1)))
    by_fine = graph.add("Gemm", flat, _half(graph, _with_none(maps.fine)), transB=1)
    return graph.add("Add", by_coarse, by_fine)


def _with_none(fine: F32) -> F32:
    return np.concatenate([fine, np.zeros_like(fine[..., :1])], axis=2)


def _doubling() -> F32:
    return np.array(DOUBLING_TAPS, np.float32)


def _enlarged(graph: OnnxGraph, maps: str, taps: F32) -> str:
    """Maps of three channels enlarged by half as much as there are taps."""
    return graph.add("ConvTranspose", maps, _kernel(graph, taps), **_steps(taps))


def _shrunk(graph: OnnxGraph, maps: str, taps: F32) -> str:
    """The transpose of `_enlarged`."""
    return graph.add("Conv", maps, _kernel(graph, taps), **_steps(taps))


def _kernel(graph: OnnxGraph, taps: F32) -> str:
    return graph.constant(np.tile(taps[:, None] * taps, (3, 1, 1, 1)))


def _steps(taps: F32) -> dict[str, Any]:
    stride = len(taps) // 2
    return {"strides": [stride] * 2, "pads": [stride // 2] * 4, "group": 3}


def _half(graph: OnnxGraph, basis: F32) -> str:
    """A basis [K, ...] as a matrix [K, M] that is stored in half precision; engines widen it once."""
    flat = basis.reshape(len(basis), -1)
    return graph.add("Cast", graph.constant(flat, np.float16), to=onnx.TensorProto.FLOAT)

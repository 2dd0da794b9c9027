"""Puts the open networks of ``avatar_normalized`` together as ONNX, without torch.

The geometry half's matrices are made from the head file of this machine (19 MB, so they travel nowhere); the
albedo half's graphs travel with this package (``python -m facewright_export.open_normalized`` writes them).
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Final

import numpy as np
import onnx
from onnx import helper

from facewright.head.head_model import HeadModel
from facewright_client.contract import IDENTITY_SIZE
from facewright_export.open_normalized.factors import LAYERS, W_SIZE, reading_map
from facewright_export.open_normalized.geometry_maps import (
    COARSE_SIZE,
    ENLARGEMENT,
    MAP_SIZE,
    GeometryMaps,
    enlarging_taps,
)
from facewright_export.tflite_to_onnx.onnx_graph import OnnxGraph

#: The albedo half's graphs: W_PLUS → ALBEDO, RESIDUAL_*; these and GRAD_ALBEDO → GRAD_W_PLUS.
ALBEDO_FORWARD: Final = Path(__file__).with_name("albedo_forward.onnx")
ALBEDO_BACKWARD: Final = Path(__file__).with_name("albedo_backward.onnx")
LICENCE: Final = {
    "licence": "CC0-1.0 AND MIT AND Apache-2.0",
    "source": "open head; albedo of synthetic people",
}


def generator_forward(head: HeadModel) -> onnx.ModelProto:
    """W_PLUS → UV_MAPS, RESIDUAL_*, as `facewright.refine.networks` says."""
    model = onnx.load(ALBEDO_FORWARD)
    _join(
        model,
        _offsets(GeometryMaps.of(head)),
        outputs={"UV_MAPS": (6, MAP_SIZE, MAP_SIZE)},
        hidden=["ALBEDO"],
    )
    return model


def generator_backward(head: HeadModel) -> onnx.ModelProto:
    """RESIDUAL_*, GRAD_UV_MAPS → GRAD_W_PLUS, as `facewright.refine.networks` says."""
    model = onnx.load(ALBEDO_BACKWARD)
    _rename(model.graph.node, "GRAD_W_PLUS", "GRAD_W_PLUS_BY_ALBEDO")
    _join(
        model,
        _offset_gradient(GeometryMaps.of(head)),
        inputs={"GRAD_UV_MAPS": (6, MAP_SIZE, MAP_SIZE)},
        outputs={"GRAD_W_PLUS": (LAYERS, W_SIZE)},
        hidden=["GRAD_ALBEDO", "GRAD_W_PLUS_BY_ALBEDO", "GRAD_W_PLUS"],
    )
    return model


def avatar_generator(forward: onnx.ModelProto) -> onnx.ModelProto:
    """The same as ``generator_forward``, with UV_MAPS alone."""
    alone = onnx.ModelProto()
    alone.CopyFrom(forward)
    del alone.graph.output[:]
    alone.graph.output.extend(value for value in forward.graph.output if value.name == "UV_MAPS")
    return alone


def identity_regressor() -> onnx.ModelProto:
    """EMBEDDING f32 [B, 512], a code w, → W_PLUS f32 [B, 14, 512] that repeats it."""
    graph = OnnxGraph()
    column = graph.reshape("EMBEDDING", (-1, 1, W_SIZE))
    graph.add("Tile", column, graph.constant([1, LAYERS, 1], np.int64), output="W_PLUS")
    return graph.model("identity_regressor", {"EMBEDDING": (W_SIZE,)}, {"W_PLUS": (LAYERS, W_SIZE)}, LICENCE)


def _offsets(maps: GeometryMaps) -> OnnxGraph:
    """W_PLUS, ALBEDO → UV_MAPS."""
    graph = OnnxGraph()
    mean = graph.add("ReduceMean", "W_PLUS", graph.constant([1], np.int64), keepdims=0)
    identity = graph.add("MatMul", mean, graph.constant(reading_map()[:, :IDENTITY_SIZE]))
    coarse = graph.add("MatMul", identity, _half(graph, maps.coarse))
    enlarged = graph.add(
        "ConvTranspose",
        graph.reshape(coarse, (-1, 3, COARSE_SIZE, COARSE_SIZE)),
        graph.constant(_kernel()),
        strides=[ENLARGEMENT] * 2,
        pads=[ENLARGEMENT // 2] * 4,
        group=3,
    )
    # One texel more than there are, which is 0: every texel that no vertex reads takes it.
    fine = graph.add("MatMul", identity, _half(graph, _with_none(maps.fine)))
    taken = np.full(MAP_SIZE**2, len(maps.texels))
    taken[maps.texels] = np.arange(len(maps.texels))
    placed = graph.add(
        "Gather", graph.reshape(fine, (-1, 3, len(maps.texels) + 1)), graph.constant(taken, np.int64), axis=2
    )
    offset = graph.add("Add", enlarged, graph.reshape(placed, (-1, 3, MAP_SIZE, MAP_SIZE)))
    graph.add("Concat", offset, "ALBEDO", axis=1, output="UV_MAPS")
    return graph


def _offset_gradient(maps: GeometryMaps) -> OnnxGraph:
    """GRAD_UV_MAPS, GRAD_W_PLUS_BY_ALBEDO → GRAD_ALBEDO, GRAD_W_PLUS."""
    graph = OnnxGraph()
    parts = [graph.constant(bound, np.int64) for bound in ([0], [3], [6], [1])]
    by_offset = graph.add("Slice", "GRAD_UV_MAPS", parts[0], parts[1], parts[3])
    graph.add("Slice", "GRAD_UV_MAPS", parts[1], parts[2], parts[3], output="GRAD_ALBEDO")
    shrunk = graph.add(
        "Conv",
        by_offset,
        graph.constant(_kernel()),
        strides=[ENLARGEMENT] * 2,
        pads=[ENLARGEMENT // 2] * 4,
        group=3,
    )
    flat = graph.reshape(shrunk, (-1, 3 * COARSE_SIZE**2))
    by_identity = graph.add("Gemm", flat, _half(graph, maps.coarse), transB=1)
    read = graph.add(
        "Gather",
        graph.reshape(by_offset, (-1, 3, MAP_SIZE**2)),
        graph.constant(np.append(maps.texels, 0), np.int64),
        axis=2,
    )
    flat = graph.reshape(read, (-1, 3 * (len(maps.texels) + 1)))
    by_fine = graph.add("Gemm", flat, _half(graph, _with_none(maps.fine)), transB=1)
    both = graph.add("Add", by_identity, by_fine)
    reading = reading_map()[:, :IDENTITY_SIZE].T / np.float32(LAYERS)
    by_w = graph.reshape(graph.add("MatMul", both, graph.constant(reading)), (-1, 1, W_SIZE))
    graph.add("Add", "GRAD_W_PLUS_BY_ALBEDO", by_w, output="GRAD_W_PLUS")
    return graph


def _with_none(fine: np.ndarray) -> np.ndarray:
    return np.concatenate([fine, np.zeros_like(fine[..., :1])], axis=2)


def _kernel() -> np.ndarray:
    taps = enlarging_taps()
    return np.tile(taps[:, None] * taps, (3, 1, 1, 1))


def _half(graph: OnnxGraph, basis: np.ndarray) -> str:
    """A basis [160, ...] as a matrix [160, M] that is stored in half precision; engines widen it once."""
    flat = basis.reshape(len(basis), -1)
    return graph.add("Cast", graph.constant(flat, np.float16), to=onnx.TensorProto.FLOAT)


def _join(
    model: onnx.ModelProto,
    more: OnnxGraph,
    *,
    outputs: dict[str, tuple[int, ...]],
    hidden: list[str],
    inputs: dict[str, tuple[int, ...]] | None = None,
) -> None:
    """Add nodes to a model whose border becomes the new tensors, the ``hidden`` ones no longer being of it."""
    graph = model.graph
    made = {name for node in more.nodes for name in node.output} - {*outputs, *hidden}
    for name in (*made, *(constant.name for constant in more.constants)):
        _rename(more.nodes, name, f"geometry_{name}")
    for part in (*more.nodes, *more.constants):
        part.name = f"geometry_{part.name}"
    graph.initializer.extend(more.constants)
    known = {value.name for value in (*graph.input, *graph.initializer)} - {*hidden} | {*(inputs or {})}
    nodes = _in_order([*graph.node, *more.nodes], known)
    del graph.node[:]
    graph.node.extend(nodes)
    for border, new in ((graph.input, inputs or {}), (graph.output, outputs)):
        kept = [value for value in border if value.name not in hidden]
        del border[:]
        added = [
            helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, ["batch", *shape])
            for name, shape in new.items()
        ]
        border.extend([*added, *kept] if border is graph.output else [*kept, *added])
    del graph.value_info[:]
    helper.set_model_props(model, LICENCE)
    onnx.checker.check_model(model, full_check=True)


def _in_order(nodes: list[onnx.NodeProto], known: set[str]) -> list[onnx.NodeProto]:
    """The nodes, each after those whose outputs it takes."""
    ordered: list[onnx.NodeProto] = []
    left = nodes
    while left:
        ready = []
        for node in left:
            if all(not name or name in known for name in node.input):
                ready.append(node)
                known.update(node.output)
        if not ready:
            raise ValueError(f"{left[0].name} takes {list(left[0].input)}, which no node gives")
        chosen = set(map(id, ready))
        ordered += ready
        left = [node for node in left if id(node) not in chosen]
    return ordered


def _rename(nodes: Iterable[onnx.NodeProto], old: str, new: str) -> None:
    for node in nodes:
        for names in (node.input, node.output):
            for place, name in enumerate(names):
                if name == old:
                    names[place] = new

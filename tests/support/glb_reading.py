"""A GLB read back with pygltflib: accessors' values, meshes and nodes by name."""

from __future__ import annotations

from typing import Any

import numpy as np
import pygltflib
from numpy.typing import NDArray

_COMPONENTS = {"SCALAR": 1, "VEC2": 2, "VEC3": 3, "VEC4": 4, "MAT4": 16}
_DTYPES = {5121: "u1", 5123: "<u2", 5125: "<u4", 5126: "<f4"}


def read_accessor(gltf: pygltflib.GLTF2, index: int) -> NDArray[Any]:
    """An accessor's values [count, components], dense or sparse."""
    accessor = gltf.accessors[index]
    blob = gltf.binary_blob()
    width = _COMPONENTS[accessor.type]
    values = np.zeros((accessor.count, width), _DTYPES[accessor.componentType])
    if accessor.bufferView is not None:
        view = gltf.bufferViews[accessor.bufferView]
        start = view.byteOffset + accessor.byteOffset
        assert (view.byteStride or values.strides[0]) == values.strides[0]
        values[:] = np.frombuffer(blob, values.dtype, values.size, start).reshape(values.shape)
    if accessor.sparse is not None:
        sparse = accessor.sparse
        view = gltf.bufferViews[sparse.indices.bufferView]
        start = view.byteOffset + sparse.indices.byteOffset
        rows = np.frombuffer(blob, _DTYPES[sparse.indices.componentType], sparse.count, start)
        view = gltf.bufferViews[sparse.values.bufferView]
        start = view.byteOffset + sparse.values.byteOffset
        values[rows] = np.frombuffer(blob, values.dtype, sparse.count * width, start).reshape(-1, width)
    return values


def mesh_named(gltf: pygltflib.GLTF2, name: str) -> pygltflib.Mesh:
    return next(mesh for mesh in gltf.meshes if mesh.name == name)


def node_named(gltf: pygltflib.GLTF2, name: str) -> pygltflib.Node:
    return next(node for node in gltf.nodes if node.name == name)

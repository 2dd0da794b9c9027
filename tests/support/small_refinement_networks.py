"""Small networks with exact gradients, for tests of the refinement: ONNX graphs written by hand.

The generator is linear in 16 numbers behind a tanh; the perceptual network compares the image and two layers
of seeded random convolutions; the identity network compares one linear embedding of the blurred image.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from onnx import TensorProto, helper, numpy_helper, save_model

from facewright.engines.onnx_engine import OnnxEngine
from facewright.head.head_model import HeadModel
from facewright.refine.networks import RefinementNetworks, load_refinement_networks
from facewright_kernels import interpolate, rasterize

LATENT_SHAPE = (2, 24)  # layers, size of each
FACTORS = 16  # the first half moves vertices, the other colours
MAP_SIZE = 64
IMAGE_SIZE = 64

F32 = npt.NDArray[np.float32]
Shape = tuple[int | str, ...]


def small_networks(
    head: HeadModel, folder: Path, latent_shape: tuple[int, int] = LATENT_SHAPE
) -> RefinementNetworks:
    """Writes the six graphs into ``folder`` and opens them on the CPU."""
    rng = np.random.default_rng(0)
    _write_generator(head, folder, rng, latent_shape)
    _write_perceptual(folder, rng)
    _write_identity(folder, rng)
    return load_refinement_networks(folder, OnnxEngine)


def uv_map_of(head: HeadModel, attributes: F32, size: int = MAP_SIZE) -> F32:
    """Vertex attributes ``[V, C]`` drawn into the UV layout, ``[size, size, C]``; 0 between the islands."""
    clip = np.concatenate([2 * head.uv - 1, np.zeros((len(head.uv), 1)), np.ones((len(head.uv), 1))], axis=1)
    raster = rasterize(clip[None].astype(np.float32), head.uv_triangles, size, size)
    of_uv_vertices = np.ascontiguousarray(attributes[head.uv_vertex][None], np.float32)
    drawn: F32 = interpolate(of_uv_vertices, head.uv_triangles, raster)[0]
    return drawn


def _write_generator(
    head: HeadModel, folder: Path, rng: np.random.Generator, latent_shape: tuple[int, int]
) -> None:
    latents = latent_shape[0] * latent_shape[1]
    half = FACTORS // 2
    texels = 6 * MAP_SIZE * MAP_SIZE
    basis = np.zeros((FACTORS, 6, MAP_SIZE, MAP_SIZE), np.float32)
    v, u = np.mgrid[0:MAP_SIZE, 0:MAP_SIZE] / MAP_SIZE
    for k in range(half):
        basis[k, :3] = 3 * uv_map_of(head, head.identity_basis[k]).transpose(2, 0, 1)
        wave = np.cos(2 * np.pi * (rng.uniform(0.5, 4) * u + rng.uniform(0.5, 4) * v + rng.uniform()))
        basis[half + k, 3:] = 0.06 * wave * rng.uniform(0.5, 1, (3, 1, 1))
    base = np.zeros((1, 6, MAP_SIZE, MAP_SIZE), np.float32)
    base[:, 3:] = np.array([0.5, 0.35, 0.28]).reshape(1, 3, 1, 1)
    mixing = (rng.normal(size=(latents, FACTORS)) / latents**0.5).astype(np.float32)
    constants = {
        "mixing": mixing,
        "mixing_t": np.ascontiguousarray(mixing.T),
        "basis": basis.reshape(FACTORS, texels),
        "basis_t": np.ascontiguousarray(basis.reshape(FACTORS, texels).T),
        "base": base,
        "flat_w": np.array([-1, latents]),
        "flat_maps": np.array([-1, texels]),
        "w_shape": np.array([-1, *latent_shape]),
        "maps_shape": np.array([-1, 6, MAP_SIZE, MAP_SIZE]),
        "one": np.float32(1),
    }
    w: Shape = ("batch", *latent_shape)
    maps: Shape = ("batch", 6, MAP_SIZE, MAP_SIZE)
    _save(
        folder / "generator_forward.onnx",
        {"W_PLUS": w},
        {"UV_MAPS": maps, "RESIDUAL_0": ("batch", FACTORS)},
        constants,
        """
        Reshape W_PLUS flat_w -> w
        MatMul w mixing -> mixed
        Tanh mixed -> RESIDUAL_0
        MatMul RESIDUAL_0 basis -> flat
        Reshape flat maps_shape -> added
        Add added base -> UV_MAPS
        """,
    )
    _save(
        folder / "generator_backward.onnx",
        {"RESIDUAL_0": ("batch", FACTORS), "GRAD_UV_MAPS": maps},
        {"GRAD_W_PLUS": w},
        constants,
        """
        Reshape GRAD_UV_MAPS flat_maps -> grad
        MatMul grad basis_t -> grad_factors
        Mul RESIDUAL_0 RESIDUAL_0 -> squared
        Sub one squared -> slope
        Mul grad_factors slope -> grad_mixed
        MatMul grad_mixed mixing_t -> grad_w
        Reshape grad_w w_shape -> GRAD_W_PLUS
        """,
    )


def _write_perceptual(folder: Path, rng: np.random.Generator) -> None:
    half, quarter = IMAGE_SIZE // 2, IMAGE_SIZE // 4
    image: Shape = ("batch", 3, IMAGE_SIZE, IMAGE_SIZE)
    targets: dict[str, Shape] = {
        "TARGET_0": image,
        "TARGET_1": ("batch", 8, half, half),
        "TARGET_2": ("batch", 12, quarter, quarter),
    }
    constants = {
        "kernel_1": rng.normal(size=(8, 3, 4, 4)).astype(np.float32) / 4,
        "kernel_2": rng.normal(size=(12, 8, 4, 4)).astype(np.float32) / 8,
        "leak": np.float32(0.2),
        "rest": np.float32(0.8),
        "zero": np.float32(0),
        "two_0": np.float32(2 / (3 * IMAGE_SIZE**2)),
        "two_1": np.float32(2 / (8 * half**2)),
        "two_2": np.float32(2 / (12 * quarter**2)),
        "axes": np.array([1, 2, 3]),
        "half": np.float32(0.5),
    }
    layers = """
        Conv:strides=2,2:pads=1,1,1,1 IMAGE kernel_1 -> before_1
        LeakyRelu:alpha=0.2 before_1 -> after_1
        Conv:strides=2,2:pads=1,1,1,1 after_1 kernel_2 -> before_2
        LeakyRelu:alpha=0.2 before_2 -> after_2
        """
    tap = "Identity IMAGE -> TARGET_0\nIdentity after_1 -> TARGET_1\nIdentity after_2 -> TARGET_2"
    _save(folder / "perceptual_targets.onnx", {"IMAGE": image}, targets, constants, layers + tap)
    # The loss is the sum over layers of mean squared differences.
    loss = "".join(
        f"""
        Sub {seen} TARGET_{k} -> difference_{k}
        Mul difference_{k} two_{k} -> grad_{k}
        Mul difference_{k} grad_{k} -> squares_{k}
        ReduceSum:keepdims=0 squares_{k} axes -> twice_{k}
        """
        for k, seen in enumerate(("IMAGE", "after_1", "after_2"))
    )
    backward = "".join(
        f"""
        Greater before_{k} zero -> positive_{k}
        Cast:to=1 positive_{k} -> sign_{k}
        Mul sign_{k} rest -> steep_{k}
        Add steep_{k} leak -> slope_{k}
        {"Identity grad_2 -> down_2" if k == 2 else "Add grad_1 from_2 -> down_1"}
        Mul down_{k} slope_{k} -> grad_before_{k}
        ConvTranspose:strides=2,2:pads=1,1,1,1 grad_before_{k} kernel_{k} -> from_{k}
        """
        for k in (2, 1)
    )
    total = """
        Add twice_0 twice_1 -> twice_01
        Add twice_01 twice_2 -> twice
        Mul twice half -> LOSS
        Add grad_0 from_1 -> GRAD_IMAGE
        """
    _save(
        folder / "perceptual_loss.onnx",
        {"IMAGE": image, **targets},
        {"LOSS": ("batch",), "GRAD_IMAGE": image},
        constants,
        layers + loss + backward + total,
    )


def _write_identity(folder: Path, rng: np.random.Generator) -> None:
    size, block = 32, IMAGE_SIZE // 8
    projection = rng.normal(size=(3 * 64, size)).astype(np.float32)
    projection -= projection.mean(axis=0)  # blind to the image's mean colour
    constants = {
        "projection": projection,
        "projection_t": np.ascontiguousarray(projection.T),
        "flat": np.array([-1, 3 * 64]),
        "blocks": np.array([-1, 3, 8, 8]),
        "axis": np.array([1]),
        "one": np.float32(1),
        "share": np.float32(-1 / block**2),
        "spread": np.ones((3, 1, block, block), np.float32),
    }
    image: Shape = ("batch", 3, IMAGE_SIZE, IMAGE_SIZE)
    embed = f"""
        AveragePool:kernel_shape={block},{block}:strides={block},{block} IMAGE -> pooled
        Reshape pooled flat -> flattened
        MatMul flattened projection -> embedding
        ReduceL2:keepdims=1 embedding axis -> length
        Div embedding length -> unit
        """
    target: dict[str, Shape] = {"TARGET_EMBEDDING": ("batch", size)}
    _save(
        folder / "identity_targets.onnx",
        {"IMAGE": image},
        target,
        constants,
        embed + "Identity unit -> TARGET_EMBEDDING",
    )
    _save(
        folder / "identity_loss.onnx",
        {"IMAGE": image, **target},
        {"LOSS": ("batch",), "GRAD_IMAGE": image},
        constants,
        embed
        + f"""
        Mul unit TARGET_EMBEDDING -> products
        ReduceSum:keepdims=1 products axis -> cosine_kept
        ReduceSum:keepdims=0 products axis -> cosine
        Sub one cosine -> LOSS
        Mul unit cosine_kept -> along
        Sub TARGET_EMBEDDING along -> across
        Div across length -> grad_embedding
        MatMul grad_embedding projection_t -> grad_flat
        Reshape grad_flat blocks -> grad_blocks
        ConvTranspose:strides={block},{block}:group=3 grad_blocks spread -> grad_spread
        Mul grad_spread share -> GRAD_IMAGE
        """,
    )


def _save(
    path: Path,
    inputs: dict[str, Shape],
    outputs: dict[str, Shape],
    constants: dict[str, Any],
    lines: str,
) -> None:
    """A graph from lines ``Operator[:attribute=value,...] inputs -> output``."""
    nodes = []
    for line in filter(None, map(str.strip, lines.splitlines())):
        call, output = line.split(" -> ")
        operator, *names = call.split()
        kind, *attributes = operator.split(":")
        values = dict(attribute.split("=") for attribute in attributes)
        nodes.append(
            helper.make_node(kind, names, [output], **{name: _value(text) for name, text in values.items()})
        )
    used = {name for node in nodes for name in node.input}

    def declared(values: dict[str, Shape]) -> list[Any]:
        return [helper.make_tensor_value_info(n, TensorProto.FLOAT, shape) for n, shape in values.items()]

    graph = helper.make_graph(
        nodes,
        path.stem,
        declared(inputs),
        declared(outputs),
        [numpy_helper.from_array(np.asarray(v), name) for name, v in constants.items() if name in used],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    save_model(model, str(path))


def _value(text: str) -> Any:
    numbers = [float(part) if "." in part else int(part) for part in text.split(",")]
    return numbers if "," in text else numbers[0]

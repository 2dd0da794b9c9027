"""Graphs of refinement as engines take them: TensorRT's rules, and gradients in half precision."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch

from facewright.engines.onnx_engine import OnnxEngine
from facewright.pipelines.registry import networks, pipelines
from facewright.refine.network_files import refinement_files, refinement_folder
from facewright.refine.networks import (
    GRAD_UV_MAPS,
    GRAD_W_PLUS,
    W_PLUS,
    load_refinement_networks,
)
from facewright_export.gradients.refinement_export import (
    HALF_GRADIENT_SCALE,
    export_generator,
    export_image_loss,
)
from facewright_export.gradients.refinement_functions import (
    IdentityLoss,
    PerceptualLoss,
    UvMapGenerator,
)
from facewright_export.network_tables import network
from facewright_export.networks.lpips import Lpips
from facewright_export.networks.stylegan2 import GeneratorLayout, StyleGan2Synthesis
from facewright_export.onnx.network_metadata import NetworkMetadata
from facewright_export.onnx.onnx_lint import lint
from facewright_export.tensorrt.build_command import open_networks

LATENT = (14, 512)


@pytest.mark.parametrize("part", ["generator", "perceptual"])
def test_tensorrt_takes_the_open_networks(part: str) -> None:
    files = {name: path for name, path in refinement_files(refinement_folder()).items() if part in name}
    assert len(files) == 2
    for path in files.values():
        assert lint(onnx.load(path)) == []


@pytest.mark.slow
@pytest.mark.parametrize("precision", [torch.float32, torch.float16], ids=["fp32", "fp16"])
def test_tensorrt_takes_the_networks_at_their_published_sizes(precision: torch.dtype, tmp_path: Path) -> None:
    torch.manual_seed(0)
    scale = 1.0 if precision == torch.float32 else HALF_GRADIENT_SCALE
    synthesis = StyleGan2Synthesis(GeneratorLayout(output_channels=6, noise=False))
    export_generator(UvMapGenerator(synthesis, precision), LATENT, tmp_path, scale)
    losses = {
        "perceptual": PerceptualLoss(Lpips(), precision),
        # Not torch's own start, at which all faces have one embedding and the loss is its own rounding.
        "identity": IdentityLoss(network("face_embedding").seeded(), precision=precision),
    }
    for name, loss in losses.items():
        export_image_loss(name, loss, 256, tmp_path, scale)
    files = refinement_files(tmp_path)
    assert len(files) == 6
    assert {name: lint(onnx.load(path)) for name, path in files.items()} == {name: [] for name in files}


def test_a_gradient_too_small_for_half_precision_comes_through_a_served_generator(tmp_path: Path) -> None:
    """A pixel's gradient is below half precision's least number, 6e-8. The graph scales it by itself."""
    torch.manual_seed(0)
    layout = GeneratorLayout(8, output_channels=6, largest_width=4, noise=False)
    synthesis, latent = StyleGan2Synthesis(layout).eval(), (4, 512)
    generator = UvMapGenerator(synthesis, torch.float16)
    export_generator(generator, latent, tmp_path, HALF_GRADIENT_SCALE)
    for name in ("perceptual_targets", "perceptual_loss"):
        (tmp_path / f"{name}.onnx").symlink_to(refinement_folder() / f"{name}.onnx")
    backward = onnx.load(tmp_path / "generator_backward.onnx")
    assert "ScatterND" not in {node.op_type for node in backward.graph.node}
    served = load_refinement_networks(tmp_path, OnnxEngine).generator
    rng = np.random.default_rng(0)
    w_plus = rng.normal(size=(2, *latent)).astype(np.float32)
    grad_maps = rng.normal(size=(2, 6, 8, 8)).astype(np.float32)

    def gradient(size: float) -> np.ndarray:
        arrays = {W_PLUS: w_plus, GRAD_UV_MAPS: np.float32(size) * grad_maps}
        for engine in (served.forward, served.backward):
            arrays |= engine.run({name: arrays[name] for name in engine.inputs})
        return arrays[GRAD_W_PLUS] / size

    large, tiny = gradient(1e-2), gradient(1e-8)
    assert np.linalg.norm(large) > 0
    assert np.linalg.norm(tiny - large) < 0.02 * np.linalg.norm(large)


def test_plans_are_built_of_what_the_refinement_stages_serve() -> None:
    built = open_networks()
    opened = {name for name, row in networks(pipelines()).items() if row.weights}
    assert built.keys() == {*opened, *refinement_files(refinement_folder())}
    path, metadata = built["generator_backward"]
    assert path == refinement_folder() / "generator_backward.onnx"
    # Its weights are stored in half precision, and cast before any layer reads them.
    assert metadata == NetworkMetadata("generator_backward", "fp32", (1, 8, 32))
    assert list(open_networks(["face_landmarks"])) == ["face_landmarks"]
    with pytest.raises(
        Exception, match=r"no open network other \(there are: .*face_shape.*generator_backward"
    ):
        open_networks(["other"])

"""Networks of avatar_twin: the shape from an embedding of the identity."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from torch import nn

from facewright_export.checkpoints._reading import fill, read_checkpoint
from facewright_export.checkpoints.light_cnn import import_light_cnn
from facewright_export.network import Example, Input, Network
from facewright_export.network_tables.row_parts import WHOLE, image
from facewright_export.networks.light_cnn import LightCnn29V2
from facewright_export.networks.shape_decoder import FEATURE_WIDTH, ShapeDecoder
from facewright_export.onnx.graph_surgery import PixelNormalisation
from facewright_export.parity.parity import angle_degrees, vertex_millimetres
from facewright_export.parity.parity_gates import gate

_GREY: Final = PixelNormalisation((0.0,), (255.0,), "GRAY")


def _load_shape_decoder(path: Path) -> nn.Module:
    """The decoder for as many vertices as the owner's file has."""
    tensors = read_checkpoint(path).tensors
    biases = [value for name, value in tensors.items() if name.endswith("vertices.bias")]
    network = ShapeDecoder(biases[0].numel() // 3 if biases else 1)
    fill(network, path)
    return network


NETWORKS: Final[tuple[Network, ...]] = (
    Network(
        name="light_cnn",
        build=LightCnn29V2,
        load=import_light_cnn,
        files=("LightCNN_29Layers_V2_checkpoint.pth.tar",),
        inputs=(image(128),),
        gates={"IDENTITY_FEATURE": gate(angle_degrees(), 0.01, 0.2, 1.5)},
        source="Wu et al. 2018, A Light CNN for Deep Face Representation with Noisy Labels",
        pixels=_GREY,
    ),
    Network(
        name="shape_decoder",
        build=ShapeDecoder,
        load=_load_shape_decoder,
        files=("shape_decoder.pt",),
        inputs=(Input("IDENTITY_FEATURE", (FEATURE_WIDTH,), Example.NORMAL),),
        gates={"VERTICES": gate(vertex_millimetres(), 0.001, 0.001, 0.001)},
        source="Wang et al. 2019 (twin), section 3.3",
        islands=WHOLE,
        seeded_scales={"vertices.weight": 0.005, "vertices.bias": 0.05},
    ),
)

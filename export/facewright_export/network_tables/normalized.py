"""Networks of avatar_normalized: an embedding to W+ to UV maps, and what its refinement needs."""

from __future__ import annotations

from functools import partial
from typing import Final

import torch
from torch import Tensor

from facewright_export.checkpoints.face_segmentation import import_bisenet, import_pspnet
from facewright_export.checkpoints.facenet import import_facenet
from facewright_export.checkpoints.lpips import import_lpips
from facewright_export.checkpoints.state_dict import import_state_dict
from facewright_export.gradients.refinement_export import (
    generator_gradients,
    identity_gradients,
    perceptual_gradients,
)
from facewright_export.network import Batch, Example, Input, Network, then
from facewright_export.network_tables.row_parts import UNIT_LENGTH, image
from facewright_export.network_tables.stylegan2_rows import (
    DEMODULATION,
    STYLEGAN2_SCALES,
    at_resolution,
    load_synthesis,
    w_plus,
)
from facewright_export.networks.bisenet import BiSeNet
from facewright_export.networks.camera_regressor import CameraRegressor
from facewright_export.networks.identity_regressor import IdentityRegressor
from facewright_export.networks.inception_resnet_v1 import InceptionResnetV1
from facewright_export.networks.lpips import Lpips
from facewright_export.networks.pspnet import IMAGE_SIDE, PspNet
from facewright_export.networks.stylegan2 import GeneratorLayout, StyleGan2Synthesis
from facewright_export.onnx.graph_surgery import PixelNormalisation
from facewright_export.parity.parity import (
    albedo_delta_e,
    angle_degrees,
    coefficient_sigma,
    label_percent,
    plain_difference,
    rotation_degrees,
)
from facewright_export.parity.parity_gates import gate, labels_gate

_IMAGENET: Final = PixelNormalisation((123.675, 116.28, 103.53), (58.395, 57.12, 57.375))
_FACENET: Final = PixelNormalisation((127.5,) * 3, (128.0,) * 3)


def _part_labels(scores: Tensor) -> Tensor:
    """Scores [B, K, H, W] → the label of each pixel, uint8 [B, H, W]: a hundredth of the bytes."""
    return scores.argmax(dim=1).float().to(torch.uint8)  # TensorRT makes bytes of floats only


NETWORKS: Final[tuple[Network, ...]] = (
    Network(
        name="face_embedding",
        build=InceptionResnetV1,
        load=import_facenet,
        files=("20180402-114759-vggface2.pt",),
        inputs=(image(160),),
        gates={"EMBEDDING": gate(angle_degrees(), 0.01, 0.15, 1)},
        source="Szegedy et al. 2017, Inception-v4, figures 10 to 15; facenet-pytorch",
        islands=UNIT_LENGTH,
        pixels=_FACENET,
        gradients=identity_gradients,
    ),
    Network(
        name="identity_regressor",
        build=IdentityRegressor,
        load=lambda path: import_state_dict(IdentityRegressor(), path),
        files=("identity_regressor.pt",),
        inputs=(Input("EMBEDDING", (512,), Example.DIRECTION),),
        gates={"W_PLUS": gate(coefficient_sigma(), 1e-4, 0.004, 0.03)},
        seeded_scales={"layers.6.weight": 0.2},  # styles about 1
        source="Luo et al. 2021 (normalized), section 3.1",
    ),
    Network(
        name="avatar_generator",
        build=lambda: StyleGan2Synthesis(GeneratorLayout(256, output_channels=6, noise=False)),
        load=at_resolution(256, partial(load_synthesis, channels=6)),
        files=("a StyleGAN2 file with six output channels",),
        inputs=(w_plus(14),),
        gates={"UV_MAPS": gate(albedo_delta_e(channels=slice(3, 6)), 0.01, 0.3, 2)},
        source="Luo et al. 2021 (normalized), section 3.1; Karras et al. 2020, StyleGAN2",
        islands=DEMODULATION,
        batch=Batch(1, 1, 8),
        seeded_scales=STYLEGAN2_SCALES,
        gradients=generator_gradients,
    ),
    Network(
        name="camera_regressor",
        build=CameraRegressor,
        load=lambda path: import_state_dict(CameraRegressor(), path),
        files=("camera_regressor.pt",),
        inputs=(image(224),),
        gates={"CAMERA": gate(rotation_degrees(slice(3, 6)), 0.001, 0.08, 0.8)},
        source="Luo et al. 2021 (normalized), section 3.3",
        pixels=_IMAGENET,
        seeded_scales={"fc.weight": 0.002},  # angles below a radian
    ),
    Network(
        name="face_parts",
        build=BiSeNet,
        load=import_bisenet,
        files=("79999_iter.pth",),
        inputs=(image(512),),
        gates={"FACE_PARTS": labels_gate(label_percent(), 0.01, 0.6, 5)},
        source="Yu et al. 2018, BiSeNet; zllrunning/face-parsing.PyTorch",
        serve=then(_part_labels),
        islands=("graph/Cast*",),
        pixels=_IMAGENET,
        batch=Batch(1, 1, 8),
    ),
    Network(
        name="face_segmentation",
        build=PspNet,
        load=import_pspnet,
        files=("train_epoch_200.pth",),
        inputs=(image(IMAGE_SIDE),),
        gates={"FACE_PARTS": labels_gate(label_percent(), 0.01, 0.6, 5)},
        source="Zhao et al. 2017, PSPNet; hszhao/semseg",
        serve=then(_part_labels),
        islands=("graph/Cast*",),
        pixels=_IMAGENET,
        batch=Batch(1, 1, 8),
        instead_of="face_parts",
    ),
    Network(
        name="perceptual_distance",
        build=Lpips,
        load=import_lpips,
        files=("vgg16-397923af.pth", "vgg.pth"),
        inputs=(
            Input("RENDERED_IMAGE", (3, 256, 256), Example.SIGNED),
            Input("TARGET_IMAGE", (3, 256, 256), Example.SIGNED),
        ),
        gates={"LPIPS": gate(plain_difference(), 1e-4, 6e-4, 1.2e-3)},
        source="Zhang et al. 2018, The Unreasonable Effectiveness of Deep Features, equation 1",
        # Features are brought to unit length (1e-20 under the root), their squared differences weighed.
        islands=("graph/*", "lin*"),
        batch=Batch(1, 1, 8),
        seeded_scales={"lin*": 3.0},  # distances of tenths
        gradients=perceptual_gradients,
    ),
)

"""Every network that Facewright exports, one row each, and the pipelines that they make up.

A new network is one file in ``networks/`` (with its importer in ``checkpoints/``) and one row here: see
CONTRIBUTING.md. Nothing else names a network.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Final, TypeVar

import torch
from torch import Tensor, nn

from facewright_export.checkpoints import LayoutError
from facewright_export.checkpoints._reading import load_strictly, read_torch, section
from facewright_export.checkpoints.albedo_gan import (
    import_albedo_gan_regressors,
    import_albedo_generator,
    import_displacement_generator,
)
from facewright_export.checkpoints.bfm import import_bfm
from facewright_export.checkpoints.deca import import_deca_coarse, import_deca_detail
from facewright_export.checkpoints.deep3d import import_deep3d
from facewright_export.checkpoints.face_segmentation import import_bisenet, import_pspnet
from facewright_export.checkpoints.facenet import import_facenet
from facewright_export.checkpoints.flame import import_flame
from facewright_export.checkpoints.insightface import import_arcface
from facewright_export.checkpoints.light_cnn import import_light_cnn
from facewright_export.checkpoints.lpips import import_lpips
from facewright_export.checkpoints.mica import import_mica
from facewright_export.checkpoints.state_dict import import_state_dict
from facewright_export.checkpoints.stylegan2 import import_stylegan2
from facewright_export.network import Batch, Example, Input, Network, then
from facewright_export.networks import coefficient_regressor as deep3d
from facewright_export.networks import deca
from facewright_export.networks.albedo_gan import AlbedoGenerator, DisplacementGenerator
from facewright_export.networks.basel_face import BaselFace
from facewright_export.networks.bisenet import BiSeNet
from facewright_export.networks.camera_regressor import CameraRegressor
from facewright_export.networks.detail_encoder import MAP_SIZE, DetailRefinement
from facewright_export.networks.flame import Flame
from facewright_export.networks.identity_regressor import IdentityRegressor
from facewright_export.networks.inception_resnet_v1 import InceptionResnetV1
from facewright_export.networks.iresnet import IRESNET100_BLOCKS, IResNet, identity_direction
from facewright_export.networks.light_cnn import LightCnn29V2
from facewright_export.networks.lpips import Lpips
from facewright_export.networks.mica import AlbedoGanRegressors, Mica
from facewright_export.networks.pspnet import IMAGE_SIDE, PspNet
from facewright_export.networks.shape_decoder import FEATURE_WIDTH, ShapeDecoder
from facewright_export.networks.stylegan2 import GeneratorLayout, StyleGan2Synthesis
from facewright_export.onnx.graph_surgery import PixelNormalisation
from facewright_export.parity.parity import (
    albedo_delta_e,
    angle_degrees,
    coefficient_sigma,
    displacement_millimetres,
    label_percent,
    plain_difference,
    rotation_degrees,
    vertex_millimetres,
)
from facewright_export.parity.parity_gates import gate, labels_gate
from facewright_export.stand_in_models import basel_stand_in, flame_stand_in

Generator = TypeVar("Generator", bound=nn.Module)

_ZERO_TO_ONE: Final = PixelNormalisation((0.0,) * 3, (255.0,) * 3)
_GREY: Final = PixelNormalisation((0.0,), (255.0,), "GRAY")
_IMAGENET: Final = PixelNormalisation((123.675, 116.28, 103.53), (58.395, 57.12, 57.375))
_FACENET: Final = PixelNormalisation((127.5,) * 3, (128.0,) * 3)
_ARCFACE: Final = PixelNormalisation((127.5,) * 3, (127.5,) * 3)

#: StyleGAN2 in fp16: demodulation sums up to 512 squares and adds 1e-8, which fp16 rounds to 0. The layers
#: are convs.0, conv1 …; what their parts compute (convs.0.activate/Add) stays narrow.
_DEMODULATION: Final = ("*[0-9]/Gemm", "*[0-9]/Add", "*[0-9]/Sqrt", "*[0-9]/Reciprocal")
#: Normalising to unit length: a sum of squares over the embedding, and the 1e-24 that keeps it from 0.
_UNIT_LENGTH: Final = ("graph/*",)
#: Networks that make a mesh compute in float32 in narrower files too: fp16 has steps of 0.06 mm at 0.1 m and
#: bf16 of 0.5 mm, which a mesh shows as a grain, and their work is little beside that of what feeds them.
_WHOLE: Final = ("*",)
#: Weights that StyleGAN2 scales itself are stored at unit variance; the last ones smaller, for images in -1 …
#: 1.
_STYLEGAN2_SCALES: Final = {
    "*to_rgb*.conv.weight": 0.2,
    "*.conv.weight": 1.0,
    "*modulation.weight": 1.0,
    "*.modulation.bias": 1.0,
    "*to_rgb*.bias": 0.1,  # one for each resolution, all added: larger ones push whole channels out of -1 … 1
    "*noises.*": 1.0,
    "*input.input": 1.0,
}
#: IResNet-100 sums 49 blocks: seeded like other networks it passes 1e11, far beyond fp16's 65504.
_RESIDUAL_SCALES: Final = {"*bn3.weight": 0.3}


def _image(side: int, name: str = "FACE_IMAGE") -> Input:
    return Input(name, (side, side, 3), Example.PIXELS)


def _w_plus(count: int) -> Input:
    return Input("W_PLUS", (count, 512), Example.NORMAL)


def _part_labels(scores: Tensor) -> Tensor:
    """Scores [B, K, H, W] → the label of each pixel, uint8 [B, H, W]: a hundredth of the bytes."""
    return scores.argmax(dim=1).float().to(torch.uint8)  # TensorRT makes bytes of floats only


def _load_shape_decoder(path: Path) -> nn.Module:
    """The decoder for as many vertices as the owner's file has."""
    content = read_torch(path)
    state = section(content, *(("state_dict",) if "state_dict" in content else ()), source=str(path))
    bias = state.get("vertices.bias")
    network = ShapeDecoder(bias.numel() // 3 if bias is not None else 1)
    load_strictly(network, state, source=str(path))
    return network


def _at(resolution: int, load: Callable[[Path], Generator]) -> Callable[[Path], Generator]:
    """A loader of generators of one resolution: files of albedo and displacement look alike."""

    def load_at(path: Path) -> Generator:
        generator = load(path)
        found = getattr(generator, "synthesis", generator).layout.resolution
        if found != resolution:
            raise LayoutError(
                str(path), f"its generator draws {found}², expected {resolution}²", "give the other file"
            )
        return generator

    return load_at


def _synthesis(path: Path, channels: int) -> StyleGan2Synthesis:
    synthesis = import_stylegan2(path).synthesis
    found = synthesis.layout.output_channels
    if found != channels:
        raise LayoutError(
            str(path), f"its generator draws {found} channels, expected {channels}", "give the other file"
        )
    return synthesis


NETWORKS: Final[tuple[Network, ...]] = (
    Network(
        name="light_cnn",
        build=LightCnn29V2,
        load=import_light_cnn,
        files=("LightCNN_29Layers_V2_checkpoint.pth.tar",),
        inputs=(_image(128),),
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
        islands=_WHOLE,
        seeded_scales={"vertices.weight": 0.005, "vertices.bias": 0.05},
    ),
    Network(
        name="face_embedding",
        build=InceptionResnetV1,
        load=import_facenet,
        files=("20180402-114759-vggface2.pt",),
        inputs=(_image(160),),
        gates={"EMBEDDING": gate(angle_degrees(), 0.01, 0.15, 1)},
        source="Szegedy et al. 2017, Inception-v4, figures 10 to 15; facenet-pytorch",
        islands=_UNIT_LENGTH,
        pixels=_FACENET,
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
        load=_at(256, partial(_synthesis, channels=6)),
        files=("a StyleGAN2 file with six output channels",),
        inputs=(_w_plus(14),),
        gates={"UV_MAPS": gate(albedo_delta_e(channels=slice(3, 6)), 0.01, 0.3, 2)},
        source="Luo et al. 2021 (normalized), section 3.1; Karras et al. 2020, StyleGAN2",
        islands=_DEMODULATION,
        batch=Batch(1, 1, 8),
        seeded_scales=_STYLEGAN2_SCALES,
    ),
    Network(
        name="camera_regressor",
        build=CameraRegressor,
        load=lambda path: import_state_dict(CameraRegressor(), path),
        files=("camera_regressor.pt",),
        inputs=(_image(224),),
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
        inputs=(_image(512),),
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
        inputs=(_image(IMAGE_SIDE),),
        gates={"FACE_PARTS": labels_gate(label_percent(), 0.01, 0.6, 5)},
        source="Zhao et al. 2017, PSPNet; hszhao/semseg",
        serve=then(_part_labels),
        islands=("graph/Cast*",),
        pixels=_IMAGENET,
        batch=Batch(1, 1, 8),
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
    ),
    Network(
        name="coefficient_regressor",
        build=deep3d.CoefficientRegressor,
        load=import_deep3d,
        files=("epoch_20.pth",),
        inputs=(_image(deep3d.INPUT_SIZE),),
        gates={
            "IDENTITY": gate(coefficient_sigma(), 1e-4, 0.004, 0.04),
            "EXPRESSION": gate(coefficient_sigma(), 1e-4, 0.004, 0.04),
            "TEXTURE": gate(coefficient_sigma(), 1e-4, 0.004, 0.04),
            "ANGLES": gate(rotation_degrees(slice(0, 3)), 0.005, 0.12, 1),
            "SH_LIGHT": gate(plain_difference(), 1e-4, 0.012, 0.1),
            "TRANSLATION": gate(plain_difference(), 1e-4, 0.002, 0.02),
        },
        source="Deng et al. 2019, Accurate 3D Face Reconstruction",
        serve=then(deep3d.named_coefficients),
        pixels=_ZERO_TO_ONE,
        seeded_scales={"final_layers.*.weight": 0.008},  # angles about a radian
    ),
    Network(
        name="basel_face",
        build=lambda: BaselFace(basel_stand_in()),
        load=import_bfm,
        files=("BFM_model_front.mat",),
        inputs=(
            Input("IDENTITY", (80,), Example.NORMAL),
            Input("EXPRESSION", (64,), Example.NORMAL),
            Input("TEXTURE", (80,), Example.NORMAL),
        ),
        gates={
            "VERTICES": gate(vertex_millimetres(metres_per_unit=0.1), 0.001, 0.001, 0.001),
            "VERTEX_ALBEDO": gate(plain_difference(), 1e-5, 1e-5, 1e-5),
        },
        source="Deng et al. 2019; Yang et al. 2021 (rerenderable), section 4.1, equations 1 and 2",
        islands=_WHOLE,
        kept=("*",),
    ),
    Network(
        name="detail_refinement",
        build=DetailRefinement,
        load=lambda path: import_state_dict(DetailRefinement(), path),
        files=("detail_refinement.pt",),
        inputs=(
            Input("UV_TEXTURE", (3, MAP_SIZE, MAP_SIZE), Example.SIGNED),
            Input("PRIOR_ALBEDO", (3, MAP_SIZE, MAP_SIZE), Example.SIGNED),
        ),
        gates={
            "DETAILED_ALBEDO": gate(albedo_delta_e(low=0.0), 0.01, 0.6, 4),
            "SH_LIGHT_MAP": gate(plain_difference(), 1e-3, 0.03, 0.2),
        },
        source="Yang et al. 2021 (rerenderable), section 4.3, tables 1 and 2",
        batch=Batch(1, 1, 8),
    ),
    Network(
        name="face_generator",
        build=lambda: StyleGan2Synthesis(GeneratorLayout(1024)),
        load=_at(1024, partial(_synthesis, channels=3)),
        files=("stylegan2_ffhq.pt",),
        inputs=(_w_plus(18),),
        gates={"FACE_PICTURE": gate(albedo_delta_e(), 0.01, 0.5, 3)},
        source="Karras et al. 2020, StyleGAN2; rosinality/stylegan2-pytorch",
        islands=_DEMODULATION,
        batch=Batch(1, 1, 4),
        seeded_scales=_STYLEGAN2_SCALES,
    ),
    Network(
        name="albedo_generator",
        build=AlbedoGenerator,
        load=_at(1024, import_albedo_generator),
        files=("albedogan.pt",),
        inputs=(_w_plus(18),),
        gates={"UV_ALBEDO": gate(albedo_delta_e(low=0.0), 0.01, 0.6, 4)},
        source="Rai et al. 2023 (generative), section 3.3",
        islands=_DEMODULATION,
        batch=Batch(1, 1, 4),
        seeded_scales=_STYLEGAN2_SCALES,
    ),
    Network(
        name="displacement_generator",
        build=DisplacementGenerator,
        load=_at(256, import_displacement_generator),
        files=("disp_GAN.pt",),
        inputs=(_w_plus(18),),
        gates={"DISPLACEMENT": gate(displacement_millimetres(1.0), 0.001, 0.4, 1.5)},
        source="Rai et al. 2023 (generative), section 4.2; scale and clipping of the released code",
        islands=_DEMODULATION,
        batch=Batch(1, 1, 8),
        seeded_scales=_STYLEGAN2_SCALES,
    ),
    Network(
        name="arcface",
        build=lambda: IResNet(IRESNET100_BLOCKS),
        load=import_arcface,
        files=("backbone.pth",),
        inputs=(_image(112),),
        gates={"EMBEDDING": gate(angle_degrees(), 0.01, 0.6, 4)},
        source="Deng et al. 2019, ArcFace; deepinsight/insightface",
        serve=then(identity_direction),
        islands=_UNIT_LENGTH,
        pixels=_ARCFACE,
        seeded_scales=_RESIDUAL_SCALES,
    ),
    Network(
        name="mica",
        build=Mica,
        load=import_mica,
        files=("mica.tar",),
        inputs=(_image(112),),
        gates={"IDENTITY": gate(coefficient_sigma(), 1e-4, 0.005, 0.04)},
        source="Zielonka et al. 2022, MICA, section 4",
        islands=_UNIT_LENGTH,
        pixels=_ARCFACE,
        seeded_scales=_RESIDUAL_SCALES | {"*regressor.output.weight": 0.3},  # coefficients about 1 σ
    ),
    Network(
        name="generative_regressors",
        build=AlbedoGanRegressors,
        load=import_albedo_gan_regressors,
        files=("mica_combined_ft0_100k.tar",),
        inputs=(_image(112),),
        gates={
            "IDENTITY": gate(coefficient_sigma(), 1e-4, 0.005, 0.04),
            "FACE_COEFFICIENTS": gate(coefficient_sigma(), 1e-4, 0.004, 0.04),
        },
        source="Rai et al. 2023 (generative), section 4.2, and the released code",
        islands=_UNIT_LENGTH,
        pixels=_ARCFACE,
        seeded_scales=_RESIDUAL_SCALES | {"*regressor.output.weight": 0.3},  # coefficients about 1 σ
    ),
    Network(
        name="generative_head",
        build=lambda: Flame(flame_stand_in(), expressions=50),
        load=partial(import_flame, expressions=50),
        files=("generic_model.pkl",),
        inputs=(
            Input("IDENTITY", (300,), Example.NORMAL),
            Input("EXPRESSION", (50,), Example.NORMAL),
            Input("POSE", (15,), Example.SMALL),
        ),
        gates={
            "VERTICES": gate(vertex_millimetres(), 0.001, 0.001, 0.001),
            "JOINTS": gate(vertex_millimetres(), 0.001, 0.001, 0.001),
        },
        source="Li et al. 2017, FLAME, section 3",
        islands=_WHOLE,
        kept=("*",),
    ),
    Network(
        name="animatable_head",
        build=lambda: Flame(flame_stand_in(), identities=100, expressions=50),
        load=partial(import_flame, identities=100, expressions=50),
        files=("generic_model.pkl",),
        inputs=(
            Input("IDENTITY", (100,), Example.NORMAL),
            Input("EXPRESSION", (50,), Example.NORMAL),
            Input("POSE", (15,), Example.SMALL),
        ),
        gates={
            "VERTICES": gate(vertex_millimetres(), 0.001, 0.001, 0.001),
            "JOINTS": gate(vertex_millimetres(), 0.001, 0.001, 0.001),
        },
        source="Li et al. 2017, FLAME, section 3",
        islands=_WHOLE,
        kept=("*",),
    ),
    Network(
        name="coarse_encoder",
        build=lambda: deca.DecaEncoder(deca.COARSE),
        load=import_deca_coarse,
        files=("deca_model.tar",),
        inputs=(_image(deca.INPUT_SIZE),),
        gates={
            "IDENTITY": gate(coefficient_sigma(), 1e-4, 0.01, 0.07),
            "ALBEDO": gate(coefficient_sigma(), 1e-4, 0.01, 0.07),
            "EXPRESSION": gate(coefficient_sigma(), 1e-4, 0.01, 0.07),
            "HEAD_AND_JAW_POSE": gate(rotation_degrees(slice(0, 6)), 0.005, 0.4, 4),
            "CAMERA": gate(plain_difference(), 1e-4, 0.005, 0.05),
            "SH_LIGHT": gate(plain_difference(), 1e-4, 0.016, 0.15),
        },
        source="Feng et al. 2021 (animatable), section 4.1",
        serve=then(deca.named_coefficients),
        pixels=_ZERO_TO_ONE,
    ),
    Network(
        name="detail_displacement",
        build=deca.AnimatableDetail,
        load=import_deca_detail,
        files=("deca_model.tar",),
        inputs=(
            _image(deca.INPUT_SIZE),
            Input("EXPRESSION", (50,), Example.NORMAL),
            Input("JAW_POSE", (3,), Example.SMALL),
        ),
        gates={"DISPLACEMENT": gate(displacement_millimetres(1.0), 0.001, 0.015, 0.15)},
        source="Feng et al. 2021 (animatable), section 4.2, equation 9",
        pixels=_ZERO_TO_ONE,
    ),
)

#: What each pipeline needs: groups of networks, of which one each suffices.
PIPELINES: Final[Mapping[str, tuple[tuple[str, ...], ...]]] = {
    "twin": (("light_cnn",), ("shape_decoder",)),
    "normalized": (
        ("face_embedding",),
        ("identity_regressor",),
        ("avatar_generator",),
        ("camera_regressor",),
        ("face_parts", "face_segmentation"),
        ("perceptual_distance",),
    ),
    "rerenderable": (("coefficient_regressor",), ("basel_face",), ("detail_refinement",)),
    "generative": (
        ("face_generator",),
        ("albedo_generator",),
        ("displacement_generator",),
        ("generative_regressors", "mica"),
        ("generative_head",),
        ("arcface",),
    ),
    "animatable": (("coarse_encoder",), ("detail_displacement",), ("animatable_head",)),
}


def network(name: str) -> Network:
    """The row of this name.

    Raises:
        KeyError: there is none.
    """
    for row in NETWORKS:
        if row.name == name:
            return row
    raise KeyError(name)


def pipeline_networks(pipeline: str) -> tuple[Network, ...]:
    """Every network that a pipeline can use, alternatives included, in order."""
    return tuple(network(name) for group in PIPELINES[pipeline] for name in group)

"""Networks of avatar_generative: a face, its albedo and its displacement from one W+ code."""

from __future__ import annotations

from functools import partial
from typing import Final

from facewright_export.checkpoints.albedo_gan import (
    import_albedo_gan_regressors,
    import_albedo_generator,
    import_displacement_generator,
)
from facewright_export.checkpoints.insightface import import_arcface
from facewright_export.checkpoints.mica import import_mica
from facewright_export.network import Batch, Network, then
from facewright_export.network_tables.row_parts import UNIT_LENGTH, flame_head, image
from facewright_export.network_tables.stylegan2_rows import (
    DEMODULATION,
    STYLEGAN2_SCALES,
    at_resolution,
    load_synthesis,
    w_plus,
)
from facewright_export.networks.albedo_gan import AlbedoGenerator, DisplacementGenerator
from facewright_export.networks.iresnet import IRESNET100_BLOCKS, IResNet, identity_direction
from facewright_export.networks.mica import AlbedoGanRegressors, Mica
from facewright_export.networks.stylegan2 import GeneratorLayout, StyleGan2Synthesis
from facewright_export.onnx.graph_surgery import PixelNormalisation
from facewright_export.parity.parity import (
    albedo_delta_e,
    angle_degrees,
    coefficient_sigma,
    displacement_millimetres,
)
from facewright_export.parity.parity_gates import gate

_ARCFACE: Final = PixelNormalisation((127.5,) * 3, (127.5,) * 3)
#: IResNet-100 sums 49 blocks: seeded like other networks it passes 1e11, far beyond fp16's 65504.
_RESIDUAL_SCALES: Final = {"*bn3.weight": 0.3}


NETWORKS: Final[tuple[Network, ...]] = (
    Network(
        name="face_generator",
        build=lambda: StyleGan2Synthesis(GeneratorLayout(1024)),
        load=at_resolution(1024, partial(load_synthesis, channels=3)),
        files=("stylegan2_ffhq.pt",),
        inputs=(w_plus(18),),
        gates={"FACE_PICTURE": gate(albedo_delta_e(), 0.01, 0.5, 3)},
        source="Karras et al. 2020, StyleGAN2; rosinality/stylegan2-pytorch",
        islands=DEMODULATION,
        batch=Batch(1, 1, 4),
        seeded_scales=STYLEGAN2_SCALES,
    ),
    Network(
        name="albedo_generator",
        build=AlbedoGenerator,
        load=at_resolution(1024, import_albedo_generator),
        files=("albedogan.pt",),
        inputs=(w_plus(18),),
        gates={"UV_ALBEDO": gate(albedo_delta_e(low=0.0), 0.01, 0.6, 4)},
        source="Rai et al. 2023 (generative), section 3.3",
        islands=DEMODULATION,
        batch=Batch(1, 1, 4),
        seeded_scales=STYLEGAN2_SCALES,
    ),
    Network(
        name="displacement_generator",
        build=DisplacementGenerator,
        load=at_resolution(256, import_displacement_generator),
        files=("disp_GAN.pt",),
        inputs=(w_plus(18),),
        gates={"DISPLACEMENT": gate(displacement_millimetres(1.0), 0.001, 0.4, 1.5)},
        source="Rai et al. 2023 (generative), section 4.2; scale and clipping of the released code",
        islands=DEMODULATION,
        batch=Batch(1, 1, 8),
        seeded_scales=STYLEGAN2_SCALES,
    ),
    Network(
        name="generative_regressors",
        build=AlbedoGanRegressors,
        load=import_albedo_gan_regressors,
        files=("mica_combined_ft0_100k.tar",),
        inputs=(image(112),),
        gates={
            "IDENTITY": gate(coefficient_sigma(), 1e-4, 0.005, 0.04),
            "FACE_COEFFICIENTS": gate(coefficient_sigma(), 1e-4, 0.004, 0.04),
        },
        source="Rai et al. 2023 (generative), section 4.2, and the released code",
        islands=UNIT_LENGTH,
        pixels=_ARCFACE,
        seeded_scales=_RESIDUAL_SCALES | {"*regressor.output.weight": 0.3},  # coefficients about 1 σ
    ),
    Network(
        name="mica",
        build=Mica,
        load=import_mica,
        files=("mica.tar",),
        inputs=(image(112),),
        gates={"IDENTITY": gate(coefficient_sigma(), 1e-4, 0.005, 0.04)},
        source="Zielonka et al. 2022, MICA, section 4",
        islands=UNIT_LENGTH,
        pixels=_ARCFACE,
        seeded_scales=_RESIDUAL_SCALES | {"*regressor.output.weight": 0.3},  # coefficients about 1 σ
        instead_of="generative_regressors",
    ),
    flame_head("generative_head", identities=300),
    Network(
        name="arcface",
        build=lambda: IResNet(IRESNET100_BLOCKS),
        load=import_arcface,
        files=("backbone.pth",),
        inputs=(image(112),),
        gates={"EMBEDDING": gate(angle_degrees(), 0.01, 0.6, 4)},
        source="Deng et al. 2019, ArcFace; deepinsight/insightface",
        serve=then(identity_direction),
        islands=UNIT_LENGTH,
        pixels=_ARCFACE,
        seeded_scales=_RESIDUAL_SCALES,
    ),
)

"""AlbedoGAN's release: the albedo and displacement generators, and the regressors fine-tuned from MICA's.

``albedogan.pt`` and ``disp_GAN.pt`` are rosinality files with the generator under ``g``;
``mica_combined_ft0_100k.tar`` holds ``arcface``, ``flameModel`` and ``otherParamModel`` beside DECA's
encoders.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from facewright_export.checkpoints._reading import fill
from facewright_export.checkpoints.stylegan2 import import_rosinality_stylegan2
from facewright_export.networks.albedo_gan import AlbedoGenerator, DisplacementGenerator
from facewright_export.networks.mica import AlbedoGanRegressors

_REGRESSORS: Final = {
    "regressor.": "flameModel.regressor.",
    "face_regressor.": "otherParamModel.regressor.",
}


def import_albedo_generator(path: Path | str) -> AlbedoGenerator:
    """W+ to albedo, of the resolution that the file has (1024² as released). Raises CheckpointError."""
    network = AlbedoGenerator(import_rosinality_stylegan2(path, "g").synthesis)
    network.eval()
    return network


def import_displacement_generator(path: Path | str) -> DisplacementGenerator:
    """W+ to displacement, of the resolution that the file has (256² as released). Raises CheckpointError."""
    network = DisplacementGenerator(import_rosinality_stylegan2(path, "g").synthesis)
    network.eval()
    return network


def import_albedo_gan_regressors(path: Path | str) -> AlbedoGanRegressors:
    """From an aligned face to shape (300) and to expression, pose, camera and light (86).

    Raises CheckpointError.
    """
    network = AlbedoGanRegressors()
    # a file that was fine-tuned from mica.tar may still carry MICA's copy of FLAME
    fill(network, path, published=_REGRESSORS, unused=("flameModel.generator.",))
    network.eval()
    return network

"""DECA's and Deep3D's light in our order: their own shading formulas give the same colours."""

from pathlib import Path

import numpy as np
import torch

from facewright_export.networks import coefficient_regressor, deca, mica
from facewright_kernels.sh_shading import sh_basis
from tests.networks.golden import seeded_input

_GOLDENS = Path(__file__).parent / "goldens"


def _normals() -> np.ndarray:
    return torch.nn.functional.normalize(seeded_input((1, 500, 3), "normals"), dim=-1)[0].double().numpy()


def test_deep3d_light_gives_the_official_shading() -> None:
    with np.load(_GOLDENS / "bfm.npz") as official:
        shading = official["shading"][0]
    coefficients = seeded_input((1, 257), "coefficients")
    light = coefficient_regressor.named_coefficients(coefficients).light[0].numpy()
    assert np.allclose(sh_basis(_normals()) @ light, shading, rtol=1e-5, atol=1e-5)


def test_deca_light_gives_the_official_shading() -> None:
    with np.load(_GOLDENS / "deca_light.npz") as official:
        shading = official["shading"]
    coefficients = seeded_input((1, 236), "coefficients")
    light = deca.named_coefficients(coefficients).light[0].numpy()
    assert np.allclose(sh_basis(_normals()) @ light, shading, rtol=1e-5, atol=1e-5)
    # AlbedoGAN regresses the last four of DECA's six kinds
    for ours, theirs in zip(
        mica.named_face_coefficients(coefficients[:, 150:]),
        deca.named_coefficients(coefficients)[2:],
        strict=True,
    ):
        assert torch.equal(ours, theirs)

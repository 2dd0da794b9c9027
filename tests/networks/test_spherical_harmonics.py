"""DECA's and Deep3D's light in our order: their own shading formulas give the same colours."""

from pathlib import Path

import numpy as np
import pytest
import torch

from facewright_export.networks import coefficient_regressor, deca, mica
from facewright_export.networks.spherical_harmonics import DECA_LIGHT, DEEP3D_LIGHT
from facewright_kernels.sh_shading import sh_basis
from tests.networks.golden import seeded_input

_GOLDENS = Path(__file__).parent / "goldens"


def _normals() -> np.ndarray:
    return torch.nn.functional.normalize(seeded_input((1, 500, 3), "normals"), dim=-1)[0].double().numpy()


def test_deep3d_light_gives_the_official_shading() -> None:
    with np.load(_GOLDENS / "bfm.npz") as official:
        shading = official["shading"][0]
    coefficients = seeded_input((1, 257), "coefficients")
    gamma = coefficients[0, 227:254].double().numpy().reshape(3, 9).T
    assert np.allclose(sh_basis(_normals()) @ DEEP3D_LIGHT.to_ours(gamma), shading, rtol=1e-5, atol=1e-5)
    in_network = coefficient_regressor.named_coefficients(coefficients).light[0].numpy()
    assert np.allclose(in_network, DEEP3D_LIGHT.to_ours(gamma), rtol=1e-5, atol=1e-6)


def test_deca_light_gives_the_official_shading() -> None:
    with np.load(_GOLDENS / "deca_light.npz") as official:
        shading = official["shading"]
    coefficients = seeded_input((1, 236), "coefficients")
    light = coefficients[0, 209:].double().numpy().reshape(9, 3)
    assert np.allclose(sh_basis(_normals()) @ DECA_LIGHT.to_ours(light), shading, rtol=1e-5, atol=1e-5)
    in_network = deca.named_coefficients(coefficients).light[0].numpy()
    assert np.allclose(in_network, DECA_LIGHT.to_ours(light), rtol=1e-5, atol=1e-6)
    # AlbedoGAN regresses the last four of DECA's six kinds
    for ours, theirs in zip(
        mica.named_face_coefficients(coefficients[:, 150:]),
        deca.named_coefficients(coefficients)[2:],
        strict=True,
    ):
        assert torch.equal(ours, theirs)


def test_a_light_of_another_shape_is_refused() -> None:
    with pytest.raises(ValueError, match=r"\[\.\.\., 9, 3\], not \[27\]"):
        DECA_LIGHT.to_ours(np.zeros(27))

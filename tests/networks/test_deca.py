"""DECA's networks against the official code, from files in the published format."""

from pathlib import Path

import numpy as np
import pytest
import torch

from facewright_export.checkpoints import LayoutError
from facewright_export.checkpoints.deca import import_deca_coarse, import_deca_detail
from facewright_export.networks.deca import AnimatableDetail, DecaEncoder, DetailDecoder, named_coefficients
from tests.networks.golden import SAME_NETWORK, load_golden, relative_difference, seeded_input

_COARSE, _DETAIL, _DECODER = (load_golden(f"deca_{name}") for name in ("coarse", "detail", "displacement"))


@pytest.fixture(scope="module")
def deca_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """``deca_model.tar`` as DECA's trainer writes it."""
    path = tmp_path_factory.mktemp("deca") / "deca_model.tar"
    parts = {"E_flame": _COARSE, "E_detail": _DETAIL, "D_detail": _DECODER}
    torch.save(
        {name: golden.weights() for name, golden in parts.items()} | {"global_step": 1, "opt": {"state": {}}},
        path,
    )
    return path


@torch.no_grad()
def test_coarse_coefficients_are_the_official_ones(deca_file: Path) -> None:
    network = import_deca_coarse(deca_file)
    output = network(seeded_input((2, 3, 224, 224)))
    assert relative_difference(output, _COARSE.outputs["output"]) < SAME_NETWORK


@torch.no_grad()
def test_detail_code_and_displacement_are_the_official_ones(deca_file: Path) -> None:
    network = import_deca_detail(deca_file)
    code = network.encoder(seeded_input((2, 3, 224, 224)))
    assert relative_difference(code, _DETAIL.outputs["output"]) < SAME_NETWORK
    displacement = network.decoder(seeded_input((2, 181), "code"))
    assert displacement.shape == (2, 1, 256, 256)
    assert relative_difference(displacement[:, :, ::2, ::2], _DECODER.outputs["output"]) < SAME_NETWORK


@torch.no_grad()
def test_detail_reads_jaw_then_expression_then_code() -> None:
    network = AnimatableDetail().eval()
    crop = seeded_input((1, 3, 224, 224))
    expression, jaw = seeded_input((1, 50), "expression"), seeded_input((1, 3), "jaw")
    joined = torch.cat([jaw, expression, network.encoder(crop)], 1)
    assert torch.equal(network(crop, expression, jaw), network.decoder(joined))


def test_the_five_normalisations_after_convolutions_have_the_published_epsilon() -> None:
    norms = {n: m.eps for n, m in DetailDecoder().named_modules() if isinstance(m, torch.nn.BatchNorm2d)}
    assert norms == {"conv_blocks.0": 1e-5} | {f"conv_blocks.{i}": 0.8 for i in (3, 7, 11, 15, 19)}


def test_coefficients_by_name_keep_the_published_order() -> None:
    coefficients = torch.arange(236, dtype=torch.float32)[None]
    named = named_coefficients(coefficients)
    joined = torch.cat([named.shape, named.albedo, named.expression, named.pose, named.camera], 1)
    assert torch.equal(joined, coefficients[:, :209])
    # the sixth published light coefficient is that of xz, our eighth; its red, green and blue are neighbours
    ratio = (named.light[0, 7] / coefficients[0, 209 + 15 : 209 + 18]).numpy()
    assert np.allclose(ratio, ratio[0])


def test_an_encoder_of_another_size_is_refused_with_both_sizes(tmp_path: Path) -> None:
    swapped = tmp_path / "swapped.tar"
    torch.save({"E_flame": _DETAIL.weights()}, swapped)
    with pytest.raises(LayoutError, match=r"layers\.2\.bias is float32 \[128\], expected float32 \[236\]"):
        import_deca_coarse(swapped)
    torch.save({"E_detail": _DETAIL.weights()}, swapped)
    with pytest.raises(LayoutError, match=r"no 'D_detail' in the file, which holds E_detail"):
        import_deca_detail(swapped)


def test_encoders_batch() -> None:
    network = DecaEncoder(128).eval()
    crops = seeded_input((2, 3, 224, 224))
    with torch.no_grad():
        together, alone = network(crops), network(crops[1:])
    assert torch.allclose(together[1:], alone, rtol=1e-4, atol=1e-5)

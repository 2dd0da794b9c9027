"""Deep3D's regressor and the Basel face model against the official code, from published formats."""

from pathlib import Path

import numpy as np
import pytest
import torch

from facewright_export.checkpoints import LayoutError
from facewright_export.checkpoints.bfm import import_bfm, read_bfm
from facewright_export.checkpoints.deep3d import import_deep3d
from facewright_export.networks.basel_face import placed
from facewright_export.networks.coefficient_regressor import named_coefficients
from tests.networks.golden import SAME_NETWORK, load_golden, relative_difference, seeded_input
from tests.networks.synthetic_models import BFM_VERTICES, bfm_arrays, write_mat

_GOLDENS = Path(__file__).parent / "goldens"


@torch.no_grad()
def test_coefficients_are_the_official_ones(tmp_path: Path) -> None:
    golden = load_golden("deep3d")
    path = tmp_path / "epoch_20.pth"
    scheduler = {"last_epoch": 20, "_last_lr": [1e-4]}
    torch.save({"net_recon": golden.weights(), "opt_00": {"state": {}}, "sched_00": scheduler}, path)
    output = import_deep3d(path)(seeded_input((2, 3, 224, 224)))
    assert relative_difference(output, golden.outputs["output"]) < SAME_NETWORK


@torch.no_grad()
def test_vertices_albedo_and_pose_are_the_official_ones(tmp_path: Path) -> None:
    with np.load(_GOLDENS / "bfm.npz") as official:
        expected = dict(official)
    face = import_bfm(write_mat(tmp_path / "BFM_model_front.mat", bfm_arrays()))
    named = named_coefficients(seeded_input((1, 257), "coefficients"))
    vertices, albedo = face(named.identity, named.expression, named.texture)
    assert vertices.shape == albedo.shape == (1, BFM_VERTICES, 3)
    assert relative_difference(vertices[:, ::20], expected["shape"]) < SAME_NETWORK
    assert relative_difference(albedo[:, ::20], expected["texture"]) < SAME_NETWORK
    posed = placed(vertices, named.angles, named.translation)
    assert relative_difference(posed[:, ::20], expected["posed"]) < SAME_NETWORK
    depth = 10 - posed[..., 2:]
    pixels = 1015 * posed[..., :2] / depth + 112
    assert relative_difference(pixels[:, ::20], expected["image"]) < SAME_NETWORK


def test_indices_count_from_zero(tmp_path: Path) -> None:
    arrays = bfm_arrays()
    model = read_bfm(write_mat(tmp_path / "BFM_model_front.mat", arrays))
    assert np.array_equal(model.triangles, arrays["tri"] - 1)
    assert np.array_equal(model.landmarks, arrays["keypoints"][0] - 1)
    assert abs(model.mean_shape.mean(0)).max() < 1e-6


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"idBase": np.zeros((30, 79))}, r"idBase is float64 \[30, 79\], expected \[30, 80\]"),
        ({"tri": np.array([[1, 2, 11]])}, r"tri has values 0 … 10, expected indices in 0 … 9"),
        ({"texBase": None}, "missing or not numeric: texBase"),
        ({"meanshape": np.zeros((1, 31))}, r"meanshape is float64 \[1, 31\], expected \[1, 30\]"),
    ],
)
def test_a_file_that_does_not_fit_is_refused(
    tmp_path: Path, change: dict[str, np.ndarray | None], told: str
) -> None:
    small = {
        "meanshape": np.zeros((1, 30)),
        "idBase": np.zeros((30, 80)),
        "exBase": np.zeros((30, 64)),
        "meantex": np.zeros((1, 30)),
        "texBase": np.zeros((30, 80)),
        "tri": np.array([[1, 2, 10]]),
        "keypoints": np.ones((1, 68)),
    }
    changed = {name: value for name, value in (small | change).items() if value is not None}
    with pytest.raises(LayoutError, match=told):
        read_bfm(write_mat(tmp_path / "small.mat", changed))

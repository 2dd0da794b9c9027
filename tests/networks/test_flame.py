"""FLAME: the official blend skinning on the same arrays, the published file, the parts of a head model."""

from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from facewright_export.checkpoints import LayoutError, WeightError
from facewright_export.checkpoints.flame import (
    import_flame,
    read_flame,
    read_flame_landmarks,
)
from facewright_export.networks.flame import Flame, full_pose, rotation_matrices
from tests.networks.golden import relative_difference, seeded_input
from tests.networks.synthetic_models import (
    FLAME_VERTICES,
    Arrays,
    flame_arrays,
    write_flame_pickle,
    write_python2_pickle,
)

_GOLDENS = Path(__file__).parent / "goldens"


@pytest.fixture(scope="module")
def arrays() -> Arrays:
    return flame_arrays()


@pytest.fixture(scope="module")
def flame_file(arrays: Arrays, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_flame_pickle(tmp_path_factory.mktemp("flame") / "generic_model.pkl", arrays)


@pytest.fixture(scope="module")
def flame(flame_file: Path) -> Flame:
    return import_flame(flame_file)


def _pose() -> torch.Tensor:
    pose = seeded_input((2, 15), "pose") * 0.6
    pose[1, 6:9] = 0
    return pose


@torch.no_grad()
def test_vertices_and_joints_are_the_official_ones(flame: Flame) -> None:
    with np.load(_GOLDENS / "flame.npz") as official:
        expected = dict(official)
    betas = seeded_input((2, 400), "betas")
    vertices, joints = flame(betas[:, :300], betas[:, 300:], _pose())
    assert vertices.shape == (2, FLAME_VERTICES, 3)
    assert relative_difference(vertices, expected["vertices"]) < 1e-5
    assert relative_difference(joints, expected["joints"]) < 1e-5


@torch.no_grad()
def test_fewer_components_are_the_first_ones_of_each_kind(flame: Flame, flame_file: Path) -> None:
    small = import_flame(flame_file, identities=100, expressions=50)
    identity, expression = seeded_input((1, 100), "identity"), seeded_input((1, 50), "expression")
    pose = _pose()[:1]
    padded = flame(
        torch.nn.functional.pad(identity, (0, 200)), torch.nn.functional.pad(expression, (0, 50)), pose
    )
    assert torch.allclose(small(identity, expression, pose)[0], padded[0], atol=1e-6)
    with pytest.raises(ValueError, match="identities must be 1 … 300, not 301"):
        import_flame(flame_file, identities=301)


@torch.no_grad()
def test_at_rest_the_head_is_its_template(flame: Flame, arrays: Arrays) -> None:
    vertices, joints = flame(torch.zeros(1, 300), torch.zeros(1, 100), full_pose(torch.zeros(1, 6)))
    template = torch.from_numpy(arrays["v_template"]).float()
    assert torch.allclose(vertices[0], template, atol=1e-6)
    assert torch.allclose(joints[0], torch.from_numpy(arrays["J_regressor"]).float() @ template, atol=1e-6)


@torch.no_grad()
def test_decas_pose_turns_root_and_jaw(flame: Flame) -> None:
    pose = full_pose(torch.tensor([[0.1, 0.2, 0.3, 0.4, 0.5, 0.6]]))
    rest = torch.zeros(3)
    assert torch.allclose(
        pose.reshape(5, 3),
        torch.stack([torch.tensor([0.1, 0.2, 0.3]), rest, torch.tensor([0.4, 0.5, 0.6]), rest, rest]),
    )
    # a turn of the root alone moves the head as one: distances stay
    poses = full_pose(torch.tensor([[0, 1.0, 0, 0, 0, 0], [0, 0, 0, 0, 0, 0]]))
    turned, still = flame(torch.zeros(2, 300), torch.zeros(2, 100), poses)[0][:, None]
    lengths = [(v[0, 1:] - v[0, :-1]).norm(dim=1) for v in (turned, still)]
    assert torch.allclose(*lengths, atol=1e-5)
    assert (turned - still).abs().max() > 0.05


def test_rotations_are_those_of_scipy_at_any_angle() -> None:
    axes = seeded_input((60, 3), "axis").numpy().astype(np.float64)
    angles = np.concatenate([np.geomspace(1e-8, 3, 59), [0.0]])
    axis_angles = angles[:, None] * axes / np.linalg.norm(axes, axis=1, keepdims=True)
    expected = Rotation.from_rotvec(axis_angles).as_matrix()
    single = rotation_matrices(torch.from_numpy(axis_angles.astype(np.float32)))
    assert np.abs(single.numpy() - expected).max() < 1e-6
    assert torch.equal(single[-1], torch.eye(3))
    half = rotation_matrices(torch.from_numpy(axis_angles.astype(np.float16)))
    assert np.abs(half.float().numpy() - expected).max() < 3e-3


def test_the_file_gives_every_array_as_it_was(flame_file: Path, arrays: Arrays) -> None:
    model = read_flame(flame_file)
    assert np.array_equal(model.triangles, arrays["f"])
    assert np.array_equal(model.template, arrays["v_template"])
    assert np.array_equal(model.shape_basis, arrays["shapedirs"])
    assert np.array_equal(model.pose_basis, arrays["posedirs"])
    assert np.allclose(model.joint_regressor, arrays["J_regressor"], atol=1e-15)
    assert np.array_equal(model.skin_weights, arrays["weights"])
    assert model.parents == (-1, 0, 1, 1, 1)


@pytest.mark.parametrize(
    ("name", "value", "error", "told"),
    [
        (
            "posedirs",
            np.zeros((4, 3, 27)),
            LayoutError,
            r"posedirs is float64 \[4, 3, 27\], expected \[4, 3, 36\]",
        ),
        ("f", np.array([[0, 1, 4]]), LayoutError, "f has values 0 … 4, expected indices in 0 … 3"),
        ("v_template", np.full((4, 3), np.nan), WeightError, "NaN or infinity in v_template"),
        ("weights", np.ones((4, 5)), LayoutError, "rows of weights add up to 5 … 5, not 1"),
        ("kintree_table", np.array([[-1, 2, 1, 1, 1], [0, 1, 2, 3, 4]]), LayoutError, r"parents \[-1, 2"),
        ("shapedirs", None, LayoutError, "no 'shapedirs'"),
    ],
)
def test_a_file_that_does_not_fit_is_refused(
    tmp_path: Path, name: str, value: np.ndarray | None, error: type[Exception], told: str
) -> None:
    small = {
        "f": np.array([[0, 1, 2]], np.uint32),
        "v_template": np.zeros((4, 3)),
        "shapedirs": np.zeros((4, 3, 400)),
        "posedirs": np.zeros((4, 3, 36)),
        "J_regressor": np.full((5, 4), 0.25),
        "kintree_table": np.array([[2**32 - 1, 0, 1, 1, 1], [0, 1, 2, 3, 4]]),
        "weights": np.full((4, 5), 0.2),
    }
    path = tmp_path / "small.pkl"
    read_flame(write_python2_pickle(path, small))
    changed = {key: array for key, array in (small | {name: value}).items() if array is not None}
    with pytest.raises(error, match=told):
        read_flame(write_python2_pickle(path, changed))


def test_landmarks_are_held_to_the_triangles(flame_file: Path, tmp_path: Path) -> None:
    model = read_flame(flame_file)
    faces = np.arange(51, dtype=np.int64) * 100
    embedding = {"lmk_face_idx": faces, "lmk_b_coords": np.full((51, 3), 1 / 3)}
    path = tmp_path / "flame_static_embedding.pkl"
    found = read_flame_landmarks(write_python2_pickle(path, embedding), model)
    assert np.array_equal(found.triangles, faces)
    assert np.array_equal(found.barycentrics, embedding["lmk_b_coords"])
    with pytest.raises(LayoutError, match="lmk_face_idx has values 0 … 10000, expected indices in 0 … 9975"):
        read_flame_landmarks(write_python2_pickle(path, embedding | {"lmk_face_idx": faces * 2}), model)

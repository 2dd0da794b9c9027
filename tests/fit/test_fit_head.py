"""Fits of a made-up head with a known answer: pose, expression, shape, gaze; and bad input."""

import dataclasses

import numpy as np
import pytest
from numpy.typing import NDArray

from facewright.core.errors import FacewrightError
from facewright.fit.camera import Camera, pose_angles
from facewright.fit.corrective_field import CorrectivePrior, OwnShare, part_vertices
from facewright.fit.fit_head import HeadFitSettings, HeadFitter
from facewright.fit.fit_info import FitInfo, HeadFit
from facewright.fit.gauss_newton import FitSettings
from facewright.head.head_model import HeadModel
from facewright.photo.photo_info import PhotoInfo
from facewright_client.contract import ErrorCode
from tests.support.pose import rotation_from_angles
from tests.support.synthetic_head import save_synthetic_head

#: Landmark-input pixels to crop pixels, and crop pixels to photo pixels, of all tests here.
TO_CROP = np.array([[3.0, 0.4, 210.0], [-0.4, 3.0, 230.0], [0, 0, 1]])
TO_PHOTO = np.array([[1.5, 0, 300.0], [0, 1.5, 100.0], [0, 0, 1]])
CROP_CENTRE = (np.array([1000.0, 750.0]) - [300, 100]) / 1.5  # of a 2000 x 1500 photo, in the crop


@pytest.fixture(scope="module")
def head(tmp_path_factory: pytest.TempPathFactory) -> HeadModel:
    return HeadModel.load(save_synthetic_head(tmp_path_factory.mktemp("head") / "head.npz"))


@pytest.fixture(scope="module")
def fitter(head: HeadModel) -> HeadFitter:
    return HeadFitter(head)


def photo_info(**changes: object) -> PhotoInfo:
    info = PhotoInfo(
        photo_width=2000,
        photo_height=1500,
        face_box=(700, 400, 1300, 1100),
        face_score=0.99,
        face_count=1,
        face_index=0,
        face_roll=0.0,
        focal_px=None,
        crop_valid_box=(0, 0, 1024, 1024),
    )
    return dataclasses.replace(info, **changes)  # type: ignore[arg-type]


@dataclasses.dataclass(frozen=True)
class Truth:
    """A made-up person in front of a camera, and what the network would see."""

    neutral: NDArray[np.float32]
    vertices: NDArray[np.float32]
    expression: NDArray[np.float32]
    camera: Camera
    network: NDArray[np.float64]  # [478, 3], landmark-input pixels


def made_up(
    head: HeadModel,
    fitter: HeadFitter,
    seed: int = 0,
    pose: tuple[float, float, float] = (12.0, 6.0, -8.0),
    expression: dict[str, float] | None = None,
    gaze: tuple[float, float] = (0.0, 0.0),
    noise: float = 0.0,
) -> Truth:
    """A random person with the given pose, expression and gaze (degrees); noise in metres."""
    rng = np.random.default_rng(seed)
    identity = 0.8 * rng.standard_normal(160).astype(np.float32)
    weights = np.zeros(52, np.float32)
    for name, value in (expression or {}).items():
        weights[list(head.expression_names).index(name)] = value
    neutral = head.neutral(identity)
    vertices = head.shape(identity, weights)
    fitter.gaze.turn(vertices, head.joints(neutral), np.radians([gaze, gaze]))
    camera = Camera(rotation_from_angles(*pose), np.array([0.01, 0.02, 0.75]), 1650.0, CROP_CENTRE)
    points = head.landmarks(vertices)
    scale = camera.pixels_per_metre
    pixels = camera.project(points) + noise * scale * rng.standard_normal((478, 2))
    depth = (camera.to_camera(points)[:, 2] - camera.translation[2]) * scale
    back = np.linalg.inv(TO_CROP)
    return Truth(
        neutral,
        vertices,
        weights,
        camera,
        np.concatenate(
            [
                pixels @ back[:2, :2].T + back[:2, 2],
                depth[:, None] * np.sqrt(np.linalg.det(back[:2, :2])),
            ],
            axis=1,
        ),
    )


def fit(fitter: HeadFitter, truth: Truth, given_px: float = 0.0, **changes: object) -> HeadFit:
    return fitter.fit(truth.network, 0.99, TO_CROP, TO_PHOTO, photo_info(**changes), None, given_px)


def shape_error_mm(found: NDArray[np.float32], truth: NDArray[np.float32], head: HeadModel) -> float:
    """Mean distance, mm, over the face, after the best rigid motion (depth trades with focal length)."""
    face = head.region("face") > 0.5
    a, b = found[face].astype(np.float64), truth[face].astype(np.float64)
    u, _, vt = np.linalg.svd((a - a.mean(0)).T @ (b - b.mean(0)))
    rotation = u @ np.diag([1, 1, np.sign(np.linalg.det(u @ vt))]) @ vt
    return float(1e3 * np.linalg.norm((a - a.mean(0)) @ rotation - (b - b.mean(0)), axis=1).mean())


@pytest.mark.parametrize("pose", [(0, 0, 0), (25, -10, 15), (-35, 15, -40), (10, 5, 170)])
def test_known_pose_and_shape_are_found(
    head: HeadModel, fitter: HeadFitter, pose: tuple[float, float, float]
) -> None:
    truth = made_up(head, fitter, pose=pose, noise=0.0003)
    found = fit(fitter, truth)
    angles = np.array([found.info.yaw, found.info.pitch, found.info.roll])
    assert np.abs(angles - pose).max() < 2.0
    assert found.info.focal_px == pytest.approx(1650, rel=0.2)
    assert shape_error_mm(found.neutral_vertices, truth.neutral, head) < 2.0
    assert shape_error_mm(found.fitted_vertices, truth.vertices, head) < 2.0
    assert found.info.error_after.median < 0.8
    assert found.info.error_after.median < found.info.error_before.median


def test_expressions_are_found_and_leave_the_neutral_alone(head: HeadModel, fitter: HeadFitter) -> None:
    strong = {"jawOpen": 0.8, "mouthSmileLeft": 0.7, "mouthSmileRight": 0.6}
    truth = made_up(head, fitter, expression=strong, noise=0.0003)
    # The made-up shapes are mere bumps: only a stiff corrective field leaves them to the expressions.
    found = fit(
        HeadFitter(head, HeadFitSettings(corrective=CorrectivePrior(sigma=0.002, asymmetric_sigma=0.001))),
        truth,
    )
    names = list(head.expression_names)
    for name, value in strong.items():
        assert found.expression[names.index(name)] == pytest.approx(value, abs=0.35), name
    assert shape_error_mm(found.neutral_vertices, truth.neutral, head) < 2.5
    assert np.abs(found.fitted_vertices - found.neutral_vertices).max() > 0.01


def test_an_open_mouth_does_not_stay_in_the_neutral(head: HeadModel, fitter: HeadFitter) -> None:
    truth = made_up(head, fitter, expression={"jawOpen": 0.8}, noise=0.0003)
    found = fit(fitter, truth)
    jaw_open = list(head.expression_names).index("jawOpen")
    assert found.expression[jaw_open] == pytest.approx(0.8, abs=0.25)
    moved = np.linalg.norm(head.expression_basis[jaw_open], axis=1) > 0.01
    left = (found.neutral_vertices - truth.neutral)[moved] - (found.neutral_vertices - truth.neutral).mean(0)
    along = np.einsum("vk,vk->v", left, head.expression_basis[jaw_open][moved])
    share = along.sum() / np.sum(head.expression_basis[jaw_open][moved] ** 2)
    assert abs(share) < 0.1


def test_a_hint_of_a_smile_stays_in_the_neutral_and_no_more(head: HeadModel, fitter: HeadFitter) -> None:
    truth = made_up(head, fitter, expression={"mouthSmileLeft": 0.7, "jawOpen": 0.6}, noise=0.0003)
    names = list(head.expression_names)
    smile, jaw = (head.expression_basis[names.index(name)] for name in ("mouthSmileLeft", "jawOpen"))
    kept = fit(fitter, truth)
    without = HeadFitter(head, HeadFitSettings(largest_habitual=0.0))
    hint = kept.neutral_vertices - fit(without, truth).neutral_vertices
    assert np.sum(hint * smile) / np.sum(smile**2) == pytest.approx(0.22, abs=0.04)
    assert abs(np.sum(hint * jaw) / np.sum(jaw**2)) < 0.04


def test_the_neutral_has_the_field_that_is_the_persons_own_and_the_photo_all(
    head: HeadModel, fitter: HeadFitter
) -> None:
    truth = made_up(head, fitter, noise=0.001)
    all_own = HeadFitSettings(own_share=OwnShare(1.0, 1.0, 1.0, 1.0))
    whole, own = fit(HeadFitter(head, all_own), truth), fit(fitter, truth)
    np.testing.assert_allclose(own.fitted_vertices, whole.fitted_vertices, atol=1e-6)
    skin = part_vertices(head, ["skin"])
    person = head.neutral(own.identity)[skin]
    kept, field = (found.neutral_vertices[skin] - person for found in (own, whole))
    share = (kept * field).sum(axis=0) / (field**2).sum(axis=0)
    assert share[2] < 0.5 < share[0] < share[1] < 1.0


def test_a_rest_face_keeps_expressions_near_zero(head: HeadModel, fitter: HeadFitter) -> None:
    found = fit(fitter, made_up(head, fitter, seed=3))
    assert found.expression.max() < 0.3


def test_gaze_is_found_and_turns_the_fitted_eyes_only(head: HeadModel, fitter: HeadFitter) -> None:
    truth = made_up(head, fitter, gaze=(18.0, -8.0))
    found = fit(fitter, truth)
    np.testing.assert_allclose(np.degrees(found.eye_rotation), [[18, -8], [18, -8]], atol=5)
    weights = dict(zip(head.expression_names, found.expression, strict=True))
    assert weights["eyeLookOutLeft"] > 0.3
    assert weights["eyeLookInRight"] > 0.3
    assert weights["eyeLookOutRight"] == 0
    eye = fitter.gaze.eyes[0].vertices
    turned = found.fitted_vertices[eye] - found.neutral_vertices[eye]
    assert np.linalg.norm(turned - turned.mean(axis=0), axis=1).max() > 0.002
    radius = np.linalg.norm(found.fitted_vertices[eye] - found.fitted_vertices[eye].mean(axis=0), axis=1)
    rest = np.linalg.norm(found.neutral_vertices[eye] - found.neutral_vertices[eye].mean(axis=0), axis=1)
    np.testing.assert_allclose(radius, rest, rtol=2e-3)  # rotated, not sheared


def test_closed_eyes_have_no_gaze_and_say_so(head: HeadModel, fitter: HeadFitter) -> None:
    truth = made_up(head, fitter)
    network = truth.network.copy()
    for upper, lower in ((386, 374), (385, 380), (387, 373), (159, 145), (158, 153), (160, 144)):
        network[upper] = network[lower]
    found = fitter.fit(network, 0.99, TO_CROP, TO_PHOTO, photo_info())
    assert found.info.left_eye.closed
    assert found.info.right_eye.closed
    np.testing.assert_array_equal(found.eye_rotation, 0)
    assert any("closed" in warning for warning in found.info.warnings)


def test_the_camera_projects_the_fitted_head_onto_the_landmarks(head: HeadModel, fitter: HeadFitter) -> None:
    truth = made_up(head, fitter)
    found = fit(fitter, truth)
    seen = head.landmarks(found.fitted_vertices) @ found.head_to_camera[:, :3].T + found.head_to_camera[:, 3]
    pixels = seen @ found.intrinsics.T
    photo = (pixels[:, :2] / pixels[:, 2:]) * 1.5 + [300, 100]
    distance = np.linalg.norm(photo - found.landmarks, axis=1)
    assert np.median(distance) < 0.01 * 1.5 * found.info.pupil_distance_px
    angles = pose_angles(found.head_to_camera[:, :3])
    assert angles == pytest.approx((found.info.yaw, found.info.pitch, found.info.roll), abs=1e-3)


def test_focal_length_from_exif_and_from_the_caller(head: HeadModel, fitter: HeadFitter) -> None:
    truth = made_up(head, fitter)
    exif = fit(fitter, truth, focal_px=1.5 * 1650)
    assert exif.info.focal_px == pytest.approx(1650, rel=0.08)
    assert exif.info.focal_source == "exif"
    given = fit(fitter, truth, focal_px=9000.0, given_px=1.5 * 2000)
    assert given.info.focal_px == pytest.approx(2000, rel=0.03)
    assert given.info.focal_source == "option"
    assert given.info.focal_photo_px == pytest.approx(1.5 * given.info.focal_px)


def test_an_impossible_focal_length_is_refused_or_ignored(head: HeadModel, fitter: HeadFitter) -> None:
    truth = made_up(head, fitter)
    for focal in (1.0, 50.0):
        with pytest.raises(FacewrightError, match="inside the head") as caught:
            fit(fitter, truth, given_px=focal)
        assert caught.value.code is ErrorCode.BAD_OPTION
    ignored = fit(fitter, truth, focal_px=20.0)
    assert ignored.info.focal_source == fit(fitter, truth).info.focal_source == "estimated"
    assert ignored.info.focal_px == pytest.approx(1650, rel=0.2)
    assert any("focal length" in warning for warning in ignored.info.warnings)
    with pytest.raises(FacewrightError, match="metres away") as caught:
        fit(fitter, truth, given_px=1e6)
    assert caught.value.code is ErrorCode.BAD_OPTION
    assert np.isfinite(fit(fitter, truth, given_px=50000.0).fitted_vertices).all()


def test_info_travels_as_json(head: HeadModel, fitter: HeadFitter) -> None:
    found = fit(fitter, made_up(head, fitter, pose=(48, 0, 0)))
    info = FitInfo.from_json(found.info.to_json())
    assert info == found.info
    assert any("turned by 4" in warning for warning in info.warnings)
    assert set(info.region_sigma_mm) >= {"face", "nose", "lips", "eyelids"}


def test_confidence_knows_what_was_seen(head: HeadModel, fitter: HeadFitter) -> None:
    frontal = fit(fitter, made_up(head, fitter, pose=(0, 0, 0))).info.region_sigma_mm
    blurred = HeadFitter(head, HeadFitSettings(optimiser=FitSettings(landmark_sigma=0.02)))
    guessed = fit(blurred, made_up(head, fitter, pose=(0, 0, 0))).info.region_sigma_mm
    assert all(0.1 < sigma < 20 for sigma in frontal.values())
    assert guessed["face"] > 1.05 * frontal["face"]


def test_same_input_same_output(head: HeadModel, fitter: HeadFitter) -> None:
    truth = made_up(head, fitter, noise=0.001)
    first, second = fit(fitter, truth), fit(HeadFitter(head), truth)
    np.testing.assert_array_equal(first.neutral_vertices, second.neutral_vertices)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("network_landmarks", np.full((478, 3), np.nan)),
        ("network_landmarks", np.zeros((468, 3))),
        ("network_landmarks", np.full((478, 3), 50.0)),
        ("landmark_to_crop", np.full((3, 3), np.inf)),
        ("landmark_to_crop", np.zeros((3, 3))),
        ("crop_to_photo", np.ones((3, 3))),
        ("crop_to_photo", np.eye(4)),
    ],
)
def test_bad_tensors_are_typed_errors(
    head: HeadModel, fitter: HeadFitter, name: str, value: NDArray[np.float64]
) -> None:
    arguments: dict[str, NDArray[np.float64]] = {
        "network_landmarks": made_up(head, fitter).network,
        "landmark_to_crop": TO_CROP,
        "crop_to_photo": TO_PHOTO,
    }
    arguments[name] = value
    with pytest.raises(FacewrightError) as caught:
        fitter.fit(
            arguments["network_landmarks"],
            0.99,
            arguments["landmark_to_crop"],
            arguments["crop_to_photo"],
            photo_info(),
        )
    assert caught.value.code is ErrorCode.INTERNAL


@pytest.mark.parametrize("score", [0.0, 0.3, float("nan")])
def test_a_low_score_is_no_face(head: HeadModel, fitter: HeadFitter, score: float) -> None:
    with pytest.raises(FacewrightError) as caught:
        fitter.fit(made_up(head, fitter).network, score, TO_CROP, TO_PHOTO, photo_info())
    assert caught.value.code is ErrorCode.NO_FACE


def test_landmarks_that_are_no_face_end_in_a_finite_fit_called_poor(fitter: HeadFitter) -> None:
    rng = np.random.default_rng(0)
    for _ in range(20):
        noise = rng.uniform(0, 192, (478, 3)) * rng.uniform(0.1, 1, 3)
        found = fitter.fit(noise, 0.99, TO_CROP, TO_PHOTO, photo_info())
        assert np.isfinite(found.fitted_vertices).all()
        assert np.isfinite(found.head_to_camera).all()
        assert any("poor fit" in warning for warning in found.info.warnings)

"""Finding a face, on the one real photo that is in the repository and on what is made from it."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from facewright.core.errors import FacewrightError
from facewright.photo.face_networks import FaceNetworks
from facewright.photo.find_face import FoundFace, PhotoInfo, find_face
from facewright.photo.landmark_crop import FaceView, sample_view
from facewright.pipelines import tensors
from facewright_client import contract
from facewright_client.contract import ErrorCode
from tests.photo.pictures import ASTRONAUT, encoded, found_in, landmarks_in, moved

F64 = npt.NDArray[np.float64]
# In the photo, by eye to the pixel: the pupils (the subject's right, left) and the corners of the mouth.
PUPILS = np.array([[203.6, 100.9], [246.6, 103.0]])
MOUTH_CORNERS = np.array([[202.0, 139.3], [246.0, 140.5]])


def test_outputs_are_what_the_contract_says(found: FoundFace) -> None:
    for tensor, array in (
        (contract.FACE_CROP, found.face_crop),
        (tensors.CROP_TO_PHOTO, found.crop_to_photo),
        (tensors.LANDMARK_INPUT, found.landmark_input),
        (tensors.LANDMARK_TO_CROP, found.landmark_to_crop),
        (tensors.PERSON_MASK, found.person_mask),
    ):
        assert array.shape == tensor.shape
        assert array.dtype == {"TYPE_UINT8": np.uint8, "TYPE_FP32": np.float32}[tensor.dtype]
        assert array.flags.c_contiguous
    assert 0 <= found.landmark_input.min() < found.landmark_input.max() <= 1


def test_info(found: FoundFace) -> None:
    info = found.info
    assert (info.photo_width, info.photo_height, info.face_count, info.face_index) == (512, 512, 1, 0)
    x0, y0, x1, y1 = info.face_box
    assert (np.array([x0, y0]) < PUPILS).all()
    assert (np.array([x1, y1]) > MOUTH_CORNERS).all()
    assert info.face_score > 0.99
    assert info.focal_px is None
    assert info.warnings == []
    assert PhotoInfo.from_json(info.to_json()) == info


def test_landmarks_lie_on_the_face(found: FoundFace, networks: FaceNetworks) -> None:
    landmarks = landmarks_in(found, networks)
    np.testing.assert_allclose(landmarks[[468, 473]], PUPILS, atol=1.5)
    np.testing.assert_allclose(landmarks[[61, 291]], MOUTH_CORNERS, atol=2.5)


def test_crop_shows_the_photo_where_its_transform_says(found: FoundFace, astronaut: Image.Image) -> None:
    """The crop, averaged down to the photo's resolution, equals the photo at the same place."""
    step = found.crop_to_photo[0, 0]
    photo = np.asarray(astronaut).astype(np.float64)
    crop = found.face_crop.astype(np.float64)
    x0, y0, x1, y1 = found.info.crop_valid_box
    rng = np.random.default_rng(0)
    margin = math.ceil(2 / step)
    columns = rng.integers(x0 + margin, x1 - margin, 4000)
    rows = rng.integers(y0 + margin, y1 - margin, 4000)
    at = moved(np.stack([columns + 0.5, rows + 0.5], axis=1), found.crop_to_photo) - 0.5

    def photo_at(points: F64) -> F64:
        low = np.floor(points).astype(int)
        a, b = (points - low).T[:, :, None]
        x, y = low.T
        upper = (1 - a) * photo[y, x] + a * photo[y, x + 1]
        return np.asarray((1 - b) * upper + b * ((1 - a) * photo[y + 1, x] + a * photo[y + 1, x + 1]))

    def difference(shift: float) -> float:
        return float(np.abs(crop[rows, columns] - photo_at(at + shift)).mean())

    # Half a photo pixel off in either direction is clearly worse: the pixel centres are right.
    assert difference(0) < 2.5
    assert difference(0) < 0.7 * min(difference(-0.5), difference(0.5))


def test_landmark_input_shows_the_crop_where_its_transform_says(found: FoundFace) -> None:
    rng = np.random.default_rng(0)
    places = rng.integers(10, 182, (2000, 2))
    at = moved(places + 0.5, found.landmark_to_crop)
    smooth = np.asarray(Image.fromarray(found.face_crop).reduce(3)).astype(np.float64) / 255

    def difference(shift: float) -> float:
        x, y = np.floor((at + shift) / 3).astype(int).T
        return float(np.abs(found.landmark_input[:, places[:, 1], places[:, 0]].T - smooth[y, x]).mean())

    assert difference(0) < 0.015
    assert difference(0) < 0.8 * min(difference(-4), difference(4))


@pytest.mark.parametrize("angle", [-45, 30, 90, 180, 270])
def test_tilted_faces(angle: int, astronaut: Image.Image, found: FoundFace, networks: FaceNetworks) -> None:
    turned = astronaut.rotate(-angle, Image.Resampling.BICUBIC, expand=True)
    other = found_in(turned, networks)
    assert (other.info.face_roll - found.info.face_roll - angle + 180) % 360 - 180 == pytest.approx(0, abs=4)
    c, s = math.cos(math.radians(angle)), math.sin(math.radians(angle))
    expected = (landmarks_in(found, networks) - 256) @ np.array([[c, s], [-s, c]]) + np.array(turned.size) / 2
    landmarks = landmarks_in(other, networks)
    error = np.linalg.norm(landmarks - expected, axis=1) / np.linalg.norm(PUPILS[1] - PUPILS[0])
    assert np.median(error) < 0.012
    assert np.percentile(error, 95) < 0.03
    # In the crop the eyes are within 45 degrees of horizontal.
    right, left = moved(landmarks[[468, 473]], np.linalg.inv(other.crop_to_photo))
    assert abs(math.degrees(math.atan2(*(left - right)[::-1]))) < 50


def test_exif_orientation_and_turned_pixels_agree(
    astronaut: Image.Image, found: FoundFace, networks: FaceNetworks
) -> None:
    exif = Image.Exif()
    exif[274] = 6  # turn clockwise to see it upright
    lying = encoded(astronaut.transpose(Image.Transpose.ROTATE_90), exif=exif)
    other = find_face(lying, networks)
    np.testing.assert_allclose(other.crop_to_photo, found.crop_to_photo, atol=0.5)


def test_crop_beyond_the_photo_repeats_its_border(astronaut: Image.Image, networks: FaceNetworks) -> None:
    tight = found_in(astronaut.crop((160, 60, 300, 200)), networks)
    x0, y0, x1, y1 = tight.info.crop_valid_box
    assert 0 < x0 < x1 < 1024
    assert 0 < y0 < y1 < 1024
    assert (tight.face_crop[y0:y1, :x0] == tight.face_crop[y0:y1, x0 : x0 + 1]).all()
    assert (tight.face_crop[y1:] == tight.face_crop[y1 - 1 : y1]).all()
    corners = moved(np.array([[x0, y0], [x1, y1]]), tight.crop_to_photo)
    np.testing.assert_allclose(corners, [[0, 0], [140, 140]], atol=1)


def test_a_large_photo_gives_the_same_face(
    astronaut: Image.Image, found: FoundFace, networks: FaceNetworks
) -> None:
    """A JPEG eight times as large is decoded at a fraction, and again finer for the crop where that pays."""
    canvas = Image.new("RGB", (4096, 3000), (90, 110, 130))
    canvas.paste(astronaut.resize((1024, 1024), Image.Resampling.BICUBIC), (2000, 900))
    photo = encoded(canvas, "JPEG", quality=92)
    other = find_face(photo, networks)
    assert "decode_again" in other.info.milliseconds
    expected = landmarks_in(found, networks) * 2 + [2000, 900]
    error = np.linalg.norm(landmarks_in(other, networks) - expected, axis=1) / 88
    assert np.median(error) < 0.012


@pytest.mark.parametrize("width", [2401, 4001, 6002])
def test_the_box_is_that_of_the_landmarks_however_large_the_photo(
    width: int, astronaut: Image.Image, networks: FaceNetworks
) -> None:
    """A face small enough that a large JPEG is decoded again, finer, for its crop."""
    canvas = Image.new("RGB", (width, width // 2 + 1), (90, 110, 130))
    portrait = astronaut.resize((width // 4, width // 4), Image.Resampling.BICUBIC)
    canvas.paste(portrait, (width // 2, width // 5))
    exif = Image.Exif()
    found = find_face(encoded(canvas, "JPEG", quality=92, exif=exif), networks)
    assert ("decode_again" in found.info.milliseconds) == (width > 3100)
    landmarks = landmarks_in(found, networks)[:468]
    expected = [*landmarks.min(axis=0), *landmarks.max(axis=0)]
    np.testing.assert_allclose(found.info.face_box, expected, atol=0.003 * width)
    assert found.info.face_score > 0.99
    exif[274] = 6
    turned = find_face(
        encoded(canvas.transpose(Image.Transpose.ROTATE_90), "JPEG", quality=92, exif=exif), networks
    )
    np.testing.assert_allclose(turned.info.face_box, found.info.face_box, atol=0.003 * width)


@pytest.mark.parametrize("reduction", [1, 3])
def test_sampling_repeats_the_border_and_keeps_the_grid(reduction: int) -> None:
    """A view that hangs over the image, of a linear ramp: its values are known everywhere."""
    x = np.arange(120) + 0.5
    ramp = Image.fromarray(np.repeat(np.tile(x, (90, 1))[..., None], 3, axis=2).astype(np.uint8))
    view = FaceView((110.0, 45.0), 64.0 * reduction, 0.0)
    sampled = sample_view(ramp, view.to_image(64), 64)[0] * 255
    expected = np.clip(110 - 32 * reduction + (np.arange(64) + 0.5) * reduction, 1.5, 119.5) - 0.5
    interior = slice(2, 62)
    np.testing.assert_allclose(sampled[32, interior], expected[interior], atol=1.2)


@pytest.mark.parametrize("colours", [16, 64])
def test_few_colours_cover_nothing(astronaut: Image.Image, colours: int, networks: FaceNetworks) -> None:
    (said,) = found_in(astronaut.quantize(colours), networks).info.warnings
    assert said.startswith(f"The photo has only {colours} colours")


@pytest.mark.parametrize("steps", [1, 2, 4])
def test_work_that_nobody_waits_for_ends_between_steps(steps: int, networks: FaceNetworks) -> None:
    """In its own words, whatever is wrong with the photo."""
    begun = []

    def late() -> None:
        begun.append(1)
        if len(begun) == steps:
            raise FacewrightError(ErrorCode.DEADLINE_EXCEEDED, "late", "allow more time")

    with pytest.raises(FacewrightError, match=r"late \(allow more time\)"):
        find_face(ASTRONAUT.read_bytes(), networks, between_steps=late)
    assert len(begun) == steps


def test_where_a_face_is_refused_the_file_may_be_the_cause(
    astronaut: Image.Image, networks: FaceNetworks
) -> None:
    black = Image.new("RGB", astronaut.size)
    animation = encoded(black, "WEBP", save_all=True, append_images=[astronaut])
    with pytest.raises(FacewrightError, match="no face in the photo") as caught:
        find_face(animation, networks)
    assert "only the first of the 2 frames of this animation is looked at" in caught.value.hint


@pytest.mark.parametrize("shift", [0, 6, 12])
@pytest.mark.parametrize("turned", [False, True])
def test_frames_of_interlaced_video_are_told(
    shift: int, turned: bool, astronaut: Image.Image, networks: FaceNetworks
) -> None:
    rows = np.array(astronaut)
    rows[1::2] = np.roll(rows[1::2], shift, axis=1)
    frame = Image.fromarray(rows)
    warnings = " ".join(found_in(frame.rotate(90) if turned else frame, networks).info.warnings)
    assert ("interlaced" in warnings) == bool(shift)

"""The first stage: photo bytes to one face, cropped, and the landmark network's input."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image

from facewright.core.arrays import Floats
from facewright.core.clock import LapClock
from facewright.core.errors import FacewrightError
from facewright.photo.face_crop import CropFrame, cut_face_crop
from facewright.photo.face_detection import SURE_SCORE, FaceDetection, search_faces
from facewright.photo.face_networks import FaceNetworks
from facewright.photo.face_quality import check_face
from facewright.photo.landmark_crop import (
    FaceView,
    sample_view,
    view_from_box,
    view_from_landmarks,
)
from facewright.photo.person_mask import find_person
from facewright.photo.photo import Photo, decode_photo, to_srgb
from facewright.photo.photo_info import PhotoInfo
from facewright_client.contract import ErrorCode

__all__ = ["FaceNetworks", "FoundFace", "PhotoInfo", "find_face"]

U8 = npt.NDArray[np.uint8]
F64 = npt.NDArray[np.float64]

#: The landmark network's probability below which a detection is not a face (animals, toys, patterns).
MIN_FACE_SCORE = 0.5
# Below this a detection is looked at again.
_DOUBTFUL_SCORE = 0.9
_MORE_LOOKS = 3
# Median movement of a doubtful face's landmarks between the last two looks, of its height. Measured after
# three looks: 0.01-0.015 on dark and masked profiles, 0.035 and growing on a colour wheel.
_MOST_WANDERING = 0.025
#: Smallest distance of the pupils, photo pixels. Median landmark error on ten portraits scaled down, in % of
#: that distance: 0.2 at 40 pixels, 0.6 at 20, 1.0 at 16, 1.7 at 12, 3.3 at 8.
MIN_PUPIL_DISTANCE = 16.0
# Below this the texture is soft, which the report says.
_LOW_PUPIL_DISTANCE = 40.0
# Decode again, finer, when the crop would otherwise be magnified and the file has more to give.
_ENOUGH_CROP_PIXELS = 900
_IRISES = (468, 473)


@dataclass(frozen=True)
class FoundFace:
    """One face of a photo; what FIND_FACE gives."""

    face_crop: U8  # [1024, 1024, 3] sRGB
    crop_to_photo: Floats  # [3, 3]
    landmark_input: Floats  # [3, 192, 192] RGB, 0-1
    landmark_to_crop: Floats  # [3, 3]
    person_mask: U8  # [256, 256], probability x 255
    info: PhotoInfo


@dataclass(frozen=True)
class _Candidate:
    """A detection that the landmark network confirmed; everything in pixels of the decoded image."""

    detection: FaceDetection
    landmarks: F64  # [478, 2]
    score: float


def find_face(photo: bytes, networks: FaceNetworks, face_index: int = -1) -> FoundFace:
    """Decode a photo, choose one face and cut out what the later stages need.

    Args:
        photo: an encoded JPEG, PNG or WebP.
        networks: detector, landmark network and person mask.
        face_index: chooses a face by its place from left to right; -1 the largest and most central.

    Raises:
        FacewrightError: BAD_PHOTO and PHOTO_TOO_LARGE from `decode_photo`; NO_FACE when there is none, or
            not as many as ``face_index`` asks for; FACE_TOO_SMALL; both also as `check_face` says.
    """
    clock = LapClock()
    decoded = decode_photo(photo)
    clock.lap("decode")
    face, index, count = _choose(decoded, face_index, networks)
    pupil_distance = _pupil_distance(face, decoded)
    view = _scaled(view_from_landmarks(face.landmarks), decoded.reduction)
    landmarks = face.landmarks * decoded.reduction  # photo pixels
    clock.lap("find")

    frame = CropFrame.around(view)
    if decoded.reduction > 1 and frame.side / decoded.reduction < _ENOUGH_CROP_PIXELS:
        decoded = decode_photo(photo, reduction=_finer(frame.side))
        clock.lap("decode_again")
    crop, valid_box = cut_face_crop(decoded.image, decoded.reduction, frame)
    crop = to_srgb(crop, decoded.icc_profile)
    to_photo = frame.to_photo()
    landmark_to_crop = np.linalg.inv(to_photo) @ view.to_image()
    landmark_input = sample_view(Image.fromarray(crop), landmark_to_crop)
    clock.lap("crop")
    faults = check_face(landmark_input, _moved(landmarks, np.linalg.inv(view.to_image())))
    clock.lap("check")
    person = find_person(crop, valid_box, _moved(landmarks, np.linalg.inv(to_photo)), networks)
    clock.lap("person_mask")
    info = PhotoInfo(
        photo_width=decoded.width,
        photo_height=decoded.height,
        face_box=_box(face, decoded),
        face_score=face.score,
        face_count=count,
        face_index=index,
        face_roll=float(np.degrees(view.angle)),
        focal_px=decoded.focal_px,
        crop_valid_box=valid_box,
        warnings=[
            *decoded.warnings,
            *_warnings(face, pupil_distance, valid_box),
            *faults,
            *person.warnings(),
        ],
        milliseconds=clock.milliseconds,
    )
    return FoundFace(
        crop,
        to_photo.astype(np.float32),
        landmark_input,
        landmark_to_crop.astype(np.float32),
        person.mask,
        info,
    )


def _choose(photo: Photo, face_index: int, networks: FaceNetworks) -> tuple[_Candidate, int, int]:
    """The chosen face, its place from left to right, and how many faces there are."""
    rejected = 0
    for detections in search_faces(photo.image, networks.detector, thorough=face_index >= 0):
        chosen: _Candidate | None = None
        faces: list[FaceDetection] = []
        for detection in sorted(detections, key=lambda face: -_prominence(face, photo.image.size)):
            # Further faces are only counted, and of a sure detection the landmark network need not be asked.
            if chosen is not None and detection.score > SURE_SCORE:
                faces.append(detection)
                continue
            candidate = _confirm(photo.image, detection, networks)
            if candidate is None:
                rejected += 1
                continue
            faces.append(detection)
            chosen = chosen or candidate
        if chosen is not None:
            faces.sort(key=lambda face: face.box[:, 0].sum())
            if face_index >= 0:
                chosen = _nth(photo, faces, face_index, networks)
            return chosen, faces.index(chosen.detection), len(faces)
    seen = f"{rejected} places resemble one but are none" if rejected else "nothing resembles one"
    raise FacewrightError(
        ErrorCode.NO_FACE,
        f"no face in the photo of {photo.width} x {photo.height} pixels: {seen}",
        "send a photo with a face seen from the front or the side, at least 1/30 of the photo's width",
    )


def _nth(photo: Photo, faces: list[FaceDetection], face_index: int, networks: FaceNetworks) -> _Candidate:
    if face_index >= len(faces):
        raise FacewrightError(
            ErrorCode.NO_FACE,
            f"face_index is {face_index}, but {len(faces)} faces were found in the photo",
            f"it counts from 0 at the left: at most {len(faces) - 1} here; -1 is the main face",
        )
    candidate = _confirm(photo.image, faces[face_index], networks)
    if candidate is None:
        raise FacewrightError(
            ErrorCode.NO_FACE,
            f"what face_index {face_index} of {len(faces)} names resembles a face but is none",
            "choose another index, or -1 for the main face",
        )
    return candidate


def _prominence(face: FaceDetection, size: tuple[int, int]) -> float:
    """Larger and nearer to the middle of the photo is more prominent."""
    extent = float(np.ptp(face.box, axis=0).max())
    middle = np.array(size) / 2
    offset = float(np.linalg.norm((face.box.mean(axis=0) - middle) / middle))
    return extent * face.score * float(np.exp(-0.5 * offset**2))


def _confirm(image: Image.Image, detection: FaceDetection, networks: FaceNetworks) -> _Candidate | None:
    """Run the landmark network on a detection; None when this is no face."""
    view = view_from_box(detection.box, detection.eyes)
    landmarks, score = _landmarks_in(image, view, networks)
    if score < MIN_FACE_SCORE:
        return None
    doubtful = score < _DOUBTFUL_SCORE
    wandered = 0.0
    for look in range(_MORE_LOOKS):
        # Profiles, half-hidden and tilted faces need another look. So does what only resembles a face: there
        # the landmarks keep wandering from look to look.
        refined = view_from_landmarks(landmarks)
        if not _differ(view, refined) and not (doubtful and look < 2):
            break
        before, view = landmarks, refined
        landmarks = _landmarks_in(image, view, networks)[0]
        wandered = float(np.median(np.linalg.norm(landmarks - before, axis=1)))
    if doubtful and wandered > _MOST_WANDERING * _face_height(landmarks):
        return None
    return _Candidate(detection, landmarks, score)


def _landmarks_in(image: Image.Image, view: FaceView, networks: FaceNetworks) -> tuple[F64, float]:
    """Landmarks ``[478, 2]`` in pixels of the image, and the face score."""
    to_image = view.to_image()
    landmarks, score = networks.landmarks_fast(sample_view(image, to_image))
    return landmarks[:, :2] @ to_image[:2, :2].T + to_image[:2, 2], score


def _differ(a: FaceView, b: FaceView) -> bool:
    """Whether the network sees a face in two views so differently that it is worth another look."""
    moved = math.dist(a.centre, b.centre) / a.side
    return moved > 0.06 or abs(math.log(b.side / a.side)) > 0.125 or abs(a.angle - b.angle) > math.radians(5)


def _face_height(landmarks: F64) -> float:
    """From the hairline to the chin; unlike the width it does not shrink when the head turns."""
    return float(np.linalg.norm(landmarks[10] - landmarks[152]))


def _pupil_distance(face: _Candidate, photo: Photo) -> float:
    """In photo pixels, as seen from the front.

    A turned head shows a shorter distance; the face's height bounds it from below.

    Raises:
        FacewrightError: FACE_TOO_SMALL.
    """
    right, left = face.landmarks[list(_IRISES)]
    distance = photo.reduction * max(float(np.linalg.norm(left - right)), 0.4 * _face_height(face.landmarks))
    if distance < MIN_PUPIL_DISTANCE:
        raise FacewrightError(
            ErrorCode.FACE_TOO_SMALL,
            f"the face has {distance:.0f} pixels between the pupils; the minimum is {MIN_PUPIL_DISTANCE:.0f}",
            "send a larger photo, or one taken from nearer; 100 or more are good",
        )
    return distance


def _warnings(face: _Candidate, pupil_distance: float, valid_box: tuple[int, int, int, int]) -> list[str]:
    warnings = []
    if pupil_distance < _LOW_PUPIL_DISTANCE:
        warnings.append(f"The face is small, {pupil_distance:.0f} pixels between the pupils: soft texture.")
    if face.score < 0.9:
        warnings.append(f"The network is unsure of this face (score {face.score:.2f}).")
    return warnings


def _box(face: _Candidate, photo: Photo) -> tuple[float, float, float, float]:
    (x0, y0), (x1, y1) = face.detection.box * photo.reduction
    return float(x0), float(y0), float(x1), float(y1)


def _moved(points: F64, transform: npt.NDArray[np.floating]) -> F64:
    """Points ``[N, 2]`` through an affine ``[3, 3]``."""
    return np.asarray(points @ transform[:2, :2].T + transform[:2, 2], np.float64)


def _scaled(view: FaceView, factor: float) -> FaceView:
    return FaceView((view.centre[0] * factor, view.centre[1] * factor), view.side * factor, view.angle)


def _finer(side: float) -> int:
    """The reduction that leaves at least the crop's own resolution."""
    return next((n for n in (8, 4, 2) if side / n >= _ENOUGH_CROP_PIXELS), 1)

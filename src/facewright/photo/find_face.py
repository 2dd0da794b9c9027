"""The first stage: photo bytes to one face, cropped, and the landmark network's input."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image

from facewright.core.arrays import Floats
from facewright.core.clock import LapClock
from facewright.core.errors import FacewrightError
from facewright.photo.confirmed_face import ConfirmedFace, confirm_face, face_height
from facewright.photo.cut_off_face import edges_that_cut
from facewright.photo.face_crop import CropFrame, cut_face_crop
from facewright.photo.face_detection import (
    MAX_FACES,
    OVERVIEW_SIDE,
    SAME_FACE,
    SURE_SCORE,
    FaceDetection,
    covered_share,
    search_faces,
)
from facewright.photo.face_extent import check_extent, listed, seen_in_view
from facewright.photo.face_networks import FaceNetworks
from facewright.photo.face_proportions import check_proportions, extreme_shape
from facewright.photo.face_quality import check_face
from facewright.photo.interlacing import interlaced
from facewright.photo.landmark_crop import sample_view, view_from_landmarks
from facewright.photo.person_mask import find_person
from facewright.photo.photo import Photo, decode_photo
from facewright.photo.photo_info import PhotoInfo
from facewright_client.contract import ErrorCode

__all__ = ["FaceNetworks", "FoundFace", "PhotoInfo", "find_face"]

U8 = npt.NDArray[np.uint8]
F64 = npt.NDArray[np.float64]

#: Smallest distance of the pupils, photo pixels. Median landmark error on ten portraits scaled down, in % of
#: that distance: 0.2 at 40 pixels, 0.6 at 20, 1.0 at 16, 1.7 at 12, 3.3 at 8.
MIN_PUPIL_DISTANCE = 16.0
# Below this the texture is soft, which the report says.
_LOW_PUPIL_DISTANCE = 40.0
# How much more prominent than a sure face an unsure one has to be to be the main one.
_CLEARLY_MORE = 1.5
# Decode again, finer, when the crop would otherwise be magnified and the file has more to give.
_ENOUGH_CROP_PIXELS = 900
_IRISES = (468, 473)
#: Refusals; that nobody waits any more is none.
_OF_THE_PHOTO = (ErrorCode.BAD_PHOTO, ErrorCode.NO_FACE, ErrorCode.FACE_TOO_SMALL)


@dataclass(frozen=True)
class FoundFace:
    """One face of a photo; what FIND_FACE gives."""

    face_crop: U8  # [1024, 1024, 3] sRGB
    crop_to_photo: Floats  # [3, 3]
    landmark_input: Floats  # [3, 192, 192] RGB, 0-1
    landmark_to_crop: Floats  # [3, 3]
    person_mask: U8  # [256, 256], probability x 255
    info: PhotoInfo


def find_face(
    photo: bytes,
    networks: FaceNetworks,
    face_index: int = -1,
    between_steps: Callable[[], None] = lambda: None,
) -> FoundFace:
    """Decode a photo, choose one face and cut out what the later stages need.

    Args:
        photo: an encoded file, as `decode_photo` takes.
        networks: detector, landmark network and person mask.
        face_index: chooses a face by its place from left to right, as ``PhotoInfo.face_index`` tells; -1 the
            largest and most central.
        between_steps: called after each step; ends the work by raising.

    Raises:
        FacewrightError: BAD_PHOTO and PHOTO_TOO_LARGE from `decode_photo`; NO_FACE when there is none, or
            not as many as ``face_index`` asks for; FACE_TOO_SMALL; both also as `check_face` says;
            BAD_PHOTO also as `check_proportions` says.
    """
    clock = LapClock(between_steps)
    decoded = decode_photo(photo)
    clock.lap("decode")
    with _causes_named(decoded):
        faces, main = _faces(decoded, networks)
    index = _index(faces, main, face_index)
    face = faces[index]
    pupil_distance = _pupil_distance(face)
    view = view_from_landmarks(face.landmarks)
    clock.lap("find")

    frame = CropFrame.around(view)
    if decoded.reduction > 1 and frame.side / decoded.reduction < _ENOUGH_CROP_PIXELS:
        decoded = decode_photo(photo, reduction=_finer(frame.side))
        clock.lap("decode_again")
    crop = cut_face_crop(decoded, frame)
    to_photo = frame.to_photo()
    landmark_to_crop = np.linalg.inv(to_photo) @ view.to_image()
    landmark_input = sample_view(Image.fromarray(crop.image), landmark_to_crop)
    clock.lap("crop")
    in_view = _moved(face.landmarks, np.linalg.inv(view.to_image()))
    seen = seen_in_view(crop, landmark_to_crop, landmark_input.shape[-1])
    with _causes_named(decoded), _others_named(len(faces)):
        guessed = check_extent(seen, in_view, face.landmarks, (decoded.width, decoded.height))
        if guessed and crop.opacity is not None:
            # No cut-out: the photo ends where its opaque part does.
            crop = crop.within_opaque()
        person = find_person(crop, _moved(face.landmarks, np.linalg.inv(to_photo)), networks)
        clock.lap("person_mask")
        squeezed = check_proportions(face.landmarks, (decoded.width, decoded.height))
        covers = not (guessed or squeezed or decoded.few_colours)
        with _guess_named(guessed):
            faults = check_face(landmark_input, in_view, face.score, person, seen, covers)
    clock.lap("check")
    (x0, y0), (x1, y1) = face.box.tolist()
    info = PhotoInfo(
        photo_width=decoded.width,
        photo_height=decoded.height,
        face_box=(x0, y0, x1, y1),
        face_score=face.score,
        face_count=len(faces),
        face_index=index,
        face_roll=float(np.degrees(view.angle)),
        focal_px=decoded.focal_px,
        crop_valid_box=crop.valid_box,
        warnings=[
            *decoded.warnings,
            *_choice_warning(len(faces), index, face_index),
            *_warnings(face, pupil_distance, frame.quarter_turns),
            *_rows_warning(decoded, face.box),
            *guessed,
            *squeezed,
            *faults,
            *person.warnings(),
        ],
        milliseconds=clock.milliseconds,
    )
    return FoundFace(
        crop.image,
        to_photo.astype(np.float32),
        landmark_input,
        landmark_to_crop.astype(np.float32),
        person.mask,
        info,
    )


@contextmanager
def _causes_named(decoded: Photo) -> Iterator[None]:
    """Where a face is refused, say what of the file may be the cause."""
    try:
        yield
    except FacewrightError as error:
        if decoded.looked_at and error.code in _OF_THE_PHOTO:
            error.hint += (
                f"; only {decoded.looked_at} is looked at: save another one as JPEG or PNG and send that"
            )
        raise


@contextmanager
def _guess_named(guessed: list[str]) -> Iterator[None]:
    """What is measured on a part of a face, and on a border that is repeated, may have that as its cause."""
    try:
        yield
    except FacewrightError as error:
        if not guessed:
            raise
        raise FacewrightError(
            error.code,
            f"too little of the face is shown to be sure of it: {' '.join(guessed).rstrip('.')}; of what is "
            f"shown, {error.message}",
            "send a photo that shows the whole face, with some room around it",
        ) from error


@contextmanager
def _others_named(count: int) -> Iterator[None]:
    try:
        yield
    except FacewrightError as error:
        if count > 1 and error.code in _OF_THE_PHOTO:
            error.hint += f"; or ask for another of the {count} faces by face_index"
        raise


def _faces(photo: Photo, networks: FaceNetworks) -> tuple[list[ConfirmedFace], int]:
    """All faces of a photo from left to right, and which is the main one: the same whichever is asked for.

    Raises:
        FacewrightError: NO_FACE.
    """
    overview, factor = photo.overview(OVERVIEW_SIDE)
    rejected = 0
    for detections in search_faces(overview, networks.detector):
        faces: list[ConfirmedFace] = []
        for detection in detections[:MAX_FACES]:
            prominence = _prominence(detection, overview.size)
            # Beside a sure face an unsure detection is looked at only where it would be the main one.
            if (
                faces
                and detection.score <= SURE_SCORE < faces[0].detection_score
                and prominence < _CLEARLY_MORE * max(face.prominence for face in faces)
            ):
                continue
            face = confirm_face(photo, detection.scaled(factor), prominence, networks)
            if face is None:
                rejected += 1
            elif not any(covered_share(face.box, other.box) > SAME_FACE for other in faces):
                faces.append(face)
        if faces:
            main = max(faces, key=lambda face: face.prominence)
            faces.sort(key=lambda face: float(face.box[:, 0].sum()))
            return faces, faces.index(main)
    raise _no_face(photo, overview, rejected, networks)


def _no_face(photo: Photo, overview: Image.Image, rejected: int, networks: FaceNetworks) -> FacewrightError:
    size = f"the photo of {photo.width} x {photo.height} pixels"
    if edges := edges_that_cut(overview, networks):
        return FacewrightError(
            ErrorCode.NO_FACE,
            f"no whole face in {size}: one seems to be cut off by the {listed(edges)} "
            f"edge{'s' * (len(edges) > 1)}",
            "send a photo that shows the whole face, with some room around it",
        )
    places = f"what resembles one is none, too small to tell, or shown in part only (places: {rejected})"
    seen = places if rejected else "nothing resembles a whole one"
    extreme = extreme_shape((photo.width, photo.height))
    squeezed = "; where it was squeezed into this shape, send it with its own proportions" if extreme else ""
    return FacewrightError(
        ErrorCode.NO_FACE,
        f"no face in {size}: {seen}",
        "send a photo of a person whose whole face is seen from the front or the side, or crop it around the "
        f"face: its width has to be at least 1/25 of the photo's longer side{squeezed}",
    )


def _index(faces: list[ConfirmedFace], main: int, face_index: int) -> int:
    if face_index >= len(faces):
        raise FacewrightError(
            ErrorCode.NO_FACE,
            f"face_index is {face_index}, but the faces found in the photo are {len(faces)}",
            f"it counts from 0 at the left: at most {len(faces) - 1} here; -1 is the main face",
        )
    return main if face_index < 0 else face_index


def _prominence(face: FaceDetection, size: tuple[int, int]) -> float:
    """Larger and nearer to the middle of the overview is more prominent."""
    middle = np.array(size) / 2
    offset = float(np.linalg.norm((face.box.mean(axis=0) - middle) / middle))
    return face.size * face.score * float(np.exp(-0.5 * offset**2))


def _pupil_distance(face: ConfirmedFace) -> float:
    """In photo pixels, as seen from the front.

    A turned head shows a shorter distance; the face's height bounds it from below.

    Raises:
        FacewrightError: FACE_TOO_SMALL.
    """
    right, left = face.landmarks[list(_IRISES)]
    distance = max(float(np.linalg.norm(left - right)), 0.4 * face_height(face.landmarks))
    if distance < MIN_PUPIL_DISTANCE:
        raise FacewrightError(
            ErrorCode.FACE_TOO_SMALL,
            f"the face has {distance:.0f} pixels between the pupils; the minimum is {MIN_PUPIL_DISTANCE:.0f}",
            "send a larger photo, or one taken from nearer; 100 or more are good",
        )
    return distance


def _choice_warning(count: int, index: int, face_index: int) -> list[str]:
    if count == 1 or face_index >= 0:
        return []
    return [
        f"The photo shows {count} faces: the avatar is of number {index + 1} from the left, the most "
        f"prominent. The option face_index chooses, 0 at the left to {count - 1}; this one is {index}."
    ]


def _warnings(face: ConfirmedFace, pupil_distance: float, quarter_turns: int) -> list[str]:
    warnings = []
    if pupil_distance < _LOW_PUPIL_DISTANCE:
        warnings.append(f"The face is small, {pupil_distance:.0f} pixels between the pupils: soft texture.")
    if quarter_turns:
        warnings.append(
            f"The face is turned by {90 * quarter_turns} degrees in the photo and was taken so: where that "
            "is wrong, send a photo that shows the whole face upright."
        )
    if face.score < 0.9:
        warnings.append(f"The network is unsure of this face (score {face.score:.2f}).")
    return warnings


def _rows_warning(decoded: Photo, box: F64) -> list[str]:
    if decoded.reduction > 1 or not interlaced(decoded.image, box):
        return []
    return [
        "Every second row of the photo is shifted, as in a frame of interlaced video: outlines are doubled. "
        "Deinterlace it, or send a still."
    ]


def _moved(points: F64, transform: npt.NDArray[np.floating]) -> F64:
    """Points ``[N, 2]`` through an affine ``[3, 3]``."""
    return np.asarray(points @ transform[:2, :2].T + transform[:2, 2], np.float64)


def _finer(side: float) -> int:
    """The reduction that leaves at least the crop's own resolution."""
    return next((n for n in (8, 4, 2) if side / n >= _ENOUGH_CROP_PIXELS), 1)

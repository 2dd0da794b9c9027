"""The image of a face as a published network takes it: one recipe for each network's own aligner.

Aligners of OpenCV and MATLAB count pixels from the centre of the first one; their numbers are moved by half a
pixel here (CONVENTIONS.md). Where an image reaches beyond FACE_CROP the crop's border is repeated.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
from PIL import Image

from facewright.core.errors import FacewrightError
from facewright.photo.face_points import FacePoints
from facewright_client.contract import CROP_SIZE, LANDMARKS_COUNT, ErrorCode

F64 = npt.NDArray[np.float64]
U8 = npt.NDArray[np.uint8]

#: Eyes, nose tip and corners of the mouth in ArcFace's image of 112 pixels; from OpenCV's pixel centres.
ARCFACE_POINTS: Final = np.array(
    [[38.2946, 51.6963], [73.5318, 51.5014], [56.0252, 71.7366], [41.5493, 92.3655], [70.7299, 92.2041]]
)
#: The same five points of a standard head, y up, and the scale of its orthographic picture in 224 pixels.
DEEP3D_POINTS: Final = np.array(
    [
        [-0.31148657, 0.29036078, 0.13377953],
        [0.30979887, 0.28972036, 0.13179526],
        [0.0032535, -0.04617932, 0.55244243],
        [-0.25216928, -0.38133916, 0.22405732],
        [0.2484662, -0.38128236, 0.22235769],
    ]
)
DEEP3D_SCALE: Final = 102.0
#: Pixels between the middles of eyes and mouth, and above the eyes, in LightCNN's image of 128 pixels.
LIGHT_CNN_EYES_TO_MOUTH: Final = 48.0
LIGHT_CNN_EYES_FROM_TOP: Final = 40.0
#: Pixels of the crop that an image may reach over: landmarks that want more are of no face.
LARGEST_SIDE: Final = 4.0 * CROP_SIZE
#: DECA's square over the mean side of the box around 68 landmarks: 10 % for the skull, then its margin.
DECA_SCALE: Final = 1.1 * 1.25
#: MTCNN's margin of facenet-pytorch, pixels of the image: its default.
FACENET_MARGIN: Final = 0.0


@dataclass(frozen=True)
class AlignmentRecipe:
    """How one network's image is cut.

    Attributes:
        size: pixels per side.
        to_crop: the affine map [3, 3] from the image's pixels to the crop's, of a face's points and ``size``.
        source: whose aligner it is.
        grey: one channel (luma of ITU-R 601, as Pillow, OpenCV and MATLAB weigh it) instead of three.
    """

    size: int
    to_crop: Callable[[FacePoints, int], F64]
    source: str
    grey: bool = False

    @property
    def shape(self) -> tuple[int, int, int]:
        """Of the image."""
        return self.size, self.size, 1 if self.grey else 3


@dataclass(frozen=True)
class AlignedFace:
    """A network's image, u8 [S, S, 3] sRGB or [S, S, 1] grey, and CROP_TO_ALIGNED f32 [3, 3]."""

    image: U8
    crop_to_aligned: npt.NDArray[np.float32]


def align_face(face_crop: U8, landmarks: npt.NDArray[np.floating], recipe: AlignmentRecipe) -> AlignedFace:
    """Cut a face as a recipe says, antialiased.

    Args:
        face_crop: u8 [1024, 1024, 3], sRGB.
        landmarks: [478, 2], crop pixels.
        recipe: one of `RECIPES`.

    Raises:
        FacewrightError: INTERNAL for arrays of other shapes; NO_FACE where the landmarks span no face, so
            that no image of it can be cut.
    """
    if face_crop.shape != (CROP_SIZE, CROP_SIZE, 3) or face_crop.dtype != np.uint8:
        raise FacewrightError(
            ErrorCode.INTERNAL,
            f"FACE_CROP is {face_crop.dtype} {list(face_crop.shape)}, not uint8 {[CROP_SIZE, CROP_SIZE, 3]}",
            "give what find_face gives",
        )
    if landmarks.shape != (LANDMARKS_COUNT, 2):
        raise FacewrightError(
            ErrorCode.INTERNAL,
            f"there are landmarks {list(landmarks.shape)}, not {[LANDMARKS_COUNT, 2]}",
            "give what fit_head gives, moved into the crop",
        )
    with np.errstate(all="ignore"):  # points that coincide have no direction: what comes of them is no number
        to_crop = recipe.to_crop(FacePoints(np.asarray(landmarks, np.float64)), recipe.size)
    sides = np.linalg.norm(to_crop[:2, :2], axis=0) * recipe.size
    if not np.isfinite(to_crop).all() or sides.min() < 1 or sides.max() > LARGEST_SIDE:
        raise FacewrightError(
            ErrorCode.NO_FACE,
            f"the landmarks span {sides[0]:.3g} x {sides[1]:.3g} pixels of the crop: that is no face",
            "send another photo of the face, from the front",
        )
    image = resampled(Image.fromarray(face_crop), to_crop, recipe.size)
    if recipe.grey:
        image = image.convert("L")
    pixels = np.asarray(image).reshape(recipe.shape)
    return AlignedFace(pixels, np.linalg.inv(to_crop).astype(np.float32))


def landmarks_in_crop(landmarks: npt.NDArray[np.floating], crop_to_photo: npt.NDArray[np.floating]) -> F64:
    """Landmarks [N, 2] of the photo in pixels of FACE_CROP; CROP_TO_PHOTO [3, 3] is affine."""
    to_crop = np.linalg.inv(crop_to_photo.astype(np.float64))
    in_crop: F64 = landmarks.astype(np.float64) @ to_crop[:2, :2].T + to_crop[:2, 2]
    return in_crop


def resampled(crop: Image.Image, to_crop: F64, size: int) -> Image.Image:
    """A square of ``size`` pixels through an affine map [3, 3] from its pixels to the crop's.

    Each pixel is the mean of samples that lie at most a pixel of the crop apart; beyond the crop its border
    is repeated.
    """
    density = max(1, int(np.ceil(np.linalg.norm(to_crop[:2, :2], axis=0).max() - 1e-9)))
    finer = to_crop @ np.diag([1 / density, 1 / density, 1.0])
    margin = _beyond(finer, size * density, crop.size)
    if margin:
        crop = Image.fromarray(np.pad(np.asarray(crop), ((margin, margin), (margin, margin), (0, 0)), "edge"))
        finer[:2, 2] += margin
    sampled = crop.transform(
        (size * density, size * density),
        Image.Transform.AFFINE,
        tuple(finer[:2].ravel()),
        Image.Resampling.BILINEAR,
    )
    return sampled.reduce(density) if density > 1 else sampled


def _beyond(to_crop: F64, size: int, crop_size: tuple[int, int]) -> int:
    """Pixels by which a square reaches beyond the crop, where Pillow would paint black."""
    corners = to_crop[:2, :2] @ np.array([[0, size, size, 0], [0, 0, size, size]]) + to_crop[:2, 2:]
    outside = max(-corners.min(), float((corners.max(axis=1) - crop_size).max()))
    return max(0, int(np.ceil(outside + 1)))


def _box(low: F64, high: F64, size: int) -> F64:
    """A box of the crop [2] to [2], stretched to the image."""
    step = (high - low) / size
    return np.array([[step[0], 0, low[0]], [0, step[1], low[1]], [0, 0, 1.0]])


def _facenet(face: FacePoints, size: int) -> F64:
    """facenet-pytorch's ``extract_face``: MTCNN's box and a margin of so many pixels of the image. The box is
    that around the mesh, from the hairline to the chin, as WIDER FACE's, which MTCNN learnt, are drawn."""
    low, high = face.mesh_box
    margin = FACENET_MARGIN * (high - low) / (size - FACENET_MARGIN)
    return _box(low - margin / 2, high + margin / 2, size)


def _arcface(face: FacePoints, size: int) -> F64:
    """insightface's ``norm_crop``: the five points onto the template with the least squared error there, by
    rotation, scale and shift (Umeyama 1991)."""
    template = (ARCFACE_POINTS + 0.5) * size / 112
    here, there = (points - points.mean(axis=0) for points in (face.five, template))
    turned = np.stack([-here[:, 1], here[:, 0]], axis=1)
    cosine, sine = (here * there).sum(), (turned * there).sum()
    back = np.array([[cosine, sine], [-sine, cosine]]) * (here * here).sum() / (cosine**2 + sine**2)
    return _framed(back, face.five.mean(axis=0), template.mean(axis=0))


def _light_cnn(face: FacePoints, size: int) -> F64:
    """Eyes upright, their middle and that of the mouth so far apart (Wu et al. 2018, section 4.1)."""
    eyes, mouth = face.five[:2].mean(axis=0), face.five[3:].mean(axis=0)
    along = _unit(face.five[1] - face.five[0])
    down = np.array([-along[1], along[0]])
    step = float((mouth - eyes) @ down) / LIGHT_CNN_EYES_TO_MOUTH
    axes = step * np.stack([along, down], axis=1)
    return _framed(axes, eyes, np.array([size / 2, LIGHT_CNN_EYES_FROM_TOP + 0.5]))


def _deep3d(face: FacePoints, size: int) -> F64:
    """Deng et al. 2019: scaled by the orthographic picture that explains the five points best, not turned."""
    rows = np.column_stack([DEEP3D_POINTS * [1, -1, 1], np.ones(5)])  # y down, as in the crop
    affine = np.linalg.lstsq(rows, face.five_by_corners, rcond=None)[0]
    step = float(np.linalg.norm(affine[:3], axis=0).mean()) / (DEEP3D_SCALE * size / 224)
    return _framed(step * np.eye(2), affine[3], np.full(2, size / 2))


def _deca(face: FacePoints, size: int) -> F64:
    """A square about the box of 68 landmarks, not turned (Feng et al. 2021, section 5)."""
    low, high = face.ibug_box
    step = DECA_SCALE * float((high - low).mean()) / size
    return _framed(step * np.eye(2), (low + high) / 2, np.full(2, size / 2))


def _ffhq(face: FacePoints, size: int) -> F64:
    """The oriented square of CelebA-HQ and FFHQ (Karras et al. 2018, appendix C; 2019, appendix A)."""
    eye_left, eye_right = face.eyes
    mouth = face.five[3:].mean(axis=0)
    eyes = (eye_left + eye_right) / 2
    across, down = eye_right - eye_left, mouth - eyes
    along = _unit(across + np.array([down[1], -down[0]]))
    half = max(2.0 * float(np.linalg.norm(across)), 1.8 * float(np.linalg.norm(down)))
    axes = 2 * half / size * np.array([[along[0], -along[1]], [along[1], along[0]]])
    return _framed(axes, eyes + 0.1 * down, np.full(2, size / 2))


def _framed(axes: F64, point: F64, pixel: F64) -> F64:
    """The map with these columns that takes an image's ``pixel`` [2] to a ``point`` [2] of the crop."""
    to_crop = np.eye(3)
    to_crop[:2, :2], to_crop[:2, 2] = axes, point - axes @ pixel
    return to_crop


def _unit(vector: F64) -> F64:
    return vector / np.linalg.norm(vector)


_FFHQ: Final = "NVlabs/ffhq-dataset, download_ffhq.py; Karras et al. 2018, appendix C"
#: By network; a stage's tensors are named after them.
RECIPES: Final[Mapping[str, AlignmentRecipe]] = {
    "facenet": AlignmentRecipe(160, _facenet, "timesler/facenet-pytorch, extract_face"),
    "arcface": AlignmentRecipe(112, _arcface, "deepinsight/insightface, face_align.norm_crop; MICA uses it"),
    "light_cnn": AlignmentRecipe(
        128, _light_cnn, "AlfredXiangWu/face_verification_experiment, face_db_align.m", grey=True
    ),
    "deep3d": AlignmentRecipe(224, _deep3d, "microsoft/Deep3DFaceReconstruction, preprocess_img.py"),
    "deca": AlignmentRecipe(224, _deca, "Feng et al. 2021, DECA: bounding box of landmarks x 1.1 x 1.25"),
    "bisenet": AlignmentRecipe(512, _ffhq, f"CelebAMask-HQ, which it learnt from, is aligned as: {_FFHQ}"),
    # No paper or code says how faces were framed for it; it stands in for BiSeNet and gets its picture.
    "pspnet": AlignmentRecipe(473, _ffhq, f"hszhao/semseg's crop size; framed as CelebAMask-HQ: {_FFHQ}"),
    "ffhq": AlignmentRecipe(256, _ffhq, _FFHQ),
}

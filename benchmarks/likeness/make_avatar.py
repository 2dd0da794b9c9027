"""The default pipeline's stages called in this process: photo bytes in, everything that is judged out."""

from __future__ import annotations

import io
import time
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
from PIL import Image

from benchmarks.likeness.settings import AvatarSettings
from facewright.core.assets import asset_path
from facewright.core.options import AvatarOptions
from facewright.fit.fit_head import HeadFitter
from facewright.fit.fit_info import HeadFit
from facewright.head.head_model import HeadModel
from facewright.photo.find_face import FaceNetworks, FoundFace, find_face
from facewright.texture.bake_texture import TextureBaker

U8 = npt.NDArray[np.uint8]
F32 = npt.NDArray[np.float32]


@dataclass(frozen=True)
class FittedFace:
    """A found and fitted face.

    Attributes:
        found: the face's crop and how it lies in the photo.
        landmarks_in_crop, landmarks_in_photo: [478, 2], pixels.
        fit: the fitted head.
        milliseconds: by stage.
    """

    found: FoundFace
    landmarks_in_crop: npt.NDArray[np.float64]
    landmarks_in_photo: npt.NDArray[np.float64]
    fit: HeadFit
    milliseconds: dict[str, float]


@dataclass(frozen=True)
class MadeAvatar(FittedFace):
    """A fitted face with its texture: sRGB u8 [S, S, 3] and estimated light f32 [9, 3]."""

    texture: U8 = field(repr=False)
    sh_light: F32 = field(repr=False)

    @property
    def face_crop(self) -> U8:
        """sRGB u8 [1024, 1024, 3]."""
        return self.found.face_crop


class AvatarMaker:
    """Holds the open assets; makes avatars one after the other."""

    def __init__(
        self, head: HeadModel, networks: FaceNetworks, options: AvatarOptions, settings: AvatarSettings
    ) -> None:
        self.head = head
        self._networks = networks
        self._options = options
        self._fitter = HeadFitter(head, settings.fit)
        self._baker = TextureBaker(head, settings.bake)

    @classmethod
    def from_open_assets(cls, options: AvatarOptions, settings: AvatarSettings | None = None) -> AvatarMaker:
        """With the open head and networks from the cache; ``settings`` are the stages' own by default.

        Raises:
            FacewrightError: INTERNAL where an asset has not been built (``make setup``).
        """
        head = HeadModel.load(asset_path("head.npz", None))
        return cls(head, FaceNetworks.load(), options, settings or AvatarSettings())

    def fit(self, picture: U8) -> FittedFace:
        """Finds and fits the face in a rendered picture, sRGB u8 [H, W, 3].

        Raises:
            FacewrightError: as the stages do, NO_FACE above all.
        """
        png = io.BytesIO()
        Image.fromarray(picture).save(png, "PNG", compress_level=1)
        return self._fit(png.getvalue())

    def make(self, photo: bytes) -> MadeAvatar:
        """All stages up to the texture.

        Raises:
            FacewrightError: as the stages do.
        """
        return self.bake(self._fit(photo))

    def bake(self, face: FittedFace) -> MadeAvatar:
        """The texture of a face that is already fitted.

        Raises:
            FacewrightError: as the stage does.
        """
        fit = face.fit
        start = time.perf_counter()
        baked = self._baker.bake(
            face.found.face_crop,
            fit.intrinsics,
            fit.head_to_camera,
            fit.fitted_vertices,
            fit.neutral_vertices,
            fit.info,
            face.found.person_mask,
        )
        milliseconds = face.milliseconds | {"bake_texture": 1e3 * (time.perf_counter() - start)}
        return MadeAvatar(
            face.found,
            face.landmarks_in_crop,
            face.landmarks_in_photo,
            fit,
            milliseconds,
            texture=baked.texture,
            sh_light=baked.sh_light,
        )

    def _fit(self, photo: bytes) -> FittedFace:
        start = time.perf_counter()
        found = find_face(photo, self._options, self._networks)
        found_at = time.perf_counter()
        landmarks, score = self._networks.landmarks(found.landmark_input)
        landmarks_at = time.perf_counter()
        fit = self._fitter.fit(
            landmarks,
            score,
            found.landmark_to_crop,
            found.crop_to_photo,
            found.info,
            found.person_mask,
        )
        fitted_at = time.perf_counter()
        in_crop = _moved(landmarks[:, :2], found.landmark_to_crop)
        return FittedFace(
            found,
            in_crop,
            _moved(in_crop, found.crop_to_photo),
            fit,
            {
                "find_face": 1e3 * (found_at - start),
                "face_landmarks": 1e3 * (landmarks_at - found_at),
                "fit_head": 1e3 * (fitted_at - landmarks_at),
            },
        )


def _moved(points: npt.NDArray[np.floating], transform: npt.NDArray[np.floating]) -> npt.NDArray[np.float64]:
    """Points [N, 2] through a homogeneous [3, 3] transform."""
    moved = np.c_[points, np.ones(len(points))] @ np.asarray(transform, np.float64).T
    return np.asarray(moved[:, :2] / moved[:, 2:])

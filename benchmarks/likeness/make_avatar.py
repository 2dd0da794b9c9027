"""A pipeline's stages in this process: photo bytes in, everything that is judged out."""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
from PIL import Image

from benchmarks.likeness.settings import AvatarSettings
from facewright.adapter.in_process import PipelineRunner, Run, stage_model
from facewright.core.assets import asset_path
from facewright.core.options import OptionValue
from facewright.fit.fit_info import FitInfo, HeadFit
from facewright.head.head_model import HeadModel
from facewright.pipelines import tensors
from facewright.pipelines.stages import Pipeline
from facewright.pipelines.twin import AVATAR_TWIN, BAKE_TEXTURE, FIT_HEAD
from facewright_client import contract

U8 = npt.NDArray[np.uint8]
F32 = npt.NDArray[np.float32]


@dataclass(frozen=True)
class FittedFace:
    """A found and fitted face.

    Attributes:
        face_crop: sRGB u8 [1024, 1024, 3].
        landmarks_in_crop, landmarks_in_photo: [478, 2], pixels.
        fit: the fitted head.
        milliseconds: by stage.
    """

    face_crop: U8 = field(repr=False)
    landmarks_in_crop: npt.NDArray[np.float64]
    landmarks_in_photo: npt.NDArray[np.float64]
    fit: HeadFit
    milliseconds: Mapping[str, float]


@dataclass(frozen=True)
class MadeAvatar(FittedFace):
    """A fitted face with its texture: sRGB u8 [S, S, 3] and the light f32 [9, 3] in which
    it shows the photo."""

    texture: U8 = field(repr=False)
    sh_light: F32 = field(repr=False)


class AvatarMaker:
    """Holds the open assets; makes avatars one after the other.

    Args:
        options: of the pipeline; textures are PNG, whatever they say.
        settings: of fit and bake; the stages' own by default.
        row: the pipeline that makes avatars. Faces are fitted as all pipelines fit them.

    Raises:
        FacewrightError: INTERNAL where an asset has not been built (``make setup``).
    """

    def __init__(
        self,
        options: Mapping[str, OptionValue] | None = None,
        settings: AvatarSettings | None = None,
        row: Pipeline = AVATAR_TWIN,
    ) -> None:
        self.head = HeadModel.load(asset_path("head.npz"))
        changed = settings or AvatarSettings()
        models = {FIT_HEAD.name: stage_model(FIT_HEAD), BAKE_TEXTURE.name: stage_model(BAKE_TEXTURE)}
        for name, own in ((FIT_HEAD.name, changed.fit), (BAKE_TEXTURE.name, changed.bake)):
            vars(models[name])["settings"] = own
        self._fitting = PipelineRunner(AVATAR_TWIN, models)
        self._making = self._fitting if row is AVATAR_TWIN else PipelineRunner(row, models)
        self._options = {**(options or {}), "texture_format": "png"}

    def fit(self, picture: U8) -> FittedFace:
        """Finds and fits the face in a rendered picture, sRGB u8 [H, W, 3].

        Raises:
            FacewrightError: as the stages do, NO_FACE above all.
        """
        png = io.BytesIO()
        Image.fromarray(picture).save(png, "PNG", compress_level=1)
        return self.fit_photo(png.getvalue())

    def fit_photo(self, photo: bytes) -> FittedFace:
        """All stages up to the fit.

        Raises:
            FacewrightError: as the stages do.
        """
        run = self._fitting.run({contract.PHOTO: photo}, {}, (contract.LANDMARKS,))
        return FittedFace(*_fitted(run))

    def make(self, photo: bytes) -> MadeAvatar:
        """All stages up to the texture.

        Raises:
            FacewrightError: as the stages do.
        """
        run = self._making.run({contract.PHOTO: photo}, self._options, (tensors.TEXTURE,))
        texture = np.asarray(Image.open(io.BytesIO(run.content(tensors.TEXTURE))))
        return MadeAvatar(*_fitted(run), texture=texture, sh_light=run.array(contract.SH_LIGHT))


def _fitted(
    run: Run,
) -> tuple[U8, npt.NDArray[np.float64], npt.NDArray[np.float64], HeadFit, Mapping[str, float]]:
    """The members of a `FittedFace`."""
    in_crop = _moved(run.array(tensors.NETWORK_LANDMARKS)[:, :2], run.array(tensors.LANDMARK_TO_CROP))
    fit = HeadFit(
        landmarks=run.array(contract.LANDMARKS),
        identity=run.array(contract.IDENTITY),
        expression=run.array(contract.EXPRESSION),
        eye_rotation=run.array(contract.EYE_ROTATION),
        intrinsics=run.array(contract.INTRINSICS),
        head_to_camera=run.array(contract.HEAD_TO_CAMERA),
        fitted_vertices=run.array(tensors.FITTED_VERTICES),
        neutral_vertices=run.array(contract.NEUTRAL_VERTICES),
        info=FitInfo.from_json(run.content(tensors.FIT_INFO)),
    )
    in_photo = _moved(in_crop, run.array(tensors.CROP_TO_PHOTO))
    return run.array(contract.FACE_CROP), in_crop, in_photo, fit, run.milliseconds


def _moved(points: npt.NDArray[np.floating], transform: npt.NDArray[np.floating]) -> npt.NDArray[np.float64]:
    """Points [N, 2] through a homogeneous [3, 3] transform."""
    moved = np.c_[points, np.ones(len(points))] @ np.asarray(transform, np.float64).T
    return np.asarray(moved[:, :2] / moved[:, 2:])

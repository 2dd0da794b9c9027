"""The baseline: the same stages called one after the other in this process, without a server."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from facewright.asset.package_avatar import AvatarPackager, AvatarParts
from facewright.core.assets import asset_path, open_assets_folder
from facewright.core.options import AvatarOptions
from facewright.core.provenance import Provenance
from facewright.fit.fit_head import HeadFitter
from facewright.head.head_model import HeadModel
from facewright.photo.find_face import FaceNetworks, find_face
from facewright.texture.bake_texture import TextureBaker


@dataclass(frozen=True)
class InProcessAvatar:
    """The GLB, and whose it is: landmarks f32 [478, 2] in photo pixels, identity f32 [160]."""

    glb: bytes
    landmarks: npt.NDArray[np.float32]
    identity: npt.NDArray[np.float32]


class InProcessPipeline:
    """All stages of ``avatar_twin`` on the open assets."""

    def __init__(self) -> None:
        head = HeadModel.load(asset_path("head.npz"))
        self._networks = FaceNetworks.load()
        self._fitter = HeadFitter(head)
        self._baker = TextureBaker(head)
        self._packager = AvatarPackager(head, Provenance.of_open_assets(open_assets_folder()))

    def create(self, photo: bytes, options: AvatarOptions) -> InProcessAvatar:
        """Photo bytes to a GLB.

        Raises:
            FacewrightError: as the stages do.
        """
        found = find_face(photo, options, self._networks)
        landmarks, score = self._networks.landmarks(found.landmark_input)
        fit = self._fitter.fit(
            landmarks,
            score,
            found.landmark_to_crop,
            found.crop_to_photo,
            found.info,
            found.person_mask,
        )
        baked = self._baker.bake(
            found.face_crop,
            fit.intrinsics,
            fit.head_to_camera,
            fit.fitted_vertices,
            fit.neutral_vertices,
            fit.info,
            found.person_mask,
        )
        glb, _ = self._packager.package(
            AvatarParts(
                neutral_vertices=fit.neutral_vertices,
                identity=fit.identity,
                expression=fit.expression,
                texture=baked.encode(),
                sh_light=baked.sh_light,
                photo_info=found.info,
                fit_info=fit.info,
                texture_info=baked.info,
            )
        )
        return InProcessAvatar(glb, fit.landmarks, fit.identity)

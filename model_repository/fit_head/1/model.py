"""Landmarks to a fitted head and camera; what it computes is in ``facewright.fit.fit_head``."""

from __future__ import annotations

from facewright.adapter.stage_model import Machine, StageModel
from facewright.adapter.stage_request import Outputs, StageRequest
from facewright.core.assets import asset_path
from facewright.fit.fit_head import HeadFitSettings, HeadFitter
from facewright.fit.shape_prior import ShapePrior
from facewright.head.head_model import HeadModel
from facewright.photo.photo_info import PhotoInfo
from facewright.pipelines import tensors
from facewright.pipelines.stages import SECTIONS
from facewright.pipelines.twin import FIT_HEAD
from facewright_client import contract


class TritonPythonModel(StageModel):
    """The adapter that Triton loads."""

    stage = FIT_HEAD
    settings = HeadFitSettings()

    def load(self, machine: Machine) -> None:
        """Load the head and prepare the fit."""
        head = HeadModel.load(asset_path("head.npz"))
        self._fitter = HeadFitter(head, self.settings)
        self._expression_names = [str(name) for name in head.expression_names]

    def compute(self, request: StageRequest) -> Outputs:
        """Fit the head to one face."""
        fit = self._fitter.fit(
            request.array(tensors.NETWORK_LANDMARKS),
            float(request.array(tensors.FACE_SCORE)[0]),
            request.array(tensors.LANDMARK_TO_CROP),
            request.array(tensors.CROP_TO_PHOTO),
            PhotoInfo.from_json(request.content(tensors.PHOTO_INFO)),
            request.array(tensors.PERSON_MASK),
            request.option("focal_px"),
            ShapePrior.regressed(
                request.array(tensors.IDENTITY_PRIOR),
                request.array(tensors.EXPRESSION_PRIOR),
                request.array(tensors.LANDMARK_BIAS),
                float(request.array(tensors.SHAPE_DISTANCE)[0]),
            ),
        )
        return {
            contract.LANDMARKS: fit.landmarks,
            contract.IDENTITY: fit.identity,
            contract.EXPRESSION: fit.expression,
            contract.EYE_ROTATION: fit.eye_rotation,
            contract.INTRINSICS: fit.intrinsics,
            contract.HEAD_TO_CAMERA: fit.head_to_camera,
            tensors.FITTED_VERTICES: fit.fitted_vertices,
            contract.NEUTRAL_VERTICES: fit.neutral_vertices,
            tensors.FIT_INFO: fit.info.to_json().encode(),
            SECTIONS: fit.section(self._expression_names),
        }

"""Landmarks to a fitted head and camera; what it computes is in ``facewright.fit.fit_head``."""

from __future__ import annotations

import time
from typing import Any

from facewright.adapter.stage import Outputs, Stage, StageRequest
from facewright.core.assets import asset_path
from facewright.fit.fit_head import HeadFitter
from facewright.head.head_model import HeadModel
from facewright.photo.photo_info import PhotoInfo
from facewright_client import contract


class TritonPythonModel:
    """The adapter that Triton loads."""

    def initialize(self, args: dict[str, str]) -> None:
        """Load the head and prepare the fit."""
        self._stage = Stage("fit_head", args)
        self._fitter = HeadFitter(HeadModel.load(asset_path("head.npz")))

    def execute(self, requests: list[Any]) -> list[Any]:
        """Answer Triton's requests."""
        return self._stage.execute(requests, self._fit)

    def _fit(self, request: StageRequest) -> Outputs:
        photo_info = PhotoInfo.from_json(request.content(contract.PHOTO_INFO)).landmarks_found(time.time())
        fit = self._fitter.fit(
            request.array(contract.NETWORK_LANDMARKS),
            float(request.array(contract.FACE_SCORE)[0]),
            request.array(contract.LANDMARK_TO_CROP),
            request.array(contract.CROP_TO_PHOTO),
            photo_info,
            request.array(contract.PERSON_MASK),
        )
        return {
            contract.LANDMARKS: fit.landmarks,
            contract.IDENTITY: fit.identity,
            contract.EXPRESSION: fit.expression,
            contract.EYE_ROTATION: fit.eye_rotation,
            contract.INTRINSICS: fit.intrinsics,
            contract.HEAD_TO_CAMERA: fit.head_to_camera,
            contract.FITTED_VERTICES: fit.fitted_vertices,
            contract.NEUTRAL_VERTICES: fit.neutral_vertices,
            contract.FIT_INFO: fit.info.to_json().encode(),
        }

"""The avatar's preview sheet; what it computes is in ``facewright.render.render_preview``."""

from __future__ import annotations

from typing import Any

from facewright.adapter.stage import Outputs, Stage, StageRequest
from facewright.core.assets import asset_path
from facewright.head.head_model import HeadModel
from facewright.render.render_preview import FittedPhoto, PreviewRenderer
from facewright_client import contract


class TritonPythonModel:
    """The adapter that Triton loads."""

    def initialize(self, args: dict[str, str]) -> None:
        """Load the head."""
        self._stage = Stage("render_preview", args)
        self._renderer = PreviewRenderer(HeadModel.load(asset_path("head.npz")))

    def execute(self, requests: list[Any]) -> list[Any]:
        """Answer Triton's requests."""
        return self._stage.execute(requests, self._render)

    def _render(self, request: StageRequest) -> Outputs:
        photo = FittedPhoto(
            request.array(contract.FACE_CROP),
            request.array(contract.INTRINSICS),
            request.array(contract.HEAD_TO_CAMERA),
            request.array(contract.FITTED_VERTICES),
        )
        neutral = request.array(contract.NEUTRAL_VERTICES)
        return {contract.PREVIEW: self._renderer.render(photo, neutral, request.content(contract.TEXTURE))}

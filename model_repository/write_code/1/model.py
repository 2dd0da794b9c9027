"""What an avatar was made of as bytes; ``facewright.asset.write_code`` and ``facewright.code``."""

from __future__ import annotations

from facewright.adapter.stage_model import StageModel
from facewright.adapter.stage_request import Outputs, StageRequest
from facewright.asset.write_code import code_origin, code_texture, photo_numbers
from facewright.code.avatar_code import NO_LATENTS, AvatarCode, packed_person, packed_vertices
from facewright.code.code_file import written_code
from facewright.photo.photo_info import PhotoInfo
from facewright.pipelines import tensors
from facewright.pipelines.twin import HEAD, WRITE_CODE
from facewright_client import contract


class TritonPythonModel(StageModel):
    """The adapter that Triton loads."""

    stage = WRITE_CODE

    def compute(self, request: StageRequest) -> Outputs:
        """Write one code."""
        array, place, latents = request.array, request.place, contract.REFINED_W_PLUS
        info = PhotoInfo.from_json(request.content(tensors.PHOTO_INFO))
        origin = code_origin(place.request, place.earlier)
        code = AvatarCode(
            origin=origin,
            head_sha256=origin.models[HEAD.file],
            network_landmarks=array(tensors.NETWORK_LANDMARKS),
            face_score=array(tensors.FACE_SCORE),
            identity_prior=array(tensors.IDENTITY_PRIOR),
            expression_prior=array(tensors.EXPRESSION_PRIOR),
            landmark_bias=array(tensors.LANDMARK_BIAS),
            shape_distance=array(tensors.SHAPE_DISTANCE),
            landmark_to_crop=array(tensors.LANDMARK_TO_CROP),
            crop_to_photo=array(tensors.CROP_TO_PHOTO),
            **photo_numbers(info, request.option("focal_px")),
            intrinsics=array(contract.INTRINSICS),
            head_to_camera=array(contract.HEAD_TO_CAMERA),
            identity=array(contract.IDENTITY),
            expression=array(contract.EXPRESSION),
            eye_rotation=array(contract.EYE_ROTATION),
            neutral=packed_vertices(array(contract.NEUTRAL_VERTICES)),
            sh_light=array(contract.SH_LIGHT),
            person=packed_person(array(tensors.PERSON_MASK)),
            confidence=array(tensors.TEXEL_CONFIDENCE),
            w_plus=array(latents) if request.given(latents) else NO_LATENTS,
            texture=code_texture(request.content(tensors.TEXTURE)),
        )
        return {contract.CODE: written_code(code)}

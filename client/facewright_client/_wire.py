"""A request's tensors, and an avatar from an answer's."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
import tritonclient.grpc as triton
from numpy.typing import NDArray

from facewright_client import contract
from facewright_client._avatar import Avatar
from facewright_client._errors import PhotoTooLargeError

OptionValue = int | float | bool | str
Photo = bytes | str | os.PathLike[str]

#: Everything an avatar has but the preview, which costs time.
_OUTPUTS: Final = tuple(tensor for tensor in contract.AVATAR_OUTPUTS if tensor != contract.PREVIEW)


def photo_bytes(photo: Photo) -> bytes:
    """A photo's encoded bytes, given so or as a path.

    Raises:
        PhotoTooLargeError: more bytes than any server takes; nothing was read or sent.
    """
    size = len(photo) if isinstance(photo, bytes) else Path(photo).stat().st_size
    if size > contract.MAX_PHOTO_BYTES:
        raise PhotoTooLargeError(
            f"the photo has {size} bytes", f"send at most {contract.MAX_PHOTO_BYTES >> 20} MiB"
        )
    return photo if isinstance(photo, bytes) else Path(photo).read_bytes()


def inputs(photo: bytes) -> list[Any]:
    """The request's input tensors."""
    tensor = triton.InferInput(contract.PHOTO.name, [1, len(photo)], "UINT8")
    tensor.set_data_from_numpy(np.frombuffer(photo, np.uint8)[None])
    return [tensor]


def outputs(preview: bool) -> list[Any]:
    """The outputs to ask for."""
    wanted = (*_OUTPUTS, contract.PREVIEW) if preview else _OUTPUTS
    return [triton.InferRequestedOutput(tensor.name) for tensor in wanted]


def parameters(options: Mapping[str, OptionValue]) -> dict[str, int | bool | str] | None:
    """Options as request parameters; the server checks them.

    Floats travel as decimal strings: Triton's gRPC parameters have no float in older clients.
    """
    sent = {
        name: repr(float(value)) if isinstance(value, float) else value for name, value in options.items()
    }
    return sent or None


def avatar_from(result: Any, preview: bool) -> Avatar:
    """The answer as an avatar."""
    return Avatar(
        glb=_file(result, contract.GLB),
        report=json.loads(_file(result, contract.REPORT)),
        preview=_file(result, contract.PREVIEW) if preview else None,
        identity=_array(result, contract.IDENTITY),
        expression=_array(result, contract.EXPRESSION),
        eye_rotation=_array(result, contract.EYE_ROTATION),
        landmarks=_array(result, contract.LANDMARKS),
        intrinsics=_array(result, contract.INTRINSICS),
        head_to_camera=_array(result, contract.HEAD_TO_CAMERA),
        neutral_vertices=_array(result, contract.NEUTRAL_VERTICES),
        sh_light=_array(result, contract.SH_LIGHT),
    )


def _file(result: Any, tensor: contract.Tensor) -> bytes:
    content: bytes = result.as_numpy(tensor.name)[0].tobytes()
    return content


def _array(result: Any, tensor: contract.Tensor) -> NDArray[np.float32]:
    array: NDArray[np.float32] = result.as_numpy(tensor.name)[0]
    return array

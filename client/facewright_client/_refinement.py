"""What refinement takes and gives, and the answers of its streaming form."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from facewright_client import _wire, contract
from facewright_client._errors import BadRequestError, InternalServerError

#: The stage that answers once, and the one that also answers on the way.
ONCE: Final = "refine_latent"
WITH_PROGRESS: Final = "refine_latent_progress"


#: Of Triton's data types NumPy's name.
_KINDS: Final = {"TYPE_UINT8": "uint8", "TYPE_FP32": "float32"}


@dataclass(frozen=True)
class RefinementStart:
    """A photo and what the stages before know of it. Frames and units: the project's CONVENTIONS.md.

    Attributes:
        face_crop: uint8 [1024, 1024, 3], sRGB.
        face_mask: uint8 [256, 256], over the crop; probability of face x 255.
        intrinsics: float32 [3, 3], crop pixels.
        head_to_camera: float32 [3, 4], metres.
        sh_light: float32 [9, 3].
        w_plus: float32 [14, 512], the latents to start from.
    """

    face_crop: NDArray[np.uint8] = field(repr=False)
    face_mask: NDArray[np.uint8] = field(repr=False)
    intrinsics: NDArray[np.float32] = field(repr=False)
    head_to_camera: NDArray[np.float32] = field(repr=False)
    sh_light: NDArray[np.float32] = field(repr=False)
    w_plus: NDArray[np.float32] = field(repr=False)


@dataclass(frozen=True)
class RefinementProgress:
    """How far a refinement is.

    Attributes:
        iteration: done so far.
        iterations: asked for.
        losses: of this iteration: ``total``, and ``latent``, ``perceptual``, ``identity`` before weights.
        preview: JPEG of the face in its photo; None where none was due.
    """

    iteration: int
    iterations: int
    losses: Mapping[str, float]
    preview: bytes | None = field(repr=False)


@dataclass(frozen=True)
class Refinement:
    """The best latents that were found.

    Attributes:
        w_plus: float32 [14, 512].
        head_to_camera: float32 [3, 4]; as given unless ``optimize_camera``.
        sh_light: float32 [9, 3]; as given unless ``optimize_light``.
        losses: float32 [N, 4], of each iteration: total, latent, perceptual, identity.
        info: why it ended (``ended``, ``deadline``, ``stopped_early``), ``iterations``, ``best_iteration``,
            ``first_loss``, ``best_loss``, ``ms_per_iteration``, ``batch``.
    """

    w_plus: NDArray[np.float32] = field(repr=False)
    head_to_camera: NDArray[np.float32] = field(repr=False)
    sh_light: NDArray[np.float32] = field(repr=False)
    losses: NDArray[np.float32] = field(repr=False)
    info: dict[str, Any]


def question(model: str, start: RefinementStart, options: Mapping[str, _wire.OptionValue]) -> _wire.Question:
    """A refinement.

    Raises:
        BadRequestError, BadOptionError: as `inputs` and `_wire.asked`.
    """
    return _wire.Question(model, inputs(start), (), contract.REFINED_W_PLUS, *_wire.asked(options))


def inputs(start: RefinementStart) -> list[tuple[contract.Tensor, NDArray[Any]]]:
    """The request's input tensors.

    Raises:
        BadRequestError: ``start`` is none, or an array of it is not the contract's.
    """
    if not isinstance(start, RefinementStart):
        raise BadRequestError(f"the start is a {type(start).__name__}", "give a RefinementStart")
    tensors = []
    for tensor in contract.REFINEMENT_INPUTS:
        name = tensor.name.lower()
        array = _array(name, getattr(start, name))
        problem = unfit(array.shape, array.dtype, tensor)
        if problem:
            raise BadRequestError(f"{name} {problem[0]}", problem[1])
        tensors.append((tensor, array))
    return tensors


def unfit(shape: tuple[int, ...], dtype: np.dtype[Any], tensor: contract.Tensor) -> tuple[str, str] | None:
    """What keeps an array of a shape and type from being a tensor of the contract, and the mend."""
    wanted = _KINDS[tensor.dtype]
    if dtype != np.dtype(wanted):
        scaled = ": 0 to 255, what is 0 to 1 times 255" if wanted == "uint8" and dtype.kind == "f" else ""
        return f"is {dtype}", f"convert it to {wanted}{scaled}"
    return None if shape == tensor.shape else (f"has shape {list(shape)}", f"it takes {list(tensor.shape)}")


def _array(name: str, value: object) -> NDArray[Any]:
    try:
        array = np.asarray(value)
    except (ValueError, TypeError) as error:  # uneven lists; arrays of a GPU
        raise BadRequestError(f"{name} is no array: {error}", "give a NumPy array") from None
    if array.dtype.hasobject:
        raise BadRequestError(
            f"{name} is a {type(value).__name__}, no array of numbers", "give a NumPy array"
        )
    return array


def refinement_from(answer: _wire.Answer) -> Refinement:
    """The answer of a stage, or the last of a stream.

    Raises:
        InternalServerError: it is none.
    """
    try:
        w_plus, head_to_camera, sh_light, losses = (
            answer[tensor.name]
            for tensor in (
                contract.REFINED_W_PLUS,
                contract.REFINED_HEAD_TO_CAMERA,
                contract.REFINED_SH_LIGHT,
                contract.REFINEMENT_LOSSES,
            )
        )
        info = dict(json.loads(answer[contract.REFINEMENT_INFO.name].tobytes()))
    except (ValueError, TypeError, LookupError) as error:
        raise InternalServerError(
            f"the answer is no refinement: {type(error).__name__}: {error}",
            "client and server must fit together",
        ) from error
    return Refinement(w_plus, head_to_camera, sh_light, losses, info)


def progress_from(answer: _wire.Answer) -> RefinementProgress:
    """One of a stream's answers before the last."""
    preview = answer.get(contract.REFINEMENT_PREVIEW.name)
    return progress_of(
        json.loads(answer[contract.REFINEMENT_PROGRESS.name].tobytes()),
        None if preview is None else preview.tobytes(),
    )


def progress_of(state: Mapping[str, Any], preview: bytes | None = None) -> RefinementProgress:
    """How far a refinement is, by its JSON."""
    return RefinementProgress(state["iteration"], state["iterations"], state["losses"], preview)

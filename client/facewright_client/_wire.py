"""What is asked, and an avatar of what is answered, however both travel."""

from __future__ import annotations

import json
import os
import re
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from tritonclient.utils import (
    TRITON_RESERVED_REQUEST_PARAMS,
    TRITON_RESERVED_REQUEST_PARAMS_PREFIX,
)

from facewright_client import contract
from facewright_client._avatar import Avatar, RelitAvatar
from facewright_client._connection import SETTINGS
from facewright_client._errors import (
    BadCodeError,
    BadOptionError,
    InternalServerError,
)

OptionValue = int | float | bool | str
#: Of each tensor its content, without the batch dimension, by name; files are uint8.
Answer = Mapping[str, NDArray[Any]]

#: A path, or the name of a file that is a photo: no pipeline is called so.
_PHOTO_S_NAME: Final = re.compile(r"[/\\]|\.(jpe?g|png|webp|heic|heif|avif|gif|bmp|tiff?)$", re.IGNORECASE)
#: For what a server says about itself, seconds.
SHORT_S: Final = 5.0
#: Everything an avatar has but the preview, which costs time.
_OUTPUTS: Final = tuple(tensor for tensor in contract.AVATAR_OUTPUTS if tensor != contract.PREVIEW)


@dataclass(frozen=True)
class Question:
    """What is asked of a server.

    Attributes:
        pipeline: that is to answer.
        inputs: tensors and their content, without the batch dimension.
        outputs: that are wanted; () leaves it to the pipeline.
        final: a tensor that every answer has, and of several for one question the last alone.
        parameters: the pipeline's options, which the server checks; of type bool, int and str.
        priority: 0 the most urgent.
        key: stands for the question, however often it is sent.
    """

    pipeline: str
    inputs: Sequence[tuple[contract.Tensor, NDArray[Any]]]
    outputs: Sequence[contract.Tensor]
    final: contract.Tensor
    parameters: Mapping[str, int | bool | str]
    priority: int
    key: str = field(default_factory=lambda: uuid.uuid4().hex)


def avatar_question(
    photo: bytes, pipeline: str, preview: bool, code: bool, options: Mapping[str, OptionValue]
) -> Question:
    """An avatar of a photo.

    Raises:
        BadOptionError: see `parameters`; or ``pipeline`` is no name, or ``preview`` or ``code`` neither True
            nor False.
    """
    _check_pipeline(pipeline)
    wanted = [tensor for tensor, too in ((contract.PREVIEW, preview), (contract.CODE, code)) if too]
    _check_flags(preview=preview, code=code)
    return _of_file(pipeline, contract.PHOTO, photo, (*_OUTPUTS, *wanted), options)


def code_question(photo: bytes, pipeline: str, options: Mapping[str, OptionValue]) -> Question:
    """A photo's code alone; errors as `avatar_question`."""
    _check_pipeline(pipeline)
    return _of_file(pipeline, contract.PHOTO, photo, (contract.CODE,), options)


def merge_question(codes: bytes, preview: bool, options: Mapping[str, OptionValue]) -> Question:
    """One avatar of several codes; errors as `avatar_question`."""
    _check_flags(preview=preview)
    wanted = (*_OUTPUTS, contract.PREVIEW) if preview else _OUTPUTS
    return _of_file(contract.MERGE_PIPELINE, contract.CODES, codes, wanted, options)


def interpolate_question(
    codes: bytes, shares: Sequence[float] | None, preview: bool, options: Mapping[str, OptionValue]
) -> Question:
    """An avatar between several; errors as `avatar_question`."""
    _check_flags(preview=preview)
    wanted = (*_OUTPUTS, contract.PREVIEW) if preview else _OUTPUTS
    if shares is not None:
        try:
            given = np.asarray(shares, np.float64)
        except (ValueError, TypeError):
            given = np.zeros(0)
        if given.ndim != 1 or not given.size:
            raise BadOptionError(
                f"shares is {shares!r:.64}", "give a list with a number for each code, such as [1, 0.5]"
            )
        options = {**options, "shares": ",".join(f"{share:.9g}" for share in given)}
    return _of_file(contract.INTERPOLATE_PIPELINE, contract.CODES, codes, wanted, options)


def relight_question(
    code: bytes,
    light: NDArray[np.floating] | bytes | None,
    environment: bytes | None,
    options: Mapping[str, OptionValue],
) -> Question:
    """An avatar in another light.

    Raises:
        BadOptionError: ``light`` is neither nine bands nor a code; or as `avatar_question`.
    """
    codes = code + whole_codes([light]) if isinstance(light, bytes) else code
    inputs: list[tuple[contract.Tensor, NDArray[Any]]] = [(contract.CODES, np.frombuffer(codes, np.uint8))]
    if light is not None and not isinstance(light, bytes):
        hint = "give spherical harmonics [9, 3] (CONVENTIONS.md), or another avatar's code"
        try:
            bands = np.asarray(light)
        except (ValueError, TypeError):
            bands = np.zeros(0)
        if bands.dtype.kind not in "fiu":
            raise BadOptionError(f"light is {light!r:.64}", hint)
        if bands.shape != contract.LIGHT.shape:
            raise BadOptionError(f"light has shape {list(bands.shape)}", hint)
        with np.errstate(over="ignore"):
            bands = bands.astype(np.float32)
        inputs.append((contract.LIGHT, bands))
    if environment is not None:
        if not isinstance(environment, bytes):
            raise BadOptionError(
                f"environment is {environment!r:.64}", "give the picture's bytes: Path(…).read_bytes()"
            )
        inputs.append((contract.ENVIRONMENT, np.frombuffer(environment, np.uint8)))
    gives = (contract.PICTURE, contract.RELIT_TEXTURE, contract.SH_LIGHT)
    return Question(contract.RELIGHT_PIPELINE, inputs, gives, contract.PICTURE, *asked(options))


def merge_options(options: Mapping[str, OptionValue]) -> dict[str, OptionValue]:
    """Those of a photo's options that merging has, too."""
    kept = (*contract.MERGE_OPTIONS, "priority")
    return {name: value for name, value in options.items() if name in kept}


def options_of_codes(pipeline: str, options: Mapping[str, OptionValue]) -> Mapping[str, OptionValue]:
    """The options of an avatar that is made of codes alone.

    Raises:
        BadOptionError: one, or the pipeline, is for photos.
    """
    taken = (*contract.MERGE_OPTIONS, "deadline_ms", "priority")
    of_photos = [name for name in options if name not in taken]
    if pipeline not in (contract.AVATAR_PIPELINE, contract.MERGE_PIPELINE):
        of_photos.append("pipeline")
    if of_photos:
        raise BadOptionError(
            f"a code takes no {' and no '.join(of_photos)}: its photo was measured before",
            f"give the photo, or leave it out; a code takes {', '.join(taken)}",
        )
    return options


def joined_codes(codes: Sequence[bytes]) -> bytes:
    """Codes of one person as they are sent.

    Raises:
        BadCodeError: there is none.
        TypeError: they are no bytes.
    """
    if isinstance(codes, (bytes, bytearray, memoryview)):
        codes = [bytes(codes)]
    if not all(isinstance(code, bytes) for code in codes):
        raise TypeError("codes are a list of bytes, each an Avatar.code or a file of it")
    if not any(codes):
        raise BadCodeError("there is no code", "give those of one or more avatars: Avatar.code")
    return b"".join(codes)


def whole_codes(codes: Sequence[bytes]) -> bytes:
    """Codes of several people as they are sent, each one whole code.

    Raises:
        BadCodeError: there is none, or one is empty, no code, cut off, or several; it says which.
        TypeError: they are no list of bytes.
    """
    if isinstance(codes, (bytes, bytearray, memoryview, str)) or not isinstance(codes, Sequence):
        raise TypeError("codes are a list of bytes, each an Avatar.code or a file of it")
    for number, code in enumerate(codes, 1):
        if not isinstance(code, bytes):
            raise TypeError(
                f"code {number} is a {type(code).__name__}; give an Avatar.code or a file's bytes"
            )
        there, said = len(code), int.from_bytes(code[12:16], "little")
        if not code.startswith(contract.CODE_MAGIC) or there != said:
            what = "is empty" if not code else f"has {there} bytes, and says {said}"
            if code and not code.startswith(contract.CODE_MAGIC):
                what = "is no Facewright code"
            raise BadCodeError(f"code {number} {what}", "give each as it came: an Avatar.code")
    return joined_codes(codes)


def _check_pipeline(pipeline: str) -> None:
    named_so = isinstance(pipeline, str) and _PHOTO_S_NAME.search(pipeline)
    if named_so or isinstance(pipeline, (bytes, os.PathLike)):
        raise BadOptionError(
            f"pipeline is {pipeline!r:.64}, which looks like a photo",
            "give several photos of one person as a list; of several people one after the other",
        )
    if not isinstance(pipeline, str) or not pipeline:
        raise BadOptionError(f"pipeline is {pipeline!r:.64}", "give its name, such as 'avatar_twin'")


def _check_flags(**flags: object) -> None:
    for name, value in flags.items():
        if not isinstance(value, bool):
            raise BadOptionError(f"{name} is {value!r:.64}", "give True or False")


def _of_file(
    pipeline: str,
    takes: contract.Tensor,
    content: bytes,
    wanted: Sequence[contract.Tensor],
    options: Mapping[str, OptionValue],
) -> Question:
    inputs = [(takes, np.frombuffer(content, np.uint8))]
    return Question(pipeline, inputs, wanted, wanted[0], *asked(options))


def models(index: Mapping[str, Any]) -> list[str]:
    """The names of everything that a server answers for."""
    return [str(model["name"]) for model in index.get("models", ())]


def makes_avatars(metadata: Mapping[str, Any]) -> bool:
    """Whether a model, by its metadata, takes a photo and gives an avatar."""
    takes, gives = (
        {tensor["name"] for tensor in metadata.get(border, ())} for border in ("inputs", "outputs")
    )
    return contract.PHOTO.name in takes and contract.GLB.name in gives


def check_progress(progress: object) -> None:
    """Refuse what cannot be called, before anything is sent.

    Raises:
        TypeError: ``progress`` is neither None nor a function.
    """
    if progress is not None and not callable(progress):
        raise TypeError(f"progress is {progress!r:.64}; give a function, which is called on the way, or None")


def asked(options: Mapping[str, OptionValue]) -> tuple[dict[str, int | bool | str], int]:
    """Parameters and priority, which stands among the options.

    Raises:
        BadOptionError: see `parameters`; or ``priority`` is none.
    """
    priority = options.get("priority", 0)
    priority = priority.item() if isinstance(priority, np.generic) else priority
    if isinstance(priority, bool) or not isinstance(priority, int):
        raise BadOptionError(f"priority is {priority!r:.64}", "give a whole number, 0 the most urgent")
    if not 0 <= priority < 2**63:
        raise BadOptionError(f"priority is {_shortened(priority)}", "give 0, the most urgent, or more")
    return parameters({name: value for name, value in options.items() if name != "priority"}), priority


def parameters(options: Mapping[str, OptionValue]) -> dict[str, int | bool | str]:
    """Options as request parameters; the server checks them.

    Floats travel as decimal strings: Triton's gRPC parameters have no float in older clients.

    Raises:
        BadOptionError: a name or a value that no request can carry.
    """
    # NumPy's numbers are numbers, too.
    options = {
        name: value.item() if isinstance(value, np.generic) else value for name, value in options.items()
    }
    for name, value in options.items():
        if name in SETTINGS:  # a key among them is not to be sent as an option
            raise BadOptionError(
                f"{name} is a setting of the connection", f"give the client Connection({name}=…)"
            )
        reserved = name in (*TRITON_RESERVED_REQUEST_PARAMS, contract.PROGRESS_PARAMETER)
        if reserved or name.startswith(TRITON_RESERVED_REQUEST_PARAMS_PREFIX):
            meant = "did you mean timeout_s?" if name == "timeout" else "docs/pipelines.md lists the options"
            raise BadOptionError(f"unknown option {name}", meant)
        if isinstance(value, int) and not -(2**63) <= value < 2**63:
            raise BadOptionError(
                f"option {name} is {_shortened(value)}, and too large",
                "docs/pipelines.md says what it may be",
            )
        if not isinstance(value, (bool, int, float, str)):
            raise BadOptionError(
                f"option {name} is {value!r:.64}", "an option is a number, a string, True or False"
            )
    return {
        name: repr(float(value)) if isinstance(value, float) else value for name, value in options.items()
    }


def _shortened(value: int) -> str:
    """A number of however many digits: Python refuses to write those of thousands."""
    return str(value) if value.bit_length() < 200 else f"a number of {value.bit_length()} bits"


def code_from(answer: Answer) -> bytes:
    """The answer as a code.

    Raises:
        InternalServerError: it is none.
    """
    code = _optional(answer, contract.CODE)
    if not code:
        raise InternalServerError("the answer has no code", "client and server must fit together")
    return code


def avatar_from(answer: Answer) -> Avatar:
    """The answer as an avatar.

    Raises:
        InternalServerError: it is none.
    """
    try:
        return Avatar(
            glb=_file(answer, contract.GLB),
            report=dict(json.loads(_file(answer, contract.REPORT))),
            preview=_optional(answer, contract.PREVIEW),
            identity=answer[contract.IDENTITY.name],
            expression=answer[contract.EXPRESSION.name],
            eye_rotation=answer[contract.EYE_ROTATION.name],
            landmarks=answer[contract.LANDMARKS.name],
            intrinsics=answer[contract.INTRINSICS.name],
            head_to_camera=answer[contract.HEAD_TO_CAMERA.name],
            neutral_vertices=answer[contract.NEUTRAL_VERTICES.name],
            sh_light=answer[contract.SH_LIGHT.name],
            code=_optional(answer, contract.CODE),
        )
    except (ValueError, TypeError, LookupError) as error:
        raise InternalServerError(
            f"the answer is no avatar: {type(error).__name__}: {error}", "client and server must fit together"
        ) from error


def relit_from(answer: Answer) -> RelitAvatar:
    """The answer as an avatar in another light.

    Raises:
        InternalServerError: it is none.
    """
    try:
        return RelitAvatar(
            _file(answer, contract.PICTURE),
            _file(answer, contract.RELIT_TEXTURE),
            answer[contract.SH_LIGHT.name],
        )
    except LookupError as error:
        raise InternalServerError(
            f"the answer has no {error}", "client and server must fit together"
        ) from error


def _file(answer: Answer, tensor: contract.Tensor) -> bytes:
    content: bytes = answer[tensor.name].tobytes()
    return content


def _optional(answer: Answer, tensor: contract.Tensor) -> bytes | None:
    """A file that may not have been asked for."""
    return _file(answer, tensor) if tensor.name in answer else None

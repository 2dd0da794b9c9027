"""The options that travel through the stages as JSON, checked again: anyone may call a stage by itself."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping

from facewright.core.errors import FacewrightError
from facewright.core.options import AvatarOptions
from facewright_client.contract import ErrorCode


def refuse_bad_info(name: str, info: bytes) -> None:
    """Check what every stage relies on in a ``PHOTO_INFO``, or a ``FIT_INFO``, which carries it as ``photo``.

    Without this a texture of any size could be asked of the bake.

    Args:
        name: the tensor, for the message.
        info: its JSON.

    Raises:
        FacewrightError: BAD_OPTION when an option is not allowed, or this is not what the stage before
            writes.
    """
    try:
        fields = json.loads(info)
        photo = fields.get("photo", fields)
        times = [photo["accepted_unix_s"], photo["deadline_unix_s"]]
        options = photo["options"]
    except (ValueError, RecursionError, LookupError, AttributeError, TypeError) as error:
        raise _not_ours(name, type(error).__name__) from None
    if not all(isinstance(time, (int, float)) and math.isfinite(time) for time in times):
        raise _not_ours(name, "its times are not finite numbers")
    if not isinstance(options, Mapping):
        raise _not_ours(name, "its options are no object")
    AvatarOptions.from_parameters(options)


def _not_ours(name: str, why: str) -> FacewrightError:
    return FacewrightError(
        ErrorCode.BAD_OPTION,
        f"{name} is not what the stage before writes ({why})",
        "call the ensemble, or send what find_face and fit_head answered",
    )

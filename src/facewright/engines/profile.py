"""What networks run on."""

from __future__ import annotations

from typing import Final, Literal, get_args

Profile = Literal["cpu", "cuda", "tensorrt"]
PROFILES: Final[tuple[Profile, ...]] = get_args(Profile)

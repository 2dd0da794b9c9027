"""What a request gives."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from facewright_client._avatar_name import glb_instead
from facewright_client._whole_file import write_whole


@dataclass(frozen=True)
class Avatar:
    """A head avatar. Frames and units: the project's CONVENTIONS.md.

    Attributes:
        glb: the binary glTF file: mesh in metres, skin, 52 ARKit morph targets, texture.
        report: timings, camera, coefficients, confidence, warnings.
        preview: a PNG sheet of the photo and the avatar; None unless it was asked for.
        identity: float32 [160], shape coefficients, about N(0, 1).
        expression: float32 [52], 0-1, the photo's ARKit expression, in Apple's order.
        eye_rotation: float32 [2, 2], left and right eye in the photo: yaw, pitch; radians; positive to the
            subject's left, down. The avatar's own eyes look straight ahead.
        landmarks: float32 [478, 2], photo pixels.
        intrinsics: float32 [3, 3], camera matrix, crop pixels.
        head_to_camera: float32 [3, 4], pose, metres.
        neutral_vertices: float32 [V, 3], head space, metres, without expression.
        sh_light: float32 [9, 3], head space: the light in which the avatar's texture shows the photo. Light
            that stayed in the texture (option ``delight``) is not in it.
        code: what makes the avatar again without the photo, and merges it with others of the same person; of
            several photos one after the other. Biometric data: docs/avatar_code.md. None unless asked for.
    """

    glb: bytes = field(repr=False)
    report: dict[str, Any] = field(repr=False)
    preview: bytes | None = field(repr=False)
    identity: NDArray[np.float32] = field(repr=False)
    expression: NDArray[np.float32] = field(repr=False)
    eye_rotation: NDArray[np.float32] = field(repr=False)
    landmarks: NDArray[np.float32] = field(repr=False)
    intrinsics: NDArray[np.float32] = field(repr=False)
    head_to_camera: NDArray[np.float32] = field(repr=False)
    neutral_vertices: NDArray[np.float32] = field(repr=False)
    sh_light: NDArray[np.float32] = field(repr=False)
    code: bytes | None = field(default=None, repr=False)

    @property
    def warnings(self) -> list[str]:
        """What to know before this avatar is used, in sentences."""
        return list(self.report.get("warnings", ()))

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write the GLB, all of it or nothing, through a link into what it leads to; returns the path.

        Raises:
            ValueError: the name ends otherwise than in ``.glb``, such as ``me.png``, or no file can have it.
            OSError: it cannot be written; a folder, a pipe or a device of that name stays.
        """
        instead = glb_instead(os.fspath(path))
        if instead:
            raise ValueError(f"{os.fspath(path)!r}: avatars are written as .glb; give {instead!r}")
        return write_whole(path, self.glb)


@dataclass(frozen=True)
class RelitAvatar:
    """An avatar in another light.

    Attributes:
        picture: a PNG of it.
        texture: a PNG: its texture times the light, for engines that light nothing themselves.
        sh_light: float32 [9, 3], head space: the light, nine bands convolved with the cosine lobe.
    """

    picture: bytes = field(repr=False)
    texture: bytes = field(repr=False)
    sh_light: NDArray[np.float32] = field(repr=False)

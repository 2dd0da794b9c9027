"""What a refinement starts from: photos, masks, cameras, lights and latents, checked once."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from facewright.core.arrays import Array
from facewright.core.colour import SRGB_TO_LINEAR
from facewright.core.errors import FacewrightError
from facewright.refine.device import RefinementDevice
from facewright_client.contract import CROP_SIZE, ErrorCode

#: The depth before which the renderer clips, metres: `facewright_kernels.PinholeCamera.near`.
NEAR = 0.05


@dataclass(frozen=True)
class RefinementPhotos:
    """A batch of B photos with what is known about them; arrays of one device.

    Attributes:
        photo: f32 ``[B, 3, H, H]``, sRGB values 0-1.
        face_mask: f32 ``[B, H, H]``, 0-1: where the face is seen.
        intrinsics: f32 ``[B, 3, 3]``, pixels of ``photo``.
        head_to_camera: f32 ``[B, 3, 4]``, metres.
        sh_light: f32 ``[B, 9, 3]``, head space.
        w_plus: f32 ``[B, L, 512]``, the latents to start from.
        displacement: f32 ``[B, V, 3]``, metres, head space: what is added to the generator's vertices before
            they are drawn, such as the photo's expression; or ``[B, 1, 3]`` of zeros.
    """

    photo: Array
    face_mask: Array
    intrinsics: Array
    head_to_camera: Array
    sh_light: Array
    w_plus: Array
    displacement: Array

    @property
    def batch(self) -> int:
        """How many photos."""
        return len(self.photo)

    @property
    def size(self) -> int:
        """Pixels per side."""
        return int(self.photo.shape[-1])

    @staticmethod
    def stacked(photos: Sequence[RefinementPhotos], device: RefinementDevice) -> RefinementPhotos:
        """Several batches as one."""
        with device.queue():
            fields = {
                field.name: device.xp.concatenate([getattr(part, field.name) for part in photos])
                for field in dataclasses.fields(RefinementPhotos)
            }
        return RefinementPhotos(**fields)

    def checked(self, latent_shape: tuple[int, int], vertices: Array, image_size: int) -> RefinementPhotos:
        """These photos, once they are found fit to be refined.

        Args:
            latent_shape: layers and size of the generator's latents.
            vertices: f32 ``[V, 3]``, the mean head on the host, which must lie before each camera.
            image_size: pixels per side that the networks take.

        Raises:
            FacewrightError: BAD_OPTION for a wrong shape or dtype, a value that is not finite or out of
                range, a head that is not before the camera; NO_FACE for a mask that shows nothing.
        """
        batch, side = self.batch, image_size
        shapes = {
            "photo": (batch, 3, side, side),
            "face_mask": (batch, side, side),
            "intrinsics": (batch, 3, 3),
            "head_to_camera": (batch, 3, 4),
            "sh_light": (batch, 9, 3),
            "w_plus": (batch, *latent_shape),
            "displacement": (batch, self.displacement.shape[1], 3),
        }
        if self.displacement.shape[1] not in (1, len(vertices)):
            raise _refused(
                f"displacement has {self.displacement.shape[1]} vertices",
                f"send one for each of the {len(vertices)} vertices",
            )
        if batch == 0:
            raise _refused("there are no photos", "send at least one")
        for name, shape in shapes.items():
            array = getattr(self, name)
            if array.dtype != np.float32 or array.shape != shape:
                raise _refused(
                    f"{name} is {array.dtype} {list(array.shape)}",
                    f"send float32 {list(shape)} for this server",
                )
            bad = int((~np.isfinite(array)).sum())
            if bad:
                raise _refused(f"{name} holds {bad} of {array.size} values that are not finite", _SEND_FINITE)
        for name in ("photo", "face_mask"):
            low, high = float(getattr(self, name).min()), float(getattr(self, name).max())
            if low < 0 or high > 1:
                raise _refused(f"{name} holds values from {low:g} to {high:g}", "send values from 0 to 1")
        for row in range(batch):
            self._check_row(row, vertices)
        return self

    def _check_row(self, row: int, vertices: Array) -> None:
        covered = float(self.face_mask[row].mean())
        if covered < 1e-4:
            raise FacewrightError(
                ErrorCode.NO_FACE,
                f"the face mask covers {100 * covered:.3f} % of photo {row}",
                "send a photo with a visible face, and the mask of the same crop",
            )
        pose = np.asarray(_on_host(self.head_to_camera[row]), np.float64)
        turned = pose[:, :3] @ pose[:, :3].T
        off = abs(turned - np.eye(3)).max()
        if off > 1e-2 or np.linalg.det(pose[:, :3]) < 0:
            fault = f"R Rᵀ is off by {off:.2g}" if off > 1e-2 else "its determinant is -1: it mirrors"
            raise _refused(
                f"head_to_camera of photo {row} has no rotation in its first three columns ({fault})",
                "send [R | t], see CONVENTIONS.md",
            )
        nearest = float((vertices @ pose[2, :3] + pose[2, 3]).min())
        if nearest < NEAR:
            raise _refused(
                f"head_to_camera of photo {row} puts the head's nearest point at a depth of {nearest:.3g} m",
                f"the whole head must lie more than {NEAR} m before the camera; camera space looks along +z",
            )
        lens = np.asarray(_on_host(self.intrinsics[row]), np.float64)
        if not (lens[0, 0] > 0 and lens[1, 1] > 0 and (lens[2] == [0, 0, 1]).all()):
            raise _refused(
                f"intrinsics of photo {row} have the focal lengths {lens[0, 0]:g}, {lens[1, 1]:g} and the "
                f"last row {lens[2].tolist()}",
                "send a pinhole camera's, with positive focal lengths and the last row 0, 0, 1",
            )

    @classmethod
    def from_crops(
        cls,
        face_crop: Array,
        face_mask: Array,
        camera: tuple[Array, Array],
        sh_light: Array,
        w_plus: Array,
        *,
        device: RefinementDevice,
        size: int,
        displacement: Array | None = None,
    ) -> RefinementPhotos:
        """Photos from what the pipeline's stages give (not checked yet, but for shapes).

        Args:
            face_crop: u8 ``[B, 1024, 1024, 3]``, sRGB; averaged down in linear light.
            face_mask: u8 ``[B, 256, 256]``, probability × 255, over the crop.
            camera: intrinsics f32 ``[B, 3, 3]`` in crop pixels and head_to_camera f32 ``[B, 3, 4]``.
            sh_light: f32 ``[B, 9, 3]``.
            w_plus: f32 ``[B, L, 512]``.
            device: where the refinement computes; inputs may be in either memory.
            size: pixels per side that the networks take; a divisor of 1024, and of 256 or 256 itself.
            displacement: f32 ``[B, V, 3]``; none when None.

        Raises:
            FacewrightError: BAD_OPTION for a crop or mask of another shape or dtype.
        """
        for name, array, shape in (
            ("FACE_CROP", face_crop, (CROP_SIZE, CROP_SIZE, 3)),
            ("FACE_MASK", face_mask, (256, 256)),
        ):
            if array.dtype != np.uint8 or array.shape[1:] != shape:
                raise _refused(
                    f"{name} is {array.dtype} {list(array.shape)}", f"send uint8 [B, {str(shape)[1:]}"
                )
        if 256 % size:
            raise ValueError(f"the networks take images of {size} pixels, which does not divide 256")
        with device.queue():
            xp = device.xp
            linear = xp.asarray(SRGB_TO_LINEAR)[device.array(face_crop)]
            linear = _block_means(linear, CROP_SIZE // size)
            photo = xp.where(
                linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** np.float32(1 / 2.4) - 0.055
            )
            mask = _block_means(device.array(face_mask).astype(np.float32)[..., None] / 255, 256 // size)[
                ..., 0
            ]
            scale = np.diag([size / CROP_SIZE, size / CROP_SIZE, 1]).astype(np.float32)
            intrinsics = xp.asarray(scale) @ device.array(camera[0])
            return cls(
                device.array(xp.clip(photo, 0, 1).astype(np.float32).transpose(0, 3, 1, 2)),
                mask,
                intrinsics,
                device.array(camera[1]),
                device.array(sh_light),
                device.array(w_plus),
                xp.zeros((len(w_plus), 1, 3), np.float32)
                if displacement is None
                else device.array(displacement),
            )


_SEND_FINITE = "send finite numbers: look at the stage that made them"


def _block_means(image: Any, factor: int) -> Any:
    """Means over blocks of factor x factor pixels of ``[B, H, W, C]``."""
    batch, height, width, channels = image.shape
    blocks = image.reshape(batch, height // factor, factor, width // factor, factor, channels)
    return blocks.mean(axis=(2, 4), dtype=np.float32)


def _on_host(array: Any) -> Array:
    host: Array = array.get() if hasattr(array, "__cuda_array_interface__") else array
    return host


def _refused(message: str, hint: str) -> FacewrightError:
    return FacewrightError(ErrorCode.BAD_OPTION, message, hint)

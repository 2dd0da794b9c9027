"""A fitted head and its latents to the person's own maps: refined first, then read from the generator.

Luo et al. 2021 (normalized), sections 3.1 and 3.3. Its generator's neutral is all of the shape; here the fit
may keep its share: what the generator cannot say of the head that was fitted (a generator of 160 factors has
no corrective field, a stranger's weights no likeness) is added to what it says. A photo with an expression
is compared with a head that has it (fig. 20: avatars of one person in several expressions agree).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from facewright.core.arrays import Array
from facewright.core.errors import FacewrightError
from facewright.head.head_model import HeadModel
from facewright.refine.device import RefinementDevice
from facewright.refine.networks import ALBEDO_CHANNELS, OFFSET_CHANNELS, UV_MAPS, W_PLUS
from facewright.refine.options import RefinementOptions
from facewright.refine.service import LatentRefiner, RefinementInfo, RefinementRequest
from facewright_kernels import uv_gather


@dataclass(frozen=True)
class FittedFace:
    """A photo and the head that was fitted to it. Arrays as `RefinementRequest` has them, on the host.

    Attributes:
        face_crop, face_mask, intrinsics, head_to_camera, sh_light: see there.
        fitted: f32 ``[V, 3]``, head space, as in the photo.
        neutral: f32 ``[V, 3]``, without the expression.
        w_plus: f32 ``[L, 512]``, the latents to start from.
    """

    face_crop: Array
    face_mask: Array
    intrinsics: Array
    head_to_camera: Array
    sh_light: Array
    fitted: Array
    neutral: Array
    w_plus: Array


@dataclass(frozen=True)
class RefinedMaps:
    """What a generator says of a person.

    Attributes:
        w_plus: f32 ``[L, 512]``.
        neutral: f32 ``[V, 3]``, metres, head space.
        albedo: f32 ``[3, R, R]``, linear, 0-1.
        info: how the refinement went; None where none was asked for.
    """

    w_plus: Array
    neutral: Array
    albedo: Array
    info: RefinementInfo | None

    @property
    def warnings(self) -> tuple[str, ...]:
        """What a caller should know."""
        if self.info is None or self.info.iterations:
            return ()
        return ("the deadline left no time for an iteration: the latents are as they were regressed",)

    def report(self) -> dict[str, Any]:
        """Its part of the report."""
        return {"iterations": 0} if self.info is None else asdict(self.info)


class MapRefiner:
    """Refines maps, one request at a time.

    Args:
        refiner: of latents.
        head: whose UV layout the maps have.
    """

    def __init__(self, refiner: LatentRefiner, head: HeadModel) -> None:
        self._refiner = refiner
        self._maps = MapReader(refiner.generated, head)

    @classmethod
    def load(cls, files: Mapping[str, Path], head: HeadModel, device: RefinementDevice) -> MapRefiner:
        """With the networks of some files. Raises FacewrightError: ENGINE_MISMATCH."""
        return cls(LatentRefiner.load(files, head, device), head)

    @property
    def has_identity(self) -> bool:
        """Whether there is an identity network."""
        return self._refiner.has_identity

    def refine(
        self,
        face: FittedFace,
        options: RefinementOptions | None,
        fit_share: float,
        cancelled: Callable[[], bool],
        until: float | None,
    ) -> RefinedMaps:
        """The maps of one person.

        Args:
            face: the photo.
            options: of the refinement; None: the latents are taken as they are.
            fit_share: share 0-1 of what the fit says and the generator's start does not.
            cancelled: whether the caller has left.
            until: `time.monotonic` at which the best so far is taken.

        Raises:
            FacewrightError: as `LatentRefiner.refine`.
        """
        start, _ = self._maps.read(face.w_plus)
        beside = (np.float32(fit_share) * (face.neutral - start)).astype(np.float32)
        w_plus, info = face.w_plus, None
        if options is not None:
            if until is not None:
                left_ms = max(1, int(1e3 * (until - time.monotonic())))
                options = replace(options, deadline_ms=left_ms)
            request = RefinementRequest(
                face.face_crop,
                face.face_mask,
                face.intrinsics,
                face.head_to_camera,
                face.sh_light,
                face.w_plus,
                options,
                cancelled,
                displacement=face.fitted - face.neutral + beside,
            )
            (answer,) = self._refiner.refine([request])
            if isinstance(answer, FacewrightError):
                raise answer
            w_plus, info = answer.refinement.best.w_plus, answer.info
        neutral, albedo = self._maps.read(w_plus)
        return RefinedMaps(w_plus, neutral + beside, albedo, info)


class MapReader:
    """Reads a generator's maps.

    Args:
        generated: UV maps f32 ``[B, 6, R, R]`` of latents ``[B, L, 512]``, on the host.
        head: whose UV layout they have.
    """

    def __init__(self, generated: Callable[[Array], Array], head: HeadModel) -> None:
        self._generated, self._mean, self._vertex_uv = generated, head.vertices_mean, head.vertex_uv

    @classmethod
    def load(cls, files: Mapping[str, Path], head: HeadModel, device: RefinementDevice) -> MapReader:
        """Of a generator's file alone, by the names of `facewright.refine.networks`.

        Raises:
            FacewrightError: ENGINE_MISMATCH when it cannot be loaded.
        """
        engine = device.open_engine(files["generator_forward"])
        return cls(lambda w_plus: np.asarray(engine.run({W_PLUS: w_plus})[UV_MAPS]), head)

    def read(self, w_plus: Array) -> tuple[Array, Array]:
        """Of latents ``[L, 512]``: vertices f32 ``[V, 3]``, metres; linear albedo f32 ``[3, R, R]``."""
        maps = self._generated(w_plus[None])[0]
        offsets = np.ascontiguousarray(maps[OFFSET_CHANNELS].transpose(1, 2, 0))
        vertices = self._mean + uv_gather(offsets[None], self._vertex_uv)[0]
        return vertices, np.ascontiguousarray(maps[ALBEDO_CHANNELS])

"""How the mean of real people's faces differs from ICT-FaceKit's: the open head's mean is moved by it.

    .venv-export/bin/python -m facewright_export.open_head.real_mean PHOTOS

fits the open head to all faces of a folder and adds what their corrective fields have in common to
``real_mean.npz`` beside this file, of which set-up builds the head: brows lie lower, lips farther back, jaws
farther forward. Of the photos this mean alone is kept.

A field takes a share of what it is to explain, along the camera's axis a small one, so the fits of a head
that is built anew (``make setup``) have something in common again, and the command may be repeated (as the M
step of Dempster, Laird, Rubin, "Maximum Likelihood from Incomplete Data via the EM Algorithm", 1977).
The file is of one round, which serves both sides (an early trial, in which the face could still move as a
whole;
likeness is the cross-photo share of benchmarks/likeness at yaw 0 / 30 / 45):

======  ===========================  ====================
rounds  a real scan, mm by area      likeness
======  ===========================  ====================
none    1.48                         23.2 / 25.3 / 31.5 %
one     1.41                         22.6 / 25.1 / 31.2 %
three   1.36                         23.0 / 25.6 / 31.5 %
======  ===========================  ====================

Where the landmarks lie on the head is measured before its mean is moved (`build`). Measured after it, those
on bare skin stay where they were in the image, as nothing there moves with the skin, and each round would
drag the skin on under them.
"""

from __future__ import annotations

import argparse
import sys
import zipfile
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
from rich.console import Console

from facewright.adapter.in_process import Run
from facewright.core.assets import asset_path
from facewright.core.errors import FacewrightError
from facewright.fit.camera import similarity
from facewright.fit.corrective_field import rigid_followers
from facewright.fit.fit_head import HeadFitter
from facewright.fit.fit_info import HeadFit
from facewright.fit.shape_prior import ShapePrior
from facewright.head.head_model import HeadModel
from facewright.photo.photo_info import PhotoInfo
from facewright.pipelines import tensors
from facewright_export.open_head.head_file import write_head_file
from facewright_export.real_faces import seen_faces

FloatArray = npt.NDArray[np.float64]

REAL_MEAN_FILE: Final = Path(__file__).with_name("real_mean.npz")
#: To this many metres displacements are rounded.
STEP: Final = 1e-5
_MIRROR: Final = np.array([-1.0, 1.0, 1.0])


@dataclass(frozen=True)
class RealMean:
    """``displacement`` float64 [V, 3], metres, symmetric; ``faces``: how many it is of."""

    displacement: FloatArray
    faces: int

    def save(self, path: Path) -> None:
        """Write half precision; the same mean gives the same bytes."""
        displacement = np.round(self.displacement / STEP) * STEP + 0.0
        arrays = {"displacement": displacement.astype(np.float16), "faces": np.array(self.faces)}
        write_head_file(arrays, path, zipfile.ZIP_DEFLATED)

    @staticmethod
    def load(path: Path = REAL_MEAN_FILE) -> RealMean:
        """Read what :meth:`save` wrote."""
        with np.load(path, allow_pickle=False) as arrays:
            return RealMean(arrays["displacement"].astype(np.float64), int(arrays["faces"]))


def common_field(head: HeadModel, fits: Sequence[HeadFit]) -> FloatArray:
    """The mean of the corrective fields of many fits: [V, 3], metres, symmetric, without what moves, turns or
    sizes the face as a whole."""
    expressions = np.stack([fit.expression for fit in fits]).astype(np.float64)
    fitted = np.mean([fit.fitted_vertices - head.neutral(fit.identity) for fit in fits], axis=0)
    field = fitted - np.tensordot(expressions.mean(axis=0), head.expression_basis, 1)
    field = 0.5 * (field + field[head.mirror_vertex] * _MIRROR)
    face = head.region("face") > 0.5
    mean = head.vertices_mean.astype(np.float64)
    scale, rotation, shift = similarity((mean + field)[face], mean[face])
    own: FloatArray = scale * (mean + field) @ rotation.T + shift - mean
    for followers, anchors, weights in rigid_followers(head):
        own[followers] = weights @ own[anchors]  # eyes had turned, which is no part of a field
    return own


def _fits(head: HeadModel, faces: Iterable[Run]) -> list[HeadFit]:
    """Without person masks: hair is no part of a face."""
    fitter = HeadFitter(head)
    fits = []
    for seen in faces:
        shape = ShapePrior.regressed(
            seen.array(tensors.IDENTITY_PRIOR),
            seen.array(tensors.EXPRESSION_PRIOR),
            seen.array(tensors.LANDMARK_BIAS),
            float(seen.array(tensors.SHAPE_DISTANCE)[0]),
        )
        with suppress(FacewrightError):
            fits.append(
                fitter.fit(
                    seen.array(tensors.NETWORK_LANDMARKS),
                    float(seen.array(tensors.FACE_SCORE)[0]),
                    seen.array(tensors.LANDMARK_TO_CROP),
                    seen.array(tensors.CROP_TO_PHOTO),
                    PhotoInfo.from_json(seen.content(tensors.PHOTO_INFO)),
                    shape_prior=shape,
                )
            )
    return fits


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the mean and print how far it moves the face."""
    parser = argparse.ArgumentParser(
        prog="python -m facewright_export.open_head.real_mean",
        description="Move the open head's mean to that of the people in a folder of photos.",
    )
    parser.add_argument("folder", type=Path, help="of portraits of many people")
    parser.add_argument("--out", type=Path, default=REAL_MEAN_FILE, help="(default: the file that travels)")
    given = parser.parse_args(arguments)
    console = Console(stderr=True)
    head = HeadModel.load(asset_path("head.npz"))
    try:
        fits = _fits(head, seen_faces(given.folder, console))
    except ValueError as error:
        console.print(f"error: {error}", markup=False)
        return 1
    moved = common_field(head, fits)
    RealMean(RealMean.load().displacement + moved, len(fits)).save(given.out)
    x, y, z = np.sqrt((moved[head.region("face") > 0.5] ** 2).mean(axis=0)) * 1e3
    console.print(f"{len(fits)} faces: moved by {x:.3f} / {y:.3f} / {z:.3f} mm along x / y / z")
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""What each term of eq. 2 does with a trained identity network: the columns of figure 18 (normalized paper).

    scripts/setup --export && .venv-export/bin/python -m facewright_export.open_normalized.identity
    .venv/bin/python -m benchmarks.refinement.loss_terms --pictures out

The open networks with dlib's face recognition refine pictures of faces that the generator can make,
and the astronaut's photo, whose camera, light and mask the default pipeline finds. Both distances are
measured before and after, whichever was minimised. They are those of the networks that minimise, which a
picture can please without being a likeness: look at the pictures.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from PIL import Image
from scipy.ndimage import binary_fill_holes

from benchmarks.likeness.make_avatar import AvatarMaker
from benchmarks.refinement.problem import Problem, make_problem
from benchmarks.run_conditions import ROOT, RunConditions, write_result
from facewright.fit.fit_info import HeadFit
from facewright.head.head_model import HeadModel
from facewright.refine.device import RefinementDevice
from facewright.refine.history import LOSS_NAMES, Parameters
from facewright.refine.loop import refine
from facewright.refine.network_files import IDENTITY_COMMAND, refinement_files, refinement_folder
from facewright.refine.networks import UV_MAPS, W_PLUS, RefinementNetworks, load_refinement_networks
from facewright.refine.options import RefinementOptions
from facewright.refine.photos import RefinementPhotos
from facewright.refine.scene import HeadSurface, RefinementScene
from facewright.refine.step import RefinementStep
from facewright.render.render_head import View
from facewright_client.contract import CROP_SIZE
from facewright_kernels import interpolate, rasterize
from facewright_kernels._runtime.kernel_source import cpu_threads, set_cpu_threads

U8 = npt.NDArray[np.uint8]

ASTRONAUT: Final = ROOT / "tests" / "data" / "astronaut.jpg"
#: Columns b, c, d of the figure; each has the latent term too.
COLUMNS: Final[dict[str, dict[str, float]]] = {
    "identity": {"perceptual_weight": 0.0},
    "perceptual": {"identity_weight": 0.0},
    "identity and perceptual": {},
}
#: What FACE_CROP shows of the open head: metres at its pivot, and the point in its middle.
_CROP_SPAN: Final = 0.385
_CROP_MIDDLE: Final = (0.0, -0.033, -0.059)


@dataclass(frozen=True)
class Subject:
    """A face to refine.

    Attributes:
        name: for the table.
        surface: the head.
        photos: one photo, and the latents to start from.
        problem: where the face is known: what measures its errors.
    """

    name: str
    surface: HeadSurface
    photos: RefinementPhotos
    problem: Problem | None = None


def rendered_subject(networks: RefinementNetworks, device: RefinementDevice, seed: int) -> Subject:
    """A face that the generator makes, framed as FACE_CROP; the start is another person's latents."""
    problem = make_problem(networks, device, 1, seed)
    view = View.turned(
        *np.random.default_rng(seed).uniform(-12, 12, 2),
        size=problem.truth.size,
        span=_CROP_SPAN,
        pivot=_CROP_MIDDLE,
    )
    blank = replace(
        problem.truth,
        photo=np.full_like(problem.truth.photo, 0.35),
        intrinsics=view.intrinsics[None],
        head_to_camera=view.head_to_camera[None],
    )
    maps = networks.generator.forward.run({W_PLUS: blank.w_plus})[UV_MAPS]
    drawing = RefinementScene(problem.surface, blank, np).draw(maps, blank.head_to_camera, blank.sh_light)
    truth = replace(blank, photo=np.clip(drawing.image, 0, 1))
    problem = replace(problem, truth=truth)
    return Subject(f"render {seed + 1}", problem.surface, problem.start(share=1.0), problem)


def photo_subject(networks: RefinementNetworks, device: RefinementDevice, photo: Path) -> Subject:
    """A photo with the pose, light and mask that the default pipeline finds; the start is the mean face."""
    maker = AvatarMaker()
    avatar = maker.make(photo.read_bytes())
    photos = RefinementPhotos.from_crops(
        avatar.face_crop[None],
        face_mask(maker.head, avatar.fit)[None],
        (avatar.fit.intrinsics[None], avatar.fit.head_to_camera[None]),
        avatar.sh_light[None],
        np.zeros((1, *networks.generator.latent_shape), np.float32),
        device=device,
        size=networks.perceptual.image_size,
    )
    return Subject(photo.stem, HeadSurface.from_head(maker.head, networks.generator.map_size, device), photos)


def face_mask(head: HeadModel, fit: HeadFit) -> U8:
    """Where the fitted head shows its face, u8 [256, 256], 255 times the probability, over FACE_CROP."""
    view = View(fit.intrinsics, fit.head_to_camera, CROP_SIZE, CROP_SIZE).window(0, 0, CROP_SIZE, 256)
    clip = view.clip_positions(fit.fitted_vertices)[None]
    raster = rasterize(clip, head.triangles, view.height, view.width, cull_back_faces=True)
    weight = np.ascontiguousarray(head.region("face")[None, :, None])
    shown = interpolate(weight, head.triangles, raster)[0, ..., 0] > 0.5
    mask: U8 = np.where(binary_fill_holes(shown & (raster.triangle_id[0] >= 0)), 255, 0).astype(np.uint8)
    return mask


def refine_by_columns(
    subject: Subject, networks: RefinementNetworks, device: RefinementDevice, iterations: int
) -> tuple[list[dict[str, Any]], U8]:
    """One row of distances for each of `COLUMNS`, and the photo, the start and the columns side by side.

    The row's ``identity`` and ``perceptual`` are the distances before and after; for a face that is known
    also its errors (`Problem.errors`).
    """

    def measured(parameters: Parameters) -> tuple[dict[str, float], U8]:
        step = RefinementStep(networks, subject.surface, subject.photos, RefinementOptions(), device)
        for name in ("w_plus", "head_to_camera", "sh_light"):
            getattr(step.parameters, name)[...] = getattr(parameters, name)
        step.evaluate()
        return dict(zip(LOSS_NAMES, map(float, step.losses[0]), strict=True)), step.picture(0)

    def errors(parameters: Parameters) -> dict[str, float] | None:
        if subject.problem is None:
            return None
        rows = (parameters.w_plus, parameters.head_to_camera, parameters.sh_light)
        found = subject.problem.errors(*(row.reshape(row.shape[-2:]) for row in rows))
        return {name: round(value, 3) for name, value in asdict(found).items() if name in _SHOWN_ERRORS}

    photos = subject.photos
    start = Parameters(photos.w_plus, photos.head_to_camera, photos.sh_light)
    before, picture = measured(start)
    pictures = [(255 * photos.photo[0].transpose(1, 2, 0)).round().astype(np.uint8), picture]
    rows = []
    for column, weights in COLUMNS.items():
        options = RefinementOptions.from_parameters({"iterations": iterations, **weights})
        best = refine(RefinementStep(networks, subject.surface, photos, options, device))[0].best
        after, picture = measured(best)
        pictures.append(picture)
        rows.append(
            {
                "subject": subject.name,
                "terms": column,
                **{name: [round(d[name], 5) for d in (before, after)] for name in ("identity", "perceptual")},
                "errors": None if subject.problem is None else [errors(start), errors(best)],
            }
        )
    return rows, np.hstack(pictures)


_SHOWN_ERRORS: Final = ("pixels", "vertices_mm", "albedo")


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs, prints the table and writes the result file; 2 where there is no identity network."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.refinement.loss_terms",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--iterations", type=int, default=200, help="of each column (default: %(default)s)")
    parser.add_argument("--renders", type=int, default=3, help="rendered faces (default: %(default)s)")
    parser.add_argument("--pictures", type=Path, help="write photo, start and columns (PNG) into this folder")
    options = parser.parse_args(arguments)
    conditions = RunConditions()
    folder = refinement_folder()
    if "identity_loss" not in refinement_files(folder):
        sys.stderr.write(f"benchmarks.refinement.loss_terms needs an identity network: {IDENTITY_COMMAND}\n")
        return 2
    device = RefinementDevice.cpu()
    networks = load_refinement_networks(folder, device.open_engine)
    subjects = [rendered_subject(networks, device, seed) for seed in range(options.renders)]
    subjects.append(photo_subject(networks, device, ASTRONAUT))
    threads = cpu_threads()
    set_cpu_threads(1)
    result: dict[str, Any] = {
        "benchmark": "loss_terms",
        "iterations": options.iterations,
        "rows": [],
    }
    try:
        for subject in subjects:
            rows, pictures = refine_by_columns(subject, networks, device, options.iterations)
            result["rows"] += rows
            for row in rows:
                sys.stdout.write(f"{row}\n")
            if options.pictures:
                options.pictures.mkdir(parents=True, exist_ok=True)
                Image.fromarray(pictures).save(options.pictures / f"{subject.name.replace(' ', '_')}.png")
    finally:
        set_cpu_threads(threads)
    sys.stdout.write(f"{write_result('loss_terms', result | conditions.as_row())}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())

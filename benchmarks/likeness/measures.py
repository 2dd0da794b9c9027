"""One avatar judged: what is measured of each photo, and how the photos become the table's rows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from benchmarks.likeness.face_recognition_judge import FaceBox, FaceRecognitionJudge, JudgedFace
from benchmarks.likeness.identity_statistics import nearest_is_right, pair_distances, summary
from benchmarks.likeness.landmark_error import LandmarkSurface, landmark_errors, project
from benchmarks.likeness.make_avatar import AvatarMaker, MadeAvatar
from facewright.core.errors import FacewrightError
from facewright.render.light import STUDIO, Light
from facewright.render.render_head import HeadRenderer, View

U8 = npt.NDArray[np.uint8]

#: Yaw of the neutral renders that are judged, degrees.
YAWS: Final = (0, -15, 15, -30, 30, -45, 45)
#: Photos turned further than this are reported apart: one photo hides the other half of the face.
FRONTAL_YAW: Final = 40.0
_RENDER_SIZE = 448
_GREY = (0.18, 0.18, 0.18)


@dataclass
class PhotoMeasures:
    """What was measured of one photo; distances are the judge's, errors % of the pupil distance.

    Attributes:
        number: in the order of the folder, from 1; committed results name photos by it alone.
        person: who it shows; only compared, never written.
        yaw, pitch: of the head in the photo, degrees.
        reprojection: [478] after the corrective field.
        refound: by yaw (0, -30, 30), [478] or None where no face was found in the render.
        photo_face, masked_face: the photo and the photo cut to the avatar's silhouette (the ceiling).
        renders: by name (``photo pose``, ``0``, ``-15`` ...), the judged neutral renders; ``0 studio`` is lit
            by the previews' studio whatever light the others have.
        jaw_open, jaw_open_left: jawOpen in the photo, and re-fitted to the neutral render at yaw 0.
        smile, smile_left: the mean of both sides, likewise.
        milliseconds: by stage.
        warnings: the pipeline's own.
    """

    number: int
    person: str
    yaw: float
    pitch: float
    reprojection: npt.NDArray[np.float64]
    refound: dict[int, npt.NDArray[np.float64] | None]
    photo_face: JudgedFace
    masked_face: JudgedFace
    renders: dict[str, JudgedFace]
    jaw_open: float
    jaw_open_left: float | None
    smile: float
    smile_left: float | None
    milliseconds: dict[str, float]
    warnings: list[str] = field(default_factory=list)

    @property
    def frontal(self) -> bool:
        """Whether the head is turned less than `FRONTAL_YAW`."""
        return abs(self.yaw) < FRONTAL_YAW

    def distance(self, render: str) -> float:
        """Judge's distance photo ↔ render of the neutral."""
        return self.photo_face.distance(self.renders[render])


def light_of(name: str, avatar: MadeAvatar) -> Light:
    """The light that renders are judged in: ``studio``, ``even`` or ``photo`` (the estimated one)."""
    if name == "photo":
        return Light(avatar.sh_light)
    return {"studio": STUDIO, "even": Light.even()}[name]


def measure(
    maker: AvatarMaker, judge: FaceRecognitionJudge, avatar: MadeAvatar, number: int, person: str, light: str
) -> PhotoMeasures:
    """Judges one avatar against its photo."""
    fit = avatar.fit
    lamp = light_of(light, avatar)
    renderer = HeadRenderer(maker.head, avatar.texture)
    photo_view = View(fit.intrinsics, fit.head_to_camera, 1024, 1024).window(0, 0, 1024, 512)
    box = FaceBox.around(avatar.landmarks_in_crop / 2)
    small_photo = _halved(avatar.face_crop)

    neutral = renderer.render(fit.neutral_vertices, photo_view, lamp)
    fitted = renderer.render(fit.fitted_vertices, photo_view, lamp)
    inside = fitted.alpha[..., None]
    masked = (small_photo * inside + 118 * (1 - inside)).astype(np.uint8)
    surface = LandmarkSurface.of(maker.head, fit.neutral_vertices)
    renders = {"photo pose": judge.describe(neutral.over(_GREY), box)}
    refound: dict[int, npt.NDArray[np.float64] | None] = {}
    jaw_left = smile_left = None
    for yaw in YAWS:
        view = View.turned(yaw, size=_RENDER_SIZE, span=0.30)
        picture = renderer.render(fit.neutral_vertices, view, lamp).over(_GREY)
        pixels = project(surface.points, view.intrinsics, view.head_to_camera)
        renders[str(yaw)] = judge.describe(picture, FaceBox.around(pixels))
        if yaw == 0:
            studio = renderer.render(fit.neutral_vertices, view, STUDIO).over(_GREY)
            renders["0 studio"] = judge.describe(studio, FaceBox.around(pixels))
        if yaw in (0, -30, 30):
            refound[yaw] = None
            try:
                again = maker.fit(picture)
            except FacewrightError:
                continue
            refound[yaw] = landmark_errors(
                surface, again.landmarks_in_photo, view.intrinsics, view.head_to_camera
            )
            if yaw == 0:
                jaw_left, smile_left = _jaw_and_smile(maker, again.fit.expression)
    jaw, smile = _jaw_and_smile(maker, fit.expression)
    return PhotoMeasures(
        number=number,
        person=person,
        yaw=fit.info.yaw,
        pitch=fit.info.pitch,
        reprojection=landmark_errors(
            LandmarkSurface.of(maker.head, fit.fitted_vertices),
            avatar.landmarks_in_crop,
            fit.intrinsics,
            fit.head_to_camera,
        ),
        refound=refound,
        photo_face=judge.describe(small_photo, box),
        masked_face=judge.describe(masked, box),
        renders=renders,
        jaw_open=jaw,
        jaw_open_left=jaw_left,
        smile=smile,
        smile_left=smile_left,
        milliseconds=dict(avatar.milliseconds),
        warnings=list(fit.info.warnings),
    )


def table(photos: Sequence[PhotoMeasures]) -> dict[str, Any]:
    """The rows of the likeness table over ``photos``; `judge_table` has those that need strangers."""
    open_mouths = [p for p in photos if p.jaw_open > 0.3]
    rows: dict[str, Any] = {
        "photos": len(photos),
        "reprojection": _pooled([p.reprojection for p in photos]),
        "refound at 0": _pooled([p.refound[0] for p in photos]),
        "refound at ±30": _pooled([p.refound[yaw] for p in photos for yaw in (-30, 30)]),
        "jawOpen left where the photo has > 0.3": summary(
            [p.jaw_open_left for p in open_mouths if p.jaw_open_left is not None]
        ),
        "smile left where the photo has > 0.3": summary(
            [p.smile_left for p in photos if p.smile > 0.3 and p.smile_left is not None]
        ),
        "distance, photo cut to the silhouette": summary(
            [p.photo_face.distance(p.masked_face) for p in photos]
        ),
    }
    for name, keys in _POSES.items():
        rows[f"distance at {name}"] = summary([p.distance(key) for p in photos for key in keys])
    return rows


def judge_table(judged: Sequence[PhotoMeasures], all_photos: Sequence[PhotoMeasures]) -> dict[str, Any]:
    """Rows that compare people: strangers, same person, right person nearest among all photos."""
    descriptors = np.array([p.photo_face.descriptor for p in all_photos])
    persons = [p.person for p in all_photos]
    pairs = pair_distances(descriptors, persons)
    rows: dict[str, Any] = {
        "strangers, photo to photo": summary(pairs.strangers),
        "same person, photo to photo": summary(pairs.same),
    }
    for name, keys in _POSES.items():
        renders = np.array([p.renders[key].descriptor for p in judged for key in keys])
        names = [p.person for p in judged for _ in keys]
        if len(renders):
            right = nearest_is_right(renders, descriptors, names, persons)
            rows[f"right person nearest at {name}"] = {
                "count": len(right),
                "percent": round(100 * float(right.mean()), 1),
            }
    others = [
        other.photo_face.distance(p.renders["0"])
        for p in judged
        for other in all_photos
        if other.person == p.person and other.number != p.number
    ]
    rows["distance, render at 0 to the person's other photos"] = summary(others)
    return rows


_POSES: Final = {
    "photo pose": ("photo pose",),
    "0": ("0",),
    "±15": ("-15", "15"),
    "±30": ("-30", "30"),
    "±45": ("-45", "45"),
    "0, studio light": ("0 studio",),
}


def _pooled(errors: Sequence[npt.NDArray[np.float64] | None]) -> dict[str, float | int]:
    """Landmarks of all pictures pooled; pictures in which no face was found are counted."""
    found = [e for e in errors if e is not None]
    pooled = summary(np.concatenate(found) if found else [])
    return {"pictures": len(found), "no face found": len(errors) - len(found), **pooled}


def _jaw_and_smile(maker: AvatarMaker, expression: npt.NDArray[np.float32]) -> tuple[float, float]:
    names = [str(name) for name in maker.head.expression_names]
    weight: Callable[[str], float] = lambda name: float(expression[names.index(name)])  # noqa: E731
    return weight("jawOpen"), (weight("mouthSmileLeft") + weight("mouthSmileRight")) / 2


def _halved(picture: U8) -> U8:
    height, width, _ = picture.shape
    blocks = picture.reshape(height // 2, 2, width // 2, 2, 3).astype(np.uint16)
    halved: U8 = (blocks.sum(axis=(1, 3)) // 4).astype(np.uint8)
    return halved

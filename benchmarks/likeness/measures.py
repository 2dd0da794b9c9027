"""One avatar judged: what is measured of each photo, and how the photos become the table's rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from benchmarks.likeness.consistency import AvatarComparison
from benchmarks.likeness.faceres_judge import ApparentPerson, FaceresJudge
from benchmarks.likeness.held_expression import held_expression
from benchmarks.likeness.identity_statistics import summary
from benchmarks.likeness.judged_face import FaceBox, Judge, JudgedFace
from benchmarks.likeness.landmark_error import LandmarkSurface, landmark_errors, project
from benchmarks.likeness.make_avatar import AvatarMaker, MadeAvatar
from benchmarks.likeness.verification import JudgedPhotos
from facewright.core.errors import FacewrightError
from facewright.head.head_model import HeadModel
from facewright.render.light import STUDIO, Light
from facewright.render.render_head import HeadRenderer, View

U8 = npt.NDArray[np.uint8]

#: Yaw of the neutral renders that are judged, degrees.
YAWS: Final = (0, -15, 15, -30, 30, -45, 45)
#: Photos turned further than this are reported apart: one photo hides the other half of the face.
FRONTAL_YAW: Final = 40.0
_RENDER_SIZE = 448
_GREY = (0.18, 0.18, 0.18)
_SMILE: Final = ("mouthSmileLeft", "mouthSmileRight")


@dataclass(frozen=True)
class Sight:
    """What one judge sees of a photo and its avatar.

    Attributes:
        photo, masked: the photo, and the photo cut to the avatar's silhouette (the ceiling).
        renders: by name (``photo pose``, ``0``, ``-15`` ...), the neutral renders; ``0 studio`` is lit by the
            previews' studio whatever light the others have.
    """

    photo: JudgedFace
    masked: JudgedFace
    renders: dict[str, JudgedFace]

    def distance(self, render: str) -> float:
        """Photo ↔ render of the neutral."""
        return self.photo.distance(self.renders[render])


@dataclass
class PhotoMeasures:
    """What was measured of one photo; errors are % of the pupil distance.

    Attributes:
        number: in the order of the folder, from 1; committed results name photos by it alone.
        person: who it shows; only compared, never written.
        yaw, pitch: of the head in the photo, degrees.
        reprojection: [478] after the corrective field.
        refound: by yaw (0, -30, 30), [478] or None where no face was found in the render.
        sights: by judge.
        shape, skin: f64 [n, 3], what `AvatarComparison` compares of avatars.
        apparent: whom a judge takes the photo's person for; None where none was asked.
        jaw_open, jaw_open_left: jawOpen in the photo, and what the neutral holds of it (`held_expression`).
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
    sights: dict[str, Sight]
    shape: npt.NDArray[np.float64]
    skin: npt.NDArray[np.float64]
    apparent: ApparentPerson | None
    jaw_open: float
    jaw_open_left: float
    smile: float
    smile_left: float
    milliseconds: dict[str, float]
    warnings: list[str] = field(default_factory=list)

    @property
    def frontal(self) -> bool:
        """Whether the head is turned less than `FRONTAL_YAW`."""
        return abs(self.yaw) < FRONTAL_YAW


def light_of(name: str, avatar: MadeAvatar) -> Light:
    """The light that renders are judged in: ``studio``, ``even`` or ``photo`` (the estimated one)."""
    if name == "photo":
        return Light(avatar.sh_light)
    return {"studio": STUDIO, "even": Light.even()}[name]


@dataclass(frozen=True)
class Likeness:
    """What avatars are measured with.

    Attributes:
        maker: made them, and looks for faces in their renders.
        judges: each describes all pictures.
        comparison: of their shapes and skins.
        light: of the judged renders, as `light_of`.
    """

    maker: AvatarMaker
    judges: Sequence[Judge]
    comparison: AvatarComparison
    light: str

    def measure(self, avatar: MadeAvatar, number: int, person: str) -> PhotoMeasures:
        """Judges one avatar against its photo."""
        fit, head = avatar.fit, self.maker.head
        lamp = light_of(self.light, avatar)
        renderer = HeadRenderer(head, avatar.texture)
        photo_view = _photo_view(avatar)
        in_photo = FaceBox.around(avatar.landmarks_in_crop / 2)
        small_photo = _halved(avatar.face_crop)

        inside = renderer.render(fit.fitted_vertices, photo_view, lamp).alpha[..., None]
        masked = (small_photo * inside + 118 * (1 - inside)).astype(np.uint8)
        surface = LandmarkSurface.of(head, fit.neutral_vertices)
        at_pose = renderer.render(fit.neutral_vertices, photo_view, lamp).over(_GREY)
        pictures = {"photo pose": (at_pose, in_photo)}
        refound: dict[int, npt.NDArray[np.float64] | None] = {}
        for yaw in YAWS:
            view = View.turned(yaw, size=_RENDER_SIZE, span=0.30)
            picture = renderer.render(fit.neutral_vertices, view, lamp).over(_GREY)
            box = FaceBox.around(project(surface.points, view.intrinsics, view.head_to_camera))
            pictures[str(yaw)] = (picture, box)
            if yaw == 0:
                studio = renderer.render(fit.neutral_vertices, view, STUDIO).over(_GREY)
                pictures["0 studio"] = (studio, box)
            if yaw in (0, -30, 30):
                refound[yaw] = None
                try:
                    again = self.maker.fit(picture)
                except FacewrightError:
                    continue
                refound[yaw] = landmark_errors(
                    surface, again.landmarks_in_photo, view.intrinsics, view.head_to_camera
                )
        weights = dict(zip(map(str, head.expression_names), fit.expression, strict=True))
        return PhotoMeasures(
            number=number,
            person=person,
            yaw=fit.info.yaw,
            pitch=fit.info.pitch,
            reprojection=landmark_errors(
                LandmarkSurface.of(head, fit.fitted_vertices),
                avatar.landmarks_in_crop,
                fit.intrinsics,
                fit.head_to_camera,
            ),
            refound=refound,
            sights={
                judge.name: Sight(
                    judge.describe(small_photo, in_photo),
                    judge.describe(masked, in_photo),
                    {name: judge.describe(*picture) for name, picture in pictures.items()},
                )
                for judge in self.judges
            },
            shape=self.comparison.shape(fit.neutral_vertices),
            skin=self.comparison.skin(avatar.texture),
            apparent=next(
                (
                    judge.person(small_photo, in_photo)
                    for judge in self.judges
                    if isinstance(judge, FaceresJudge)
                ),
                None,
            ),
            jaw_open=float(weights["jawOpen"]),
            jaw_open_left=held_expression(head, fit, ["jawOpen"]),
            smile=float(np.mean([weights[side] for side in _SMILE])),
            smile_left=held_expression(head, fit, _SMILE),
            milliseconds=dict(avatar.milliseconds),
            warnings=list(fit.info.warnings),
        )


def judged_photo(judge: Judge, avatar: MadeAvatar) -> JudgedFace:
    """The photo's own face."""
    return judge.describe(_halved(avatar.face_crop), FaceBox.around(avatar.landmarks_in_crop / 2))


def judged_neutral(
    head: HeadModel, judge: Judge, avatar: MadeAvatar, lamp: Light, yaw: int | None
) -> JudgedFace:
    """The neutral avatar's face, turned by ``yaw`` degrees, or at the photo's pose for None."""
    renderer, vertices = HeadRenderer(head, avatar.texture), avatar.fit.neutral_vertices
    if yaw is None:
        picture = renderer.render(vertices, _photo_view(avatar), lamp).over(_GREY)
        return judge.describe(picture, FaceBox.around(avatar.landmarks_in_crop / 2))
    view = View.turned(yaw, size=_RENDER_SIZE, span=0.30)
    surface = LandmarkSurface.of(head, vertices)
    pixels = project(surface.points, view.intrinsics, view.head_to_camera)
    return judge.describe(renderer.render(vertices, view, lamp).over(_GREY), FaceBox.around(pixels))


def _photo_view(avatar: MadeAvatar) -> View:
    return View(avatar.fit.intrinsics, avatar.fit.head_to_camera, 1024, 1024).window(0, 0, 1024, 512)


def table(photos: Sequence[PhotoMeasures]) -> dict[str, Any]:
    """What needs no strangers, over ``photos``: landmarks, what expressions leave, and by judge the distances
    of photos from their own avatars."""
    open_mouths = [p for p in photos if p.jaw_open > 0.3]
    rows: dict[str, Any] = {
        "photos": len(photos),
        "reprojection": _pooled([p.reprojection for p in photos]),
        "refound at 0": _pooled([p.refound[0] for p in photos]),
        "refound at ±30": _pooled([p.refound[yaw] for p in photos for yaw in (-30, 30)]),
        "jawOpen left where the photo has > 0.3": summary([p.jaw_open_left for p in open_mouths]),
        "smile left where the photo has > 0.3": summary([p.smile_left for p in photos if p.smile > 0.3]),
        "distances": {
            judge: _distances([p.sights[judge] for p in photos])
            for judge in (photos[0].sights if photos else ())
        },
    }
    return rows


def _distances(sights: Sequence[Sight]) -> dict[str, Any]:
    rows = {
        name: summary([sight.distance(key) for sight in sights for key in keys])
        for name, keys in _POSES.items()
    }
    return rows | {"photo cut to the silhouette": summary([s.photo.distance(s.masked) for s in sights])}


_POSES: Final = {
    "photo pose": ("photo pose",),
    "0": ("0",),
    "±15": ("-15", "15"),
    "±30": ("-30", "30"),
    "±45": ("-45", "45"),
    "0, studio light": ("0 studio",),
}


#: The poses at which an avatar is compared with the person's other photos.
CROSS_POSES: Final = {pose: _POSES[pose] for pose in ("0", "±30", "±45")}


def judged_photos(photos: Sequence[PhotoMeasures], judge: str, failed: Sequence[str]) -> JudgedPhotos:
    """What one judge sees of all photos and their avatars; ``failed`` are the persons without one."""
    sights = [photo.sights[judge] for photo in photos]
    return JudgedPhotos(
        [photo.person for photo in photos],
        np.array([sight.photo.descriptor for sight in sights]),
        {
            pose: np.array([[sight.renders[key].descriptor for key in keys] for sight in sights])
            for pose, keys in CROSS_POSES.items()
        },
        failed,
    )


def _pooled(errors: Sequence[npt.NDArray[np.float64] | None]) -> dict[str, float | int]:
    """Landmarks of all pictures pooled; pictures in which no face was found are counted."""
    found = [e for e in errors if e is not None]
    pooled = summary(np.concatenate(found) if found else [])
    return {"pictures": len(found), "no face found": len(errors) - len(found), **pooled}


def _halved(picture: U8) -> U8:
    height, width, _ = picture.shape
    blocks = picture.reshape(height // 2, 2, width // 2, 2, 3).astype(np.uint16)
    halved: U8 = (blocks.sum(axis=(1, 3)) // 4).astype(np.uint8)
    return halved

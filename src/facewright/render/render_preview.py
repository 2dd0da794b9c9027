"""The preview sheet of an avatar: the photo, the fit on it, the neutral turned, expressions, other light.

All pictures but the first two show the avatar as a game would: its own texture under studio light.
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw

from facewright.core.arrays import Floats
from facewright.core.errors import FacewrightError
from facewright.head.ambient_occlusion import ambient_occlusion
from facewright.head.head_model import HeadModel
from facewright.head.mouth_shadow import mouth_strength
from facewright.render.light import STUDIO, Lamp, Light
from facewright.render.preview_sheet import SheetStyle, backdrop, compose_sheet, encode_png
from facewright.render.render_head import HeadRenderer, View
from facewright_client.contract import ErrorCode

U8 = npt.NDArray[np.uint8]

_STYLE: Final = SheetStyle()
_COLUMNS: Final = 4
_GREY: Final = (0.16, 0.16, 0.165)

#: Low sun from the subject's right, sky from the left.
EVENING: Final = Light.from_lamps(
    (0.16, 0.17, 0.22),
    Lamp((-0.85, 0.28, 0.5), (1.1, 0.72, 0.42), glint=1.0),
    Lamp((0.8, 0.5, 0.2), (0.12, 0.17, 0.28), glint=0.3),
)
#: Two coloured lamps from behind, a dim white one in front.
STAGE: Final = Light.from_lamps(
    (0.12, 0.12, 0.15),
    Lamp((0.95, 0.25, 0.2), (0.12, 0.5, 1.25), glint=0.8),
    Lamp((-0.95, 0.2, 0.0), (0.95, 0.2, 0.5), glint=0.8),
    Lamp((0.1, 0.5, 1.0), (0.26, 0.25, 0.25), glint=0.5),
)
SMILE: Final = {
    "mouthSmileLeft": 0.7,
    "mouthSmileRight": 0.7,
    "cheekSquintLeft": 0.4,
    "cheekSquintRight": 0.4,
    "eyeSquintLeft": 0.25,
    "eyeSquintRight": 0.25,
}
JAW_OPEN: Final = {"jawOpen": 0.7}
BLINK: Final = {"eyeBlinkLeft": 1.0, "eyeBlinkRight": 1.0}


@dataclass(frozen=True)
class FittedPhoto:
    """The photo's side of a preview; the fields are the tensors of those names.

    Attributes:
        face_crop: sRGB u8 [1024, 1024, 3].
        intrinsics: f32 [3, 3], crop pixels.
        head_to_camera: f32 [3, 4], metres.
        vertices: f32 [V, 3], head space, with the photo's expression.
    """

    face_crop: U8
    intrinsics: Floats
    head_to_camera: Floats
    vertices: Floats


class PreviewRenderer:
    """Draws preview sheets for avatars of one head model."""

    def __init__(self, head: HeadModel) -> None:
        self._head = head
        self._expression = {str(name): i for i, name in enumerate(head.expression_names)}
        # The mean head stands for everyone: occlusion varies little with identity, much with the jaw.
        opened = head.vertices_mean + head.expression_basis[self._expression["jawOpen"]]
        self._occlusion = {
            jaw: _softened(head, ambient_occlusion(vertices, head.triangles))
            for jaw, vertices in ((0, head.vertices_mean), (1, opened))
        }

    def render(self, photo: FittedPhoto | None, neutral_vertices: Floats, texture: bytes) -> bytes:
        """One PNG.

        Args:
            photo: the photo and the head fitted to it; None: there is none, and the sheet shows profiles.
            neutral_vertices: f32 [V, 3], head space, metres.
            texture: the avatar's encoded texture.

        Raises:
            FacewrightError: INTERNAL when the texture cannot be decoded.
            ValueError: arrays of another head, or not finite.
        """
        renderer = HeadRenderer(self._head, decode_texture(texture, largest=1024))

        def neutral(
            yaw: float = 0.0, expression: dict[str, float] | None = None, light: Light = STUDIO
        ) -> U8:
            vertices = neutral_vertices
            for name, weight in (expression or {}).items():
                vertices = vertices + np.float32(weight) * self._head.expression_basis[self._expression[name]]
            jaw = np.float32((expression or {}).get("jawOpen", 0.0))
            occlusion = (1 - jaw) * self._occlusion[0] + jaw * self._occlusion[1]
            picture = renderer.render(vertices, _portrait(neutral_vertices, yaw), light, occlusion)
            return picture.faded(0.12).over(backdrop(_STYLE.tile, _BACKDROP.get(id(light), _GREY)))

        if photo is None:
            first = [("90° right", neutral(-90)), ("90° left", neutral(90))]
        else:
            window = self._photo_window(photo)
            first = [
                ("Photo", _cut(photo.face_crop, window)),
                ("Fitted mesh", self._overlay(photo, window)),
            ]
        pictures = [
            *first,
            ("Neutral", neutral()),
            ("Smile", neutral(expression=SMILE)),
            ("60° right", neutral(-60)),
            ("30° right", neutral(-30)),
            ("30° left", neutral(30)),
            ("60° left", neutral(60)),
            ("Jaw open", neutral(expression=JAW_OPEN)),
            ("Blink", neutral(expression=BLINK)),
            ("Evening light", neutral(-15, light=EVENING)),
            ("Stage light", neutral(15, light=STAGE)),
        ]
        return encode_png(compose_sheet(pictures, _COLUMNS, _STYLE))

    def _photo_window(self, photo: FittedPhoto) -> tuple[float, float, float]:
        """Left, top and side of the square of the crop that shows the whole head, crop pixels."""
        camera = photo.vertices @ photo.head_to_camera[:, :3].T + photo.head_to_camera[:, 3]
        pixels = camera @ photo.intrinsics.T
        points = pixels[:, :2] / pixels[:, 2:]
        low, high = points.min(axis=0), points.max(axis=0)
        size = photo.face_crop.shape[0]
        side = float(min(1.12 * (high - low).max(), size))
        left, top = np.clip((low + high - side) / 2, 0, size - side)
        return float(left), float(top), side

    def _overlay(self, photo: FittedPhoto, window: tuple[float, float, float]) -> U8:
        """The fitted skin's visible edges on the photo."""
        scale = 2
        size = _STYLE.tile * scale
        view = View(photo.intrinsics, photo.head_to_camera, *photo.face_crop.shape[1::-1])
        view = view.window(*window, size)
        visible, points = HeadRenderer.visible_triangles(self._head, photo.vertices, view)
        skin = [str(name) for name in self._head.part_names].index("skin")
        triangles = self._head.triangles[visible]
        triangles = triangles[self._head.triangle_part[visible] == skin]
        edges = np.concatenate([triangles[:, [0, 1]], triangles[:, [1, 2]], triangles[:, [2, 0]]])
        edges = np.unique(np.sort(edges, axis=1), axis=0)
        lines = Image.new("L", (size, size), 0)
        draw = ImageDraw.Draw(lines)
        for x0, y0, x1, y1 in points[edges].reshape(-1, 4).tolist():
            draw.line((x0, y0, x1, y1), fill=150)
        mask = lines.resize((_STYLE.tile, _STYLE.tile), Image.Resampling.BOX)
        picture = Image.fromarray(_cut(photo.face_crop, window))
        picture.paste((120, 235, 255), (0, 0), mask)
        return np.asarray(picture)


#: How much of the neck is left out below, metres: its open border is slanted.
_NECK_BORDER: Final = 0.018


def _portrait(neutral_vertices: Floats, yaw: float) -> View:
    """Head and neck fill the picture, whatever the head's size."""
    height = neutral_vertices[:, 1]
    top, bottom = float(height.max()), float(height.min()) + _NECK_BORDER
    span = 1.03 * (top - bottom)
    return View.turned(yaw, size=_STYLE.tile, span=span, pivot=(0.0, top - 0.42 * span, -0.055))


def _softened(head: HeadModel, occlusion: Floats) -> Floats:
    """Strong inside the mouth; half on the skin, where the photo's own shadows are in the texture."""
    mouth = mouth_strength(head)
    strength = np.where(mouth > 0, mouth, np.float32(0.5))
    softened: Floats = 1 - strength * (1 - occlusion)
    return softened


_BACKDROP: Final = {id(EVENING): (0.075, 0.062, 0.058), id(STAGE): (0.03, 0.03, 0.045)}


def decode_texture(texture: bytes, largest: int) -> U8:
    """sRGB u8 [S, S, 3] of an encoded texture, scaled down to at most ``largest`` texels per side.

    Raises:
        FacewrightError: INTERNAL when it cannot be decoded.
    """
    try:
        with Image.open(io.BytesIO(texture)) as picture:
            picture.draft("RGB", (largest, largest))
            decoded = picture.convert("RGB")
    except (OSError, SyntaxError) as error:
        raise FacewrightError(
            ErrorCode.INTERNAL,
            f"the texture ({len(texture)} bytes) cannot be decoded: {error}",
            "report this with the server's log: an earlier stage made it",
        ) from error
    if decoded.width > largest:
        decoded = decoded.reduce(decoded.width // largest)
    return np.asarray(decoded)


def _cut(crop: U8, window: tuple[float, float, float]) -> U8:
    left, top, side = window
    box = (left, top, left + side, top + side)
    picture = Image.fromarray(crop)
    return np.asarray(picture.resize((_STYLE.tile, _STYLE.tile), Image.Resampling.BOX, box))

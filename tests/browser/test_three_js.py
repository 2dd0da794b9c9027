"""The avatar in three.js, in headless Chromium: its morphs, joints and levels do what their names say.

Goldens are pictures of the painted open head. ``FACEWRIGHT_WRITE_GOLDENS=1 python -m pytest tests/browser``
writes them again: look at them before committing.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from facewright.asset.head_meshes import MeshOptions
from facewright.asset.visemes import VISEMES
from facewright.core.assets import asset_path
from facewright.head.head_model import HeadModel
from tests.browser.chromium import HERE, Drawn, draw_avatar, find_chromium
from tests.browser.picture_difference import difference, picture
from tests.support.painted_avatar import encoded, painted_glb, painted_texture

GOLDENS = HERE / "goldens"
POSES: dict[str, dict[str, Any]] = {
    "neutral": {},
    "jawOpen": {"morphs": {"jawOpen": 0.8}},
    "eyeBlinkLeft": {"morphs": {"eyeBlinkLeft": 1.0}},
    "smile": {"morphs": {"mouthSmileLeft": 0.9, "mouthSmileRight": 0.9}},
    "viseme_O": {"morphs": {"viseme_O": 1.0}},
    "look_left": {"morphs": {"eyeLookOutLeft": 1.0, "eyeLookInRight": 1.0}},
    "head_turned": {"bones": {"head": [0.0, 0.5, 0.0]}},
    "level_1": {"level": 1},
    "level_2": {"level": 2},
}
#: Just noticeable is 2. A renderer may draw edges a little differently; a missing morph shows at once.
MEAN_LIMIT, WORST_LIMIT = 0.5, 10.0

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(
        find_chromium() is None, reason="no Chromium: sudo apt-get install chromium-headless-shell"
    ),
    pytest.mark.skipif(
        not (HERE / "node_modules/three").is_dir(),
        reason="no three.js: npm --prefix tests/browser ci --ignore-scripts",
    ),
]


@pytest.fixture(scope="module")
def head() -> HeadModel:
    return HeadModel.load(asset_path("head.npz"))


@pytest.fixture(scope="module")
def drawn(head: HeadModel) -> Drawn:
    chromium = find_chromium()
    assert chromium is not None
    # PNG: JPEG decoders of other Chromium versions may round differently.
    glb = painted_glb(head, MeshOptions(lods=2), encoded(painted_texture(head), "png"))
    return draw_avatar(chromium, glb, POSES)


def _golden(name: str) -> Path:
    return GOLDENS / f"{name}.png"


def test_three_js_finds_meshes_morphs_bones_and_texture(drawn: Drawn, head: HeadModel) -> None:
    meshes = drawn.facts["meshes"]
    assert set(meshes) == {"head_mesh", "eyes_mesh", "teeth_mesh", "tongue_mesh"}
    assert meshes["head_mesh"] == [str(name) for name in head.expression_names] + list(VISEMES)
    assert {name for name in meshes["eyes_mesh"] if not name.startswith("viseme")} >= {
        f"eyeLook{way}{side}" for way in ("In", "Out", "Up", "Down") for side in ("Left", "Right")
    }
    assert "jawOpen" in meshes["teeth_mesh"]
    assert "tongueOut" in meshes["tongue_mesh"]
    assert drawn.facts["bones"] == [str(name) for name in head.joint_names]
    assert drawn.facts["texture"] == [512] * 4


@pytest.mark.parametrize("name", POSES)
def test_pictures_look_like_the_goldens(drawn: Drawn, name: str) -> None:
    found = picture(drawn.pictures[name])
    if os.environ.get("FACEWRIGHT_WRITE_GOLDENS"):
        GOLDENS.mkdir(exist_ok=True)
        Image.fromarray(found).save(_golden(name), optimize=True)
    seen = difference(found, picture(_golden(name).read_bytes()))
    hint = "if the head model was changed on purpose, write the goldens again and look at them"
    assert seen.mean < MEAN_LIMIT, f"{name} differs from its golden by {seen.mean:.2f} on average: {hint}"
    assert seen.worst < WORST_LIMIT, f"{name} differs from its golden by {seen.worst:.1f} somewhere: {hint}"


def test_the_comparison_tells_the_poses_apart(drawn: Drawn) -> None:
    """No pose passes for another one: the limits are tight enough to notice a morph that does nothing."""
    names = [name for name in POSES if not name.startswith("level")]
    for name in names:
        for other in names:
            if name != other:
                seen = difference(picture(drawn.pictures[name]), picture(_golden(other).read_bytes()))
                assert seen.worst > WORST_LIMIT or seen.mean > MEAN_LIMIT, f"{name} passes for {other}"


def _change(drawn: Drawn, name: str) -> np.ndarray[Any, np.dtype[np.float64]]:
    return difference(picture(drawn.pictures[name]), picture(drawn.pictures["neutral"])).where


def test_blink_closes_the_subjects_left_eye_only(drawn: Drawn) -> None:
    change = _change(drawn, "eyeBlinkLeft")
    middle = change.shape[1] // 2
    assert change[:, middle:].max() > 20  # the subject's left is on the picture's right
    assert change[:, : middle - 2].max() < 1


def test_jaw_and_smile_move_the_lower_face_only(drawn: Drawn) -> None:
    for name in ("jawOpen", "smile"):
        change = _change(drawn, name)
        assert change[change.shape[0] // 2 :].max() > 20
        # an opening jaw draws the temples
        assert change[: int(change.shape[0] * 0.25)].max() < 1, name


def test_lower_levels_look_alike_and_have_fewer_triangles(drawn: Drawn, head: HeadModel) -> None:
    triangles = [drawn.facts[f"triangles {name}"] for name in ("neutral", "level_1", "level_2")]
    assert triangles == [len(head.triangles), len(head.lod1_uv_triangles), len(head.lod2_uv_triangles)]
    assert triangles[0] > 1.5 * triangles[1] > 3 * triangles[2]
    assert _change(drawn, "level_1").mean() < 0.8
    assert _change(drawn, "level_2").mean() < 2.0

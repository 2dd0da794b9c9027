"""Khronos' validator finds no errors and no warnings in any file the options can ask for."""

from __future__ import annotations

import json
import shutil
import subprocess
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from facewright.asset.gltf import write_glb
from facewright.asset.head_meshes import MeshOptions, head_meshes, head_skeleton
from facewright.core.assets import asset_path
from facewright.head.head_model import HeadModel
from tests.browser.chromium import HERE
from tests.support.painted_avatar import avatar_parts, encoded, painted_glb
from tests.support.spectacles import spectacles
from tests.support.synthetic_head import save_synthetic_head

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(shutil.which("node") is None, reason="no Node: sudo apt-get install nodejs npm"),
    pytest.mark.skipif(
        not (HERE / "node_modules/gltf-validator").is_dir(),
        reason="no gltf-validator: npm --prefix tests/browser ci --ignore-scripts",
    ),
]


def _validate(files: list[Path]) -> dict[str, dict[str, Any]]:
    """The validator's report of each file, by file name."""
    found = subprocess.run(
        ["node", "validate.mjs", *map(str, files)], cwd=HERE, capture_output=True, check=True, timeout=120
    )
    return {path.name: report for path, report in zip(files, json.loads(found.stdout), strict=True)}


def _complaints(report: dict[str, Any]) -> list[Any]:
    return [message for message in report["issues"]["messages"] if message["severity"] <= 1]


def test_no_option_gives_an_error_or_a_warning(tmp_path: Path) -> None:
    head = HeadModel.load(asset_path("head.npz"))
    rng = np.random.default_rng(5)
    pixels = rng.integers(0, 255, (64, 64, 3), dtype=np.uint8)
    files = []
    for lods, visemes in product((0, 1, 2), (False, True)):
        meshes = head_meshes(head, MeshOptions(lods, visemes))
        for texture_format in ("jpeg", "png", "webp"):
            someone = head.neutral(rng.standard_normal(160))
            parts = avatar_parts(head, meshes, someone, encoded(pixels, texture_format))
            asset = {"generator": "Facewright tests", "extras": {"pipeline": "avatar_twin"}}
            path = tmp_path / f"{lods}-{visemes}-{texture_format}.glb"
            path.write_bytes(write_glb(parts, head_skeleton(head, someone), asset))
            files.append(path)
    reports = _validate(files)
    assert len(reports) == 18
    for name, report in reports.items():
        assert not _complaints(report), name
        assert report["info"]["hasMorphTargets"], name
        assert report["info"]["hasSkins"], name
        assert report["info"]["hasTextures"], name


def test_a_head_without_mouth_parts_is_valid_too(tmp_path: Path) -> None:
    head = HeadModel.load(save_synthetic_head(tmp_path / "head.npz"))
    path = tmp_path / "synthetic.glb"
    texture = encoded(np.zeros((16, 16, 3), np.uint8), "webp")
    path.write_bytes(painted_glb(head, MeshOptions(lods=2), texture))
    assert not _complaints(_validate([path])["synthetic.glb"])


def test_a_part_with_materials_of_its_own_is_valid_too(tmp_path: Path) -> None:
    head = HeadModel.load(save_synthetic_head(tmp_path / "head.npz"))
    texture = encoded(np.zeros((16, 16, 3), np.uint8), "webp")
    parts = avatar_parts(head, head_meshes(head, MeshOptions(lods=2)), head.vertices_mean, texture)
    skeleton = head_skeleton(head, head.vertices_mean)
    worn, lying = spectacles(), spectacles(skinned=False)
    files = {
        "worn": write_glb([*parts, worn], skeleton, {}),
        "first": write_glb([worn, *parts], skeleton, {}),
        "unskinned": write_glb([*parts, lying], skeleton, {}),
        "alone": write_glb([lying], None, {}),
    }
    paths = [tmp_path / f"{name}.glb" for name in files]
    for path, glb in zip(paths, files.values(), strict=True):
        path.write_bytes(glb)
    for name, report in _validate(paths).items():
        assert not _complaints(report), name
        assert report["info"]["materialCount"] == (1 if name == "alone.glb" else 3)


def test_the_validator_does_complain(tmp_path: Path) -> None:
    """A file with a wrong bound is caught: silence above means something."""
    head = HeadModel.load(save_synthetic_head(tmp_path / "head.npz"))
    glb = painted_glb(head, MeshOptions(), encoded(np.zeros((16, 16, 3), np.uint8)))
    path = tmp_path / "broken.glb"
    path.write_bytes(glb.replace(b'"VEC2"', b'"VEC3"'))
    assert _complaints(_validate([path])["broken.glb"])

"""The viewer: its server gives out one avatar and three.js only, and its page shows the avatar."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from http.client import HTTPConnection
from pathlib import Path

import pytest

from facewright.gltf_layout import LayoutOptions
from facewright.head_model import HeadModel
from facewright.open_assets_location import asset_path
from tests.browser.chromium import HERE, find_chromium
from tests.painted_avatar import encoded, painted_glb, painted_texture

ROOT = HERE.parents[1]

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(
        not (HERE / "node_modules/three").is_dir(),
        reason="no three.js: npm --prefix tests/browser ci --ignore-scripts",
    ),
]


@pytest.fixture(scope="module")
def port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    avatar = tmp_path_factory.mktemp("avatar") / "me.glb"
    head = HeadModel.load(asset_path("head.npz"))
    avatar.write_bytes(painted_glb(head, LayoutOptions(lods=2), encoded(painted_texture(head, 256))))
    server = subprocess.Popen(
        [sys.executable, ROOT / "scripts/view", avatar],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "BROWSER": "true"},
    )
    assert server.stdout is not None
    said = server.stdout.readline()
    assert said.startswith("me.glb at http://127.0.0.1:")
    yield int(said.split("127.0.0.1:")[1].split("/")[0])
    server.terminate()
    server.wait(10)
    server.stdout.close()


def _status(port: int, path: str) -> int:
    connection = HTTPConnection("127.0.0.1", port, timeout=10)
    connection.request("GET", path)
    status = connection.getresponse().status
    connection.close()
    return status


def test_only_the_page_the_avatar_and_three_js_are_served(port: int) -> None:
    for path in ("/", "/avatar.glb", "/node_modules/three/build/three.module.js"):
        assert _status(port, path) == 200, path
    for path in (
        "/pyproject.toml",
        "/node_modules/",
        "/node_modules/../chromium.py",
        "/node_modules/../../../pyproject.toml",
        "//etc/passwd",
        "/avatar.glb/../../../etc/passwd",
    ):
        assert _status(port, path) == 404, path


@pytest.mark.skipif(
    find_chromium() is None, reason="no Chromium: sudo apt-get install chromium-headless-shell"
)
def test_the_page_shows_the_avatar_with_all_its_sliders(port: int, tmp_path: Path) -> None:
    chromium = find_chromium()
    assert chromium is not None
    page = subprocess.run(
        [
            chromium,
            "--headless",
            "--no-sandbox",
            "--use-angle=swiftshader",
            "--enable-unsafe-swiftshader",
            "--disable-dev-shm-usage",
            "--window-size=480,320",
            "--virtual-time-budget=3000",
            f"--user-data-dir={tmp_path}",
            "--dump-dom",
            f"http://127.0.0.1:{port}/",
        ],
        capture_output=True,
        text=True,
        timeout=120,
    ).stdout
    assert 'data-shown="yes"' in page
    assert page.count('type="range"') == 67
    assert page.count("triangles</button>") == 3
    assert "Facewright tests" in page


def test_without_an_avatar_it_says_how_to_make_one(tmp_path: Path) -> None:
    found = subprocess.run(
        [sys.executable, ROOT / "scripts/view", tmp_path / "none.glb"],
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert found.returncode == 1
    assert "make demo" in found.stderr

"""The viewer: its server gives out one avatar and three.js only, and its page shows the avatar."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import pytest

from facewright.asset.head_meshes import MeshOptions
from facewright.core.assets import asset_path
from facewright.head.head_model import HeadModel
from tests.browser.chromium import HERE, find_chromium
from tests.support.painted_avatar import encoded, painted_glb, painted_texture

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
    avatar.write_bytes(painted_glb(head, MeshOptions(lods=2), encoded(painted_texture(head, 256))))
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


def _page_once_shown(chromium: str, address: str, profile: Path) -> str:
    """The page's elements as soon as it says that the avatar is shown, however long that takes here.

    Asked by the DevTools protocol over a pipe, which Chromium reads as descriptor 3 and writes as 4.
    """
    shown = """new Promise((done) => {
        const look = () => document.body?.dataset.shown
            ? done(document.documentElement.outerHTML) : setTimeout(look, 100);
        look();
    })"""
    command = [
        *("sh", "-c", 'exec "$@" 3<&0 4>&1 </dev/null >/dev/null', "sh", chromium),
        "--headless",
        "--no-sandbox",
        "--use-angle=swiftshader",
        "--enable-unsafe-swiftshader",
        "--disable-dev-shm-usage",
        "--window-size=480,320",
        f"--user-data-dir={profile}",
        "--remote-debugging-pipe",
    ]
    with subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        start_new_session=True,  # Chromium is several processes
    ) as browser:
        deadline = threading.Timer(240, os.killpg, (browser.pid, signal.SIGKILL))
        deadline.start()
        try:
            target = _ask(browser, "Target.createTarget", url="about:blank")["targetId"]
            session = _ask(browser, "Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
            _ask(browser, "Page.navigate", session, url=address)
            answer = _ask(browser, "Runtime.evaluate", session, expression=shown, awaitPromise=True)
            return str(answer["result"]["value"])
        finally:
            deadline.cancel()
            os.killpg(browser.pid, signal.SIGKILL)


def _ask(
    browser: subprocess.Popen[bytes], method: str, session: str | None = None, **parameters: Any
) -> dict[str, Any]:
    """The result of a command of the DevTools protocol; events before it are passed over."""
    assert browser.stdin is not None
    assert browser.stdout is not None
    request = {"id": 1, "method": method, "params": parameters}
    browser.stdin.write(json.dumps(request | ({"sessionId": session} if session else {})).encode() + b"\0")
    browser.stdin.flush()
    said = bytearray()
    while byte := browser.stdout.read(1):
        if byte != b"\0":
            said += byte
            continue
        answer = json.loads(said)
        if answer.get("id") == 1:
            assert "result" in answer, answer
            return dict(answer["result"])
        said.clear()
    raise AssertionError(f"Chromium ended, or was ended after 240 s, before it answered {method}")


@pytest.mark.skipif(
    find_chromium() is None, reason="no Chromium: sudo apt-get install chromium-headless-shell"
)
def test_the_page_shows_the_avatar_with_all_its_sliders(port: int, tmp_path: Path) -> None:
    chromium = find_chromium()
    assert chromium is not None
    page = _page_once_shown(chromium, f"http://127.0.0.1:{port}/", tmp_path)
    assert 'data-shown="yes"' in page
    assert page.count('type="range"') == 67
    assert page.count("triangles</button>") == 3
    assert "Facewright tests" in page


def test_a_refusal_in_place_of_an_avatar_is_shown(tmp_path: Path) -> None:
    """curl writes it there."""
    (tmp_path / "me.glb").write_text('{"code": "NO_FACE", "message": "no face in the photo"}')
    command = [sys.executable, ROOT / "scripts/view", tmp_path / "me.glb"]
    found = subprocess.run(command, capture_output=True, text=True, timeout=30)
    assert found.returncode == 1
    assert "no face in the photo" in found.stderr


def test_without_an_avatar_it_says_how_to_make_one(tmp_path: Path) -> None:
    found = subprocess.run(
        [sys.executable, ROOT / "scripts/view", tmp_path / "none.glb"],
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert found.returncode == 1
    assert "make demo" in found.stderr

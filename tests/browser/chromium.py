"""Draws an avatar with three.js in headless Chromium (software WebGL) and returns the pictures."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import tempfile
import threading
from dataclasses import dataclass
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
_NAMES = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome")
#: A browser that looks up no name, reaches no machine but this one, and neither updates nor reports.
_ALONE = (
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
    "--no-proxy-server",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-domain-reliability",
    "--disable-sync",
    "--no-first-run",
)


def find_chromium() -> str | None:
    """The browser's path, or None."""
    return next((path for name in _NAMES if (path := shutil.which(name))), None)


@dataclass(frozen=True)
class Drawn:
    """PNG bytes by pose, and what three.js found in the file."""

    pictures: dict[str, bytes]
    facts: dict[str, Any]


class _Page(ThreadingHTTPServer):
    """Serves the page, three.js and one avatar; collects what the page posts back."""

    daemon_threads = True

    def __init__(self, avatar: bytes, poses: dict[str, Any]) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.files = {"/avatar.glb": avatar, "/poses.json": json.dumps(poses).encode()}
        self.pictures: dict[str, bytes] = {}
        self.facts: dict[str, Any] = {}
        self.failure = ""
        self.finished = threading.Event()


class _Handler(SimpleHTTPRequestHandler):
    server: _Page

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments, directory=str(HERE))

    def do_GET(self) -> None:
        content = self.server.files.get(self.path)
        if content is None:
            super().do_GET()
            return
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.path.startswith("/picture/"):
            self.server.pictures[self.path.removeprefix("/picture/")] = body
        elif self.path == "/done":
            self.server.facts = json.loads(body)
        else:
            self.server.failure = body.decode(errors="replace")
        self.send_response(204)
        self.end_headers()
        if not self.path.startswith("/picture/"):
            self.server.finished.set()

    def log_message(self, format: str, *arguments: Any) -> None:
        """Keeps the test's output clean; failures come through /failed."""


def draw_avatar(chromium: str, avatar: bytes, poses: dict[str, Any], timeout_s: float = 120.0) -> Drawn:
    """Pictures of ``avatar`` (GLB bytes) in each of ``poses``: name -> {morphs, bones, level}.

    Raises:
        RuntimeError: the page failed or did not finish in time.
    """
    with _Page(avatar, poses) as page, tempfile.TemporaryDirectory() as profile:
        threading.Thread(target=page.serve_forever, daemon=True).start()
        command = [
            chromium,
            "--headless",
            "--no-sandbox",
            "--use-angle=swiftshader",
            "--enable-unsafe-swiftshader",
            "--disable-dev-shm-usage",
            "--hide-scrollbars",
            "--force-device-scale-factor=1",
            f"--user-data-dir={profile}",
            "--remote-debugging-port=0",  # keeps the browser open until it is ended
            *_ALONE,
            f"http://127.0.0.1:{page.server_port}/draw_avatar.html",
        ]
        with tempfile.TemporaryFile() as log:
            # Of its own group: Debian's command is a shell script that waits for the browser.
            browser = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)
            try:
                finished = page.finished.wait(timeout_s)
            finally:
                os.killpg(browser.pid, signal.SIGTERM)
                browser.wait(20)
                page.shutdown()
            log.seek(0)
            said = log.read().decode(errors="replace")[-2000:]
        if page.failure or not finished:
            raise RuntimeError(f"{page.failure or f'no answer within {timeout_s:.0f} s'}\n{said}")
        return Drawn(page.pictures, page.facts)

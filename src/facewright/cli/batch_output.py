"""Where ``facewright create`` writes: whether it can, before any work, and each file whole."""

from __future__ import annotations

import json
from pathlib import Path

from facewright.cli.batch import FINISHED_FILE, Batch, code_path, preview_path, report_path
from facewright.cli.messages import reason
from facewright.core.errors import FacewrightError
from facewright_client import Avatar
from facewright_client._whole_file import (
    file_behind,
    make_folder_first,
    obstacle,
    remove_forgotten,
    try_folder,
    write_whole,
)
from facewright_client.contract import ErrorCode


def prepare_output(batch: Batch) -> None:
    """Make sure that a batch's files can be written, and remove what killed processes left beside them.

    Raises:
        FacewrightError: BAD_OPTION when nothing can be written there.
    """
    folder = batch.folder
    try:
        if batch.single:
            if not folder.is_dir():
                folder.stat()  # says whether it is not there, or cannot be seen
                raise _no_output(f"{folder} is no folder")
        elif folder.exists() and not folder.is_dir():
            what = obstacle(folder)
            raise _no_output(f"{folder} {f'{what}, and no folder' if what else 'is a file, not a folder'}")
        try_folder(_there(folder))
        remove_forgotten(folder)
        for folder in _led_to(batch):
            try_folder(folder)
            remove_forgotten(folder)
    except OSError as error:
        mend = make_folder_first(folder / FINISHED_FILE) if isinstance(error, FileNotFoundError) else ""
        raise _no_output(
            f"nothing can be written to {folder}: {reason(error)}", f"{mend}, or " if mend else ""
        ) from None


def _there(folder: Path) -> Path:
    """A folder, or the nearest above it that is there: it is made when the first avatar is."""
    while not folder.exists():
        if folder.is_symlink():
            folder.stat()  # says why
        folder = folder.parent
    return folder


def _led_to(batch: Batch) -> list[Path]:
    """The folders that links in a batch's folder lead to.

    Raises:
        FacewrightError: BAD_OPTION when a file to write cannot be one.
    """
    places: dict[Path, None] = {}
    leading: dict[Path, Path] = {}
    for path in batch.written():
        what = obstacle(path)
        if what:
            raise _no_output(f"{path} {what}", "remove it, or " if path != batch.output else "")
        file = file_behind(path)
        if leading.setdefault(file, path) != path:
            raise _no_output(f"{path} and {leading[file]} are the same file")
        if path.is_symlink():
            places[file.parent] = None
    return list(places)


def _no_output(what: str, mend: str = "") -> FacewrightError:
    return FacewrightError(ErrorCode.BAD_OPTION, what, f"{mend}give another --output: a .glb, or a folder")


def write_avatar(avatar: Avatar, target: Path, batch: Batch) -> list[Path]:
    """Each file whole or not at all; the avatar last, by whose presence one looks. Returns their paths."""
    if not batch.single:
        batch.folder.mkdir(parents=True, exist_ok=True)
    written = []
    if avatar.preview is not None:
        written.append(write_whole(preview_path(target), avatar.preview))
    if avatar.code is not None:
        written.append(write_whole(code_path(target), avatar.code))
    if batch.report:
        written.append(write_whole(report_path(target), json.dumps(avatar.report, indent=2).encode()))
    return [avatar.save(target), *written]

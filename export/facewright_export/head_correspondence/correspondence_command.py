"""``facewright export correspondence``: from the owner's files to ``<model>_to_open.npz`` and its picture."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from facewright.core.assets import asset_path
from facewright.head.correspondence import SUFFIX, file_sha256
from facewright.head.head_model import HeadModel
from facewright_export.checkpoints import CheckpointError
from facewright_export.head_correspondence.build_correspondence import build_correspondence
from facewright_export.head_correspondence.correspondence_error import CorrespondenceError
from facewright_export.head_correspondence.residual_picture import residual_picture
from facewright_export.head_correspondence.source_head import SourceHead, mesh_head
from facewright_export.open_head.head_file import write_head_file

_KINDS = (
    "give FLAME's generic_model.pkl and flame_static_embedding.pkl (and head_template.obj for its UV), "
    "BFM_model_front.mat, or a mesh.obj and a landmarks.json"
)


@dataclass(frozen=True)
class CorrespondenceRequest:
    """What the command was asked for.

    Args:
        files: of the source, in any order.
        output: the model repository that is served, at whose root the file is written.
        metres_per_unit: of a mesh; None to tell it by its size.
        check: build and judge, write nothing.
    """

    files: tuple[Path, ...]
    output: Path
    metres_per_unit: float | None = None
    check: bool = False


def export_correspondence(request: CorrespondenceRequest) -> int:
    """Build one correspondence; returns the exit status.

    Raises:
        CorrespondenceError: the files are none of a head, or the gate is missed.
        FacewrightError: the open head is not there.
    """
    head_file = asset_path("head.npz")
    try:
        source = source_of(request.files, request.metres_per_unit)
    except CheckpointError as error:
        raise CorrespondenceError(f"{error.what}: {error.seen}", error.mend) from error
    built = build_correspondence(HeadModel.load(head_file), file_sha256(head_file), source)
    residual = built.correspondence.metadata["residual_mm"]
    print(
        f"{source.name}: the open head lies {residual['median']:.3f} mm (median), "
        f"{residual['p95']:.3f} mm (95 %) and {residual['max']:.3f} mm (most) from its face"
    )
    if request.check:
        print("everything fits; nothing was written (--check)")
        return 0
    path = request.output / f"{source.name}{SUFFIX}"
    picture = path.with_suffix(".png")
    try:
        request.output.mkdir(parents=True, exist_ok=True)
        picture.write_bytes(residual_picture(built))
        write_head_file(built.correspondence.arrays(), path)
    except OSError as error:
        raise CorrespondenceError(
            f"{path} cannot be written: {error.strerror or error}", "free space, or give another --output"
        ) from error
    print(f"written to {path}, its picture to {picture}")
    return 0


def source_of(files: Sequence[Path], metres_per_unit: float | None = None) -> SourceHead:
    """The head that some files hold, told by their kinds.

    Raises:
        CorrespondenceError: they are no complete set of any kind.
        CheckpointError: as the readers.
    """
    missing = [path for path in files if not path.is_file()]
    if missing:
        raise CorrespondenceError(f"there is no file {missing[0]}", _KINDS)
    by_kind: dict[str, list[Path]] = {}
    for path in files:
        by_kind.setdefault(path.suffix.lower(), []).append(path)
    counts = {kind: len(paths) for kind, paths in by_kind.items()}
    if counts == {".obj": 1, ".json": 1}:
        return mesh_head(by_kind[".obj"][0], by_kind[".json"][0], metres_per_unit)
    if counts not in ({".mat": 1}, {".pkl": 2}, {".pkl": 2, ".obj": 1}):
        raise CorrespondenceError(f"{', '.join(path.name for path in files)} are no head", _KINDS)
    if metres_per_unit is not None:
        raise CorrespondenceError("the unit of this model is known", "leave out --metres-per-unit")
    # imports torch, which a mesh needs not
    from facewright_export.head_correspondence.model_sources import basel_head, flame_head

    if ".mat" in by_kind:
        return basel_head(by_kind[".mat"][0])
    # the model is the larger of the two by far
    embedding, model = sorted(by_kind[".pkl"], key=lambda path: path.stat().st_size)
    return flame_head(model, embedding, next(iter(by_kind.get(".obj", [])), None))

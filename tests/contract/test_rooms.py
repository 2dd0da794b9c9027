"""The rooms of src/facewright, and which of them may know which: read from every module's imports."""

from __future__ import annotations

import ast
import graphlib
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

ROOT: Final = Path(__file__).parents[2]
SOURCES: Final = ROOT / "src" / "facewright"
#: Low first: a room may import only rooms before it. Not each of them need exist yet.
ROOMS: Final = (
    "core",
    "pipelines",
    "code",
    "head",
    "engines",
    "photo",
    "render",
    "appearance",
    "refine",
    "hair",
    "fit",
    "texture",
    "asset",
    "adapter",
    "gateway",
    "server",
    "cli",
)
#: What each package may import of the project.
PACKAGES: Final = {
    ROOT / "src" / "facewright": {"facewright", "facewright_kernels", "facewright_client"},
    ROOT / "kernels" / "facewright_kernels": {"facewright_kernels"},
    ROOT / "client" / "facewright_client": {"facewright_client"},
}


def imported_modules(source: str, package: str) -> Iterator[str]:
    """Every module that a source imports, wherever the import stands: at the top, in a function, for types.

    Args:
        source: Python.
        package: dotted name of the package that the source lies in, for relative imports.
    """
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package.split(".")[: len(package.split(".")) + 1 - node.level] if node.level else []
            module = ".".join([*above, *([node.module] if node.module else [])])
            # `from facewright import hair` names a room as well as `import facewright.hair`.
            yield from (f"{module}.{alias.name}" for alias in node.names)


def _imports(path: Path, package: Path) -> Iterator[str]:
    folder = path.parent.relative_to(package.parent)
    return imported_modules(path.read_text(), ".".join(folder.parts))


def _rooms_imported() -> dict[tuple[str, str], list[str]]:
    """By (room, room that it imports), the lines to read: ``file imports module``."""
    arrows: dict[tuple[str, str], list[str]] = {}
    for path in sorted(SOURCES.rglob("*.py")):
        room, *inside = path.relative_to(SOURCES).parts
        for module in _imports(path, SOURCES):
            names = module.split(".")
            if names[0] == "facewright" and len(names) > 1 and inside and names[1] != room:
                arrows.setdefault((room, names[1]), []).append(
                    f"{path.relative_to(SOURCES)} imports {module}"
                )
    return arrows


ARROWS: Final = _rooms_imported()


@pytest.mark.parametrize(
    ("source", "modules"),
    [
        ("import facewright.hair.colour as c", ["facewright.hair.colour"]),
        ("from facewright.hair import colour, cover", ["facewright.hair.colour", "facewright.hair.cover"]),
        ("def f():\n    from facewright.cli import main", ["facewright.cli.main"]),
        ("if TYPE_CHECKING:\n    import facewright_export", ["facewright_export"]),
        ("from . import colour", ["facewright.texture.colour"]),
        ("from ..hair import colour", ["facewright.hair.colour"]),
        ("from .. import hair", ["facewright.hair"]),
        ("x = 'from facewright.cli import main'", []),
    ],
)
def test_every_way_to_import_is_read(source: str, modules: list[str]) -> None:
    assert list(imported_modules(source, "facewright.texture")) == modules


def test_every_file_is_in_a_room() -> None:
    # Python finds `python -m facewright` there and nowhere else.
    own = {"__init__.py", "__main__.py"}
    loose = sorted(path.name for path in SOURCES.glob("*.py") if path.name not in own)
    assert loose == []
    assert len(set(ROOMS)) == len(ROOMS)
    rooms = {path.parent.name for path in SOURCES.glob("*/*.py")}
    assert rooms <= set(ROOMS), f"rooms without a place in the order: {sorted(rooms - set(ROOMS))}"
    assert all((SOURCES / room / "__init__.py").is_file() for room in rooms)


def test_rooms_import_only_rooms_below_them() -> None:
    unknown = sorted({other for _, other in ARROWS} - set(ROOMS))
    assert unknown == []
    upward = [
        line
        for (room, other), lines in ARROWS.items()
        if ROOMS.index(other) > ROOMS.index(room)
        for line in lines
    ]
    assert upward == []


def test_no_circle_of_rooms() -> None:
    """Follows from the order, and is held apart from it: whoever changes the order must not lose this."""
    below = {room: {other for own, other in ARROWS if own == room} for room in ROOMS}
    assert any(below.values()), "no room imports another: the imports were not found"
    graphlib.TopologicalSorter(below).prepare()


@pytest.mark.parametrize("package", PACKAGES, ids=lambda package: package.name)
def test_packages_import_only_what_they_may(package: Path) -> None:
    """src and kernels run without the export package, kernels and client without src."""
    ours = {
        "facewright",
        "facewright_kernels",
        "facewright_client",
        "facewright_export",
        "benchmarks",
        "tests",
    }
    files = sorted(package.rglob("*.py"))
    assert files
    wrong = [
        f"{path.relative_to(ROOT)} imports {module}"
        for path in files
        for module in _imports(path, package)
        if module.split(".")[0] in ours - PACKAGES[package]
    ]
    assert wrong == []

"""Dependencies are pinned once, to the same versions everywhere, and their licences are listed; those between
our own packages point one way.
"""

from __future__ import annotations

import ast
import re
import tomllib
from pathlib import Path
from typing import Final

import pytest

ROOT: Final = Path(__file__).parents[2]

#: Each package of ours, and which of the others it may import.
_MAY_IMPORT: Final = {
    "client/facewright_client": set(),
    "kernels/facewright_kernels": set(),
    "src/facewright": {"facewright_client", "facewright_kernels"},
    "export/facewright_export": {"facewright", "facewright_client", "facewright_kernels"},
    "model_repository": {"facewright", "facewright_client"},
}


def _pins() -> dict[str, str]:
    """Versions by name of everything that pyproject.toml asks for, but our own packages."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras: dict[str, list[str]] = project["optional-dependencies"]
    asked = [*project["dependencies"], *(line for lines in extras.values() for line in lines)]
    pins = dict(line.split("==") for line in asked if not line.startswith("facewright"))
    assert len(pins) == len([line for line in asked if not line.startswith("facewright")]), "asked for twice"
    return pins


def test_constraints_repeat_the_pins() -> None:
    """Some extras are installed without the constraints, and are not among them."""
    constraints = dict(line.split("==") for line in (ROOT / "constraints.txt").read_text().splitlines())
    constraints = {name.lower().replace("_", "-"): version for name, version in constraints.items()}
    shared = {name: version for name, version in _pins().items() if name in constraints}
    assert shared == {name: constraints[name] for name in shared}
    assert {"cupy-cuda13x", "onnxruntime-gpu", "tensorrt-cu13"} <= shared.keys(), (
        "the doctor installs by them"
    )


def test_onnx_runtime_is_the_same_release_on_every_device() -> None:
    pins = _pins()
    assert pins["onnxruntime-gpu"] == pins["onnxruntime"]


def test_every_dependency_has_its_licence_listed() -> None:
    rows = re.findall(r"^\| ([^|]+) \|", (ROOT / "LICENSES.md").read_text(), flags=re.MULTILINE)
    listed = {name for row in rows for name in re.split(r"[ ,*]+", row.lower())}
    assert sorted(_pins().keys() - listed) == []


def _imported(path: Path) -> set[str]:
    """The packages that a file imports anywhere, lazily too, by their first names."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and not node.level:
            found.add(str(node.module).split(".")[0])
    return found


@pytest.mark.parametrize("package", _MAY_IMPORT)
def test_our_packages_depend_one_way(package: str) -> None:
    ours = {Path(name).name for name in _MAY_IMPORT} | {"benchmarks", "tests"}
    forbidden = ours - _MAY_IMPORT[package] - {Path(package).name}
    files = sorted((ROOT / package).rglob("*.py"))
    assert files
    wrong = {str(path.relative_to(ROOT)): sorted(_imported(path) & forbidden) for path in files}
    assert {path: names for path, names in wrong.items() if names} == {}

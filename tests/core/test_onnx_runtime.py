"""ONNX Runtime, wherever it is loaded, reports nothing to its maker."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from facewright.core.assets import asset_path

ROOT = Path(__file__).parents[2]
_FOLDERS = ("src", "kernels", "export", "client", "model_repository", "benchmarks", "tests", "scripts")


def test_one_file_loads_it() -> None:
    """Programs in strings count: they are run."""
    loads = re.compile(r"^\s*(?:import|from) onnxruntime\b", re.MULTILINE)
    files = [path for folder in _FOLDERS for path in (ROOT / folder).rglob("*") if path.is_file()]
    python = [path for path in files if path.suffix == ".py" or path.parent.name == "scripts"]
    found = [path for path in python if "node_modules" not in path.parts and loads.search(path.read_text())]
    assert [str(path.relative_to(ROOT)) for path in found] == ["src/facewright/core/onnx_runtime.py"]


@pytest.mark.parametrize(
    "load",
    [
        "from facewright.core.onnx_runtime import ort",
        # As polygraphy and torch do, in the environment that exports.
        "import facewright_export, importlib; ort = importlib.import_module('onnxruntime')",
    ],
)
@pytest.mark.parametrize("asked", [None, "0"])
def test_it_keeps_no_queue(load: str, asked: str | None, tmp_path: Path) -> None:
    """Without the variable a network that is loaded leaves a queue and an identity of the machine in the
    cache, also where an owner asked for that.
    """
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("ORT_", "XDG_"))}
    environment |= {"HOME": str(tmp_path), **({} if asked is None else {"ORT_DISABLE_TELEMETRY": asked})}
    network = asset_path("person_mask.onnx")
    program = f"{load}; ort.InferenceSession({str(network)!r}, providers=['CPUExecutionProvider'])"
    subprocess.run([sys.executable, "-c", program], env=environment, check=True, timeout=120)
    assert list(tmp_path.iterdir()) == []

"""Every TensorRT name that our code uses exists in the real bindings of 10.16 and 11.4.

The bindings come from the package index; TensorRT's own libraries do not (they are gigabytes, and need a GPU
to do anything), so the bindings are imported over stub libraries that this test compiles. What our code uses
is read from its syntax tree: `tensorrt.X.Y` directly, and `name.attribute` where `name` is annotated as a
`trt.Class`. It is a check of names and of what is callable, not a run.
"""

from __future__ import annotations

import ast
import json
import os
import shutil
import subprocess
import sys
import zipfile
from dataclasses import dataclass
from pathlib import Path

import pytest

from facewright.core.wheels import Wheel
from tests.support.pinned_wheel import wheel_or_skip

ROOT = Path(__file__).parents[2]
SOURCES = (
    ROOT / "src/facewright/engines/tensorrt_engine.py",
    ROOT / "export/facewright_export/tensorrt/plan_builder.py",
)
PYTHON = f"{sys.version_info.major}.{sys.version_info.minor}"
_SHA256 = {
    ("3.11", "10.16.1.11"): "f986d47980d042cc126506a9b84586e55ad13737a7a46826fe45457c04d66294",
    ("3.12", "10.16.1.11"): "2fb87ac24a5e5f42e43f283c16d1b661dc72ef18568fd847ce2080b7db9ca232",
    ("3.11", "11.4.0.106"): "d072ac2a095e2be749fefc847adfb25d5ebe70303401df62ede8fe67a59f27fc",
    ("3.12", "11.4.0.106"): "5fc7a6c412881f7212030893bd5531b1a0ff415c72c7678dfe4ead7a7765b38d",
}
VERSIONS = ("10.16.1.11", "11.4.0.106")

#: Entry points that the bindings look for when they are imported; none of them is called.
_ENTRY_POINTS = (
    *("createInferBuilder_INTERNAL", "createInferRefitter_INTERNAL", "createInferRuntime_INTERNAL"),
    *("getBuilderPluginRegistry", "getBuilderSafePluginRegistry", "getPluginRegistry", "getLogger"),
    *("getInferLibVersion", "initLibNvInferPlugins", "createNvOnnxParser_INTERNAL"),
    *("createNvOnnxParserRefitter_INTERNAL", "getNvOnnxParserVersion"),
)


@dataclass(frozen=True, order=True)
class Use:
    """`path` of the bindings as our code uses it.

    Args:
        path: such as ``IBuilderConfig.set_flag``.
        called: whether the code calls it.
    """

    path: str
    called: bool


class _Uses(ast.NodeVisitor):
    """Collects uses from one file. Annotated names hold for the whole file: a name has one type in it."""

    def __init__(self, tree: ast.Module) -> None:
        self.types: dict[str, str] = {}
        self.found: set[Use] = set()
        for node in ast.walk(tree):
            if isinstance(node, ast.AnnAssign):
                self._learn(ast.unparse(node.target), node.annotation)
            elif isinstance(node, ast.arg) and node.annotation is not None:
                self._learn(node.arg, node.annotation)
        self.visit(tree)

    def _learn(self, name: str, annotation: ast.expr) -> None:
        kinds = {
            node.attr
            for node in ast.walk(annotation)
            if isinstance(node, ast.Attribute) and ast.unparse(node.value) == "trt"
        }
        if kinds:
            (kind,) = kinds
            assert self.types.get(name, kind) == kind, f"{name} has two types"
            self.types[name] = kind
            self.found.add(Use(kind, called=False))

    def visit_Call(self, node: ast.Call) -> None:
        self._take(node.func, called=True)
        self.generic_visit(node)

    def visit_Attribute(self, node: ast.Attribute) -> None:
        self._take(node, called=False)
        self.generic_visit(node)

    def _take(self, node: ast.expr, called: bool) -> None:
        if not isinstance(node, ast.Attribute):
            return
        path = ast.unparse(node)
        owner = ast.unparse(node.value)
        if path.startswith("tensorrt."):
            self.found.add(Use(path.removeprefix("tensorrt."), called))
        elif owner in self.types:
            self.found.add(Use(f"{self.types[owner]}.{node.attr}", called))


def uses() -> list[Use]:
    """Everything of TensorRT that the product uses; what is called somewhere counts as called."""
    found = set().union(*(_Uses(ast.parse(path.read_text())).found for path in SOURCES))
    return sorted(use for use in found if use.called or Use(use.path, called=True) not in found)


@pytest.fixture(scope="module", params=VERSIONS)
def bindings(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The environment in which one version's bindings can be imported, over stub libraries."""
    version: str = request.param
    if shutil.which("gcc") is None:
        pytest.skip("gcc is missing: the stub libraries cannot be compiled")
    filename = f"tensorrt_cu13_bindings-{version}-cp{PYTHON.replace('.', '')}-none-manylinux_2_28_x86_64.whl"
    options = ("--python-version", PYTHON, "--platform", "manylinux_2_28_x86_64")
    wheel = Wheel("tensorrt-cu13-bindings", version, filename, _SHA256[PYTHON, version], options)
    path = wheel_or_skip(wheel)
    folder = tmp_path_factory.mktemp("tensorrt")
    with zipfile.ZipFile(path) as archive:
        archive.extractall(folder)
    source = folder / "stub.c"
    source.write_text("".join(f"void *{name}(void) {{ return 0; }}\n" for name in _ENTRY_POINTS))
    major = version.split(".")[0]
    for library in ("nvinfer", "nvinfer_plugin", "nvonnxparser"):
        soname = f"lib{library}.so.{major}"
        command = [
            "gcc",
            "-shared",
            "-fPIC",
            "-o",
            str(folder / soname),
            f"-Wl,-soname,{soname}",
            str(source),
        ]
        subprocess.run(command, check=True)
    return {**os.environ, "LD_LIBRARY_PATH": str(folder), "PYTHONPATH": str(folder), "VERSION": version}


_EXAMINE = """
import json, sys
import tensorrt_bindings as bindings
wrong = []
for path, called in json.load(sys.stdin):
    found = bindings
    for part in path.split("."):
        found = getattr(found, part, None)
        if found is None:
            wrong.append(f"{path} is missing")
            break
    else:
        if called and not callable(found):
            wrong.append(f"{path} is no method")
        if not called and callable(found) and not isinstance(found, type) and "." in path:
            wrong.append(f"{path} is a method, and not called")
json.dump({"version": bindings.__version__, "wrong": wrong}, sys.stdout)
"""


def _examine(environment: dict[str, str], wanted: list[tuple[str, bool]]) -> dict[str, object]:
    done = subprocess.run(
        [sys.executable, "-c", _EXAMINE],
        input=json.dumps(wanted),
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    said: dict[str, object] = json.loads(done.stdout)
    return said


def test_what_we_use_is_there(bindings: dict[str, str]) -> None:
    said = _examine(bindings, [(use.path, use.called) for use in uses()])
    assert said == {"version": bindings["VERSION"], "wrong": []}


def test_the_check_can_fail(bindings: dict[str, str]) -> None:
    """Names of older TensorRTs, a property that is called, and a method that is not."""
    wanted = [
        ("IExecutionContext.execute_async_v2", True),
        ("ICudaEngine.num_io_tensors", True),
        ("Builder.create_network", False),
        ("Builder.create_network", True),
    ]
    assert _examine(bindings, wanted)["wrong"] == [
        "IExecutionContext.execute_async_v2 is missing",
        "ICudaEngine.num_io_tensors is no method",
        "Builder.create_network is a method, and not called",
    ]


_RUN_WITHOUT_GPU = """
import json, sys
import tensorrt_bindings
sys.modules["tensorrt"] = tensorrt_bindings
from facewright.engines.tensorrt_engine import _numpy_type
from facewright_export.tensorrt import plan_builder
tensorrt = plan_builder.import_tensorrt()
told = []
monitor = plan_builder._progress_monitor(tensorrt, lambda share, what: told.append((share, what)))
monitor.phase_start("Building", None, 4)
monitor.phase_start("Tactics", "Building", 2)
goes_on = [monitor.step_complete("Tactics", 0), monitor.step_complete("Building", 1)]
monitor.phase_finish("Building")
types = [_numpy_type(tensorrt, getattr(tensorrt.DataType, name)).name for name in ("HALF", "UINT8", "INT64")]
json.dump({"told": told, "goes_on": goes_on, "types": types}, sys.stdout)
"""


def test_what_needs_no_gpu_runs_on_the_real_bindings(bindings: dict[str, str]) -> None:
    """The progress monitor derives from a class of the bindings, and tensor types are looked up in them."""
    done = subprocess.run(
        [sys.executable, "-c", _RUN_WITHOUT_GPU], env=bindings, capture_output=True, text=True, check=True
    )
    assert json.loads(done.stdout) == {
        "told": [[0.5, "Building"]],
        "goes_on": [True, True],
        "types": ["float16", "uint8", "int64"],
    }


def test_uses_are_read_from_the_sources() -> None:
    """A sample of each kind, so that an empty or half-blind reading of the sources is noticed."""
    found = {use.path for use in uses()}
    assert {
        "NetworkDefinitionCreationFlag.STRONGLY_TYPED",
        "BuilderFlag.STRIP_PLAN",
        "IBuilderConfig.max_aux_streams",
        "IOptimizationProfile.set_shape",
        "IExecutionContext.execute_async_v3",
        "ICudaEngine.get_tensor_profile_shape",
        "OnnxParserRefitter.refit_from_file",
        "IProgressMonitor",
        "ParserError.node_name",
    } <= found
    assert len(found) > 50
    assert not {path for path in found if "FP16" in path or "EXPLICIT_BATCH" in path}

"""ONNX Runtime's real CUDA provider accepts our graphs for capture, and does in a run what `OnnxEngine` says.

There is no GPU: the provider of the wheel ``onnxruntime-gpu`` is loaded over stub CUDA libraries that this
test compiles, which write down every call (``stub_cuda.c``). Which layers have a CUDA kernel, when a graph is
captured and what a run waits for are the provider's own doing; numbers are not computed. Slow, as the wheel
has hundreds of megabytes.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from onnx import TensorProto, helper, save_model

from facewright.core.onnx_runtime import ort
from facewright.core.wheels import Wheel
from facewright.refine.network_files import refinement_files, refinement_folder
from tests.support.pinned_wheel import wheel_or_skip

pytestmark = pytest.mark.slow

PYTHON = f"{sys.version_info.major}.{sys.version_info.minor}"
VERSION = "1.31.1"
_SHA256 = {
    "3.11": "e26c475fe361b2015f45b4b824bd13f0bb20204e59b62814e6f0acd5f3d491a6",
    "3.12": "05d548956197b9d01f59b625de740e0d6be3593f874e241a12dc0362650ecdf7",
}
_PROVIDER = "onnxruntime/capi/libonnxruntime_providers_cuda.so"


@pytest.fixture(scope="module")
def gpu(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The environment in which ONNX Runtime finds a GPU that computes nothing."""
    if shutil.which("gcc") is None or shutil.which("nm") is None:
        pytest.skip("gcc or nm is missing: the stub libraries cannot be compiled")
    tag = f"cp{PYTHON.replace('.', '')}"
    platform = "manylinux_2_28_x86_64"
    filename = f"onnxruntime_gpu-{VERSION}-{tag}-{tag}-{platform}.whl"
    options = ("--python-version", PYTHON, "--platform", platform)
    wheel = Wheel("onnxruntime-gpu", VERSION, filename, _SHA256[PYTHON], options)
    path = wheel_or_skip(wheel)
    folder = tmp_path_factory.mktemp("gpu")
    with zipfile.ZipFile(path) as archive:
        wanted = [name for name in archive.namelist() if not re.search("transformers|tensorrt", name)]
        archive.extractall(folder, wanted)
    _compile_stubs(folder)
    paths = [str(folder), os.environ.get("PYTHONPATH", "")]
    log = str(folder / "calls")
    return {
        **os.environ,
        "LD_LIBRARY_PATH": str(folder),
        "PYTHONPATH": os.pathsep.join(filter(None, paths)),
        "STUB_CUDA_LOG": log,
    }


def _compile_stubs(folder: Path) -> None:
    """CUDA's libraries as the provider names them, all in the first; the rest are empty."""
    provider = folder / _PROVIDER
    listed = subprocess.run(["nm", "-D", "-u", provider], check=True, capture_output=True, text=True).stdout
    needed = set(re.findall(r" U ((?:__cuda|cuda|cublas|cu[A-Z])\w*)", listed))
    written = (Path(__file__).parent / "stub_cuda.c").read_text()
    missing = sorted(name for name in needed if not re.search(rf"\b{name}\b", written))
    stubs = "".join(f'int {name}(void) {{ stub_log("{name}"); return 0; }}\n' for name in missing)
    dynamic = subprocess.run(["objdump", "-p", provider], check=True, capture_output=True, text=True).stdout
    libraries = re.findall(r"NEEDED\s+(lib(?:cu)\S+)", dynamic)
    (folder / "stubs.c").write_text(f"{written}\n{stubs}")
    (folder / "empty.c").write_text("int facewright_stub;\n")
    for library in libraries:
        source = "stubs.c" if library.startswith("libcudart") else "empty.c"
        command = ["gcc", "-shared", "-fPIC", "-w", f"-Wl,-soname,{library}", "-o", library, source]
        subprocess.run(command, check=True, cwd=folder)


def _run(program: str, environment: dict[str, str], *arguments: str) -> str:
    command = [sys.executable, "-c", program, *arguments]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


_OPEN = """
import sys
from pathlib import Path
from facewright.engines.onnx_engine import OnnxEngine
for path in sys.argv[1:]:
    print(list(OnnxEngine(Path(path), "cuda", stream=4096).outputs)[0])
"""


_OPEN_AND_FAIL = """
import sys
from pathlib import Path
from facewright.engines.onnx_engine import OnnxEngine
from facewright.core.errors import FacewrightError
try:
    OnnxEngine(Path(sys.argv[1]), "cuda", stream=4096)
except FacewrightError as error:
    print(error)
"""


def test_the_version_is_the_one_that_serves() -> None:
    assert ort.__version__ == VERSION


def test_every_layer_of_the_open_networks_can_be_captured(gpu: dict[str, str]) -> None:
    files = refinement_files(refinement_folder())
    first_outputs = _run(_OPEN, gpu, *map(str, files.values())).split()
    assert first_outputs == ["UV_MAPS", "GRAD_W_PLUS", "TARGET_0", "LOSS"]


def test_a_layer_without_a_cuda_kernel_is_refused(gpu: dict[str, str], tmp_path: Path) -> None:
    _save(tmp_path / "network.onnx", "Acosh")
    said = _run(_OPEN_AND_FAIL, gpu, str(tmp_path / "network.onnx"))
    assert "have not been partitioned to the CUDAExecutionProvider" in said
    assert "on the CPU it would run Acosh" in said


_BIND = """
import json, os, sys, threading
from pathlib import Path
from types import SimpleNamespace
import numpy as np
from facewright.engines.onnx_engine import OnnxEngine

log = Path(os.environ["STUB_CUDA_LOG"])
kept, calls = [], {}

def buffers(batch):
    arrays = {name: np.zeros((batch, 3), np.float32) for name in ("A", "B")}
    kept.append(arrays)
    parts = ("dtype", "shape", "ndim", "flags", "strides")
    return {
        name: SimpleNamespace(
            **{part: getattr(array, part) for part in parts}, data=SimpleNamespace(ptr=array.ctypes.data)
        )
        for name, array in arrays.items()
    }

def record(name, run):
    log.unlink(missing_ok=True)
    run()
    calls[name] = log.read_text().split() if log.exists() else []

engine = OnnxEngine(Path(sys.argv[1]), "cuda", stream=4096)
two = buffers(2)
run, other = engine.bind(two), engine.bind(buffers(5))
record("first", run)
record("second", run)
record("other batch", other)
record("first batch again", run)
record("same buffers bound again", engine.bind(two))
thread = threading.Thread(target=run)
record("another thread", lambda: (thread.start(), thread.join()))
record("host arrays", lambda: engine.run({"A": np.zeros((2, 3), np.float32)}))
record("without a stream", OnnxEngine(Path(sys.argv[1]), "cuda").bind(two))
print(json.dumps(calls))
"""


def test_a_binding_is_captured_once_and_then_launched_without_waiting(
    gpu: dict[str, str], tmp_path: Path
) -> None:
    _save(tmp_path / "network.onnx", "Tanh")
    calls: dict[str, list[str]] = json.loads(_run(_BIND, gpu, str(tmp_path / "network.onnx")))
    launch = ["cudaGraphLaunch"]
    for name in ("first", "other batch"):
        captured = calls[name][calls[name].index("cudaStreamBeginCapture") :]
        assert captured[-4:] == [
            "cudaStreamEndCapture",
            "cudaGraphInstantiate",
            "cudaGraphDestroy",
            "cudaGraphLaunch",
        ]
        assert not {"cudaMalloc", "cudaFree", "cudaMemcpyAsync", "cudaStreamSynchronize"} & set(captured)
        assert _kernels(calls[name]) == 3  # two runs that allocate, one that is captured
    for name in ("second", "first batch again", "same buffers bound again"):
        assert calls[name] == launch
    for name in ("another thread", "host arrays", "without a stream"):
        assert not {*launch, "cudaStreamBeginCapture"} & set(calls[name])
        assert _kernels(calls[name]) == 1
    assert calls["host arrays"][-1] == "cudaStreamSynchronize"
    assert "cudaStreamSynchronize" not in calls["another thread"]


def _kernels(calls: list[str]) -> int:
    return len([name for name in calls if re.fullmatch(r"_*cudaLaunchKernel\w*", name)])


def _save(path: Path, operator: str) -> None:
    """B = operator(A), [batch, 3]."""
    a, b = (helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", 3]) for name in ("A", "B"))
    graph = helper.make_graph([helper.make_node(operator, ["A"], ["B"])], "one layer", [a], [b])
    save_model(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), str(path))

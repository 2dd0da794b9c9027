"""Engines: named arrays in and out, and no silent fallback."""

from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from onnx import TensorProto, helper, save_model

from facewright.core.errors import FacewrightError
from facewright.core.onnx_runtime import ort
from facewright.engines import onnx_engine as engine_module
from facewright.engines.onnx_engine import OnnxEngine
from facewright_client.contract import ErrorCode
from tests.support.gpu import GPU, cupy_with_onnxruntime


@pytest.fixture
def network(tmp_path: Path) -> Path:
    """SUM = A + B, [batch, 3], and DIFFERENCE = A - B."""
    values = {
        name: helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", 3])
        for name in ("A", "B", "SUM", "DIFFERENCE")
    }
    nodes = [
        helper.make_node("Sub", ["A", "B"], ["DIFFERENCE"]),
        helper.make_node("Add", ["A", "B"], ["SUM"]),
    ]
    graph = helper.make_graph(
        nodes, "arithmetic", [values["A"], values["B"]], [values["SUM"], values["DIFFERENCE"]]
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    save_model(model, str(tmp_path / "arithmetic.onnx"))
    return tmp_path / "arithmetic.onnx"


def test_runs_by_name(network: Path) -> None:
    engine = OnnxEngine(network)
    a = np.array([[1, 2, 3], [4, 5, 6]], np.float32)
    b = 10 * a
    outputs = engine.run({"B": b, "A": a})
    np.testing.assert_array_equal(outputs["SUM"], a + b)
    np.testing.assert_array_equal(outputs["DIFFERENCE"], a - b)
    assert {name: str(spec) for name, spec in engine.inputs.items()} == {
        "A": "float32[?, 3]",
        "B": "float32[?, 3]",
    }
    assert list(engine.outputs) == ["SUM", "DIFFERENCE"]


def test_networks_share_the_memory_of_what_lies_between_input_and_output(tmp_path: Path) -> None:
    """Four networks with 64 MB each of it, run one after the other, in a process of their own."""
    size = helper.make_node("Constant", [], ["SIZE"], value_ints=[16 << 20])
    nodes = [
        size,
        helper.make_node("Expand", ["A", "SIZE"], ["BETWEEN"]),
        helper.make_node("ReduceSum", ["BETWEEN"], ["SUM"]),
    ]
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1]) for name in ("A", "SUM")]
    graph = helper.make_graph(nodes, "large", values[:1], values[1:])
    for name in "abcd":
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
        save_model(model, str(tmp_path / f"{name}.onnx"))
    program = f"""
from pathlib import Path
import numpy as np
from facewright.engines.onnx_engine import OnnxEngine
def resident():
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096
engines = [OnnxEngine(path) for path in Path({str(tmp_path)!r}).glob("*.onnx")]
before = resident()
sums = [engine.run({{"A": np.ones(1, np.float32)}})["SUM"][0] for engine in engines]
assert sums == [16 << 20] * 4, sums
print(resident() - before)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert 60e6 < int(done.stdout) < 100e6


def test_a_process_may_have_shared_its_memory_already(network: Path) -> None:
    """In a process of its own, whose older session goes on, and which shares once more afterwards."""
    program = """
import sys
import numpy as np
from facewright.core.onnx_runtime import ort
from pathlib import Path
from facewright.engines.onnx_engine import OnnxEngine
def share():
    kind = ort.OrtAllocatorType.ORT_ARENA_ALLOCATOR
    memory = ort.OrtMemoryInfo("Cpu", kind, 0, ort.OrtMemType.DEFAULT)
    ort.create_and_register_allocator(memory, ort.OrtArenaCfg(0, 0, -1, -1))
share()
options = ort.SessionOptions()
options.add_session_config_entry("session.use_env_allocators", "1")
older = ort.InferenceSession(sys.argv[1], options, providers=["CPUExecutionProvider"])
engine = OnnxEngine(Path(sys.argv[1]))
given = {"A": np.ones((2, 3), np.float32), "B": np.ones((2, 3), np.float32)}
sums = [older.run(["SUM"], given)[0], engine.run(given)["SUM"]]
share()
sums += [older.run(["SUM"], given)[0], engine.run(given)["SUM"]]
assert all((total == 2).all() for total in sums), sums
"""
    subprocess.run([sys.executable, "-c", program, str(network)], check=True)


def test_takes_arrays_that_are_not_contiguous(network: Path) -> None:
    a = np.arange(12, dtype=np.float32).reshape(2, 6)[:, ::2]
    np.testing.assert_array_equal(OnnxEngine(network).run({"A": a, "B": a})["SUM"], 2 * a)


@pytest.mark.parametrize(
    ("a", "words"),
    [
        (np.zeros((2, 4), np.float32), r"input A must be float32\[\?, 3\], got float32\[2, 4\]"),
        (np.zeros((2, 3), np.float64), r"input A must be float32\[\?, 3\], got float64\[2, 3\]"),
        (np.zeros(3, np.float32), r"got float32\[3\]"),
    ],
)
def test_wrong_inputs_are_named(network: Path, a: npt.NDArray[Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        OnnxEngine(network).run({"A": a, "B": np.zeros((2, 3), np.float32)})


def test_missing_and_unknown_inputs_are_named(network: Path) -> None:
    with pytest.raises(ValueError, match=r"takes \['A', 'B'\], got \['A', 'C'\]"):
        OnnxEngine(network).run({"A": np.zeros((1, 3), np.float32), "C": np.zeros((1, 3), np.float32)})


def _buffers(batch: int = 2) -> dict[str, npt.NDArray[np.float32]]:
    return {name: np.zeros((batch, 3), np.float32) for name in ("A", "B", "SUM", "DIFFERENCE")}


def test_bound_buffers_are_read_and_overwritten_at_every_run(network: Path) -> None:
    buffers = _buffers()
    run = OnnxEngine(network).bind(buffers)
    for value in (1, 5):
        buffers["A"][...] = value
        buffers["B"][0] = 10 * value
        run()
        np.testing.assert_array_equal(buffers["SUM"], buffers["A"] + buffers["B"])
        np.testing.assert_array_equal(buffers["DIFFERENCE"], buffers["A"] - buffers["B"])


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (
            {"A": np.zeros((2, 4), np.float32)},
            r"A must be C-contiguous float32\[\?, 3\], got float32\[2, 4\]",
        ),
        ({"SUM": np.zeros((2, 6), np.float32)[:, ::2]}, r"SUM must be C-contiguous.*strides \(24, 8\)"),
        ({"C": np.zeros((2, 3), np.float32)}, r"binds \['A', 'B', 'DIFFERENCE', 'SUM'\], got"),
    ],
)
def test_wrong_buffers_are_named(network: Path, change: dict[str, npt.NDArray[Any]], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        OnnxEngine(network).bind(_buffers() | change)


class _RecordingSession:
    """What ONNX Runtime is told, on a machine without a GPU: provider options, and each run's options.

    Everything else is a session's on the CPU, of which the test asks nothing but the tensors.
    """

    def __init__(
        self, path: str, options: ort.SessionOptions, providers: list[tuple[str, dict[str, str]]]
    ) -> None:
        ((self.provider, self.provider_options),) = providers
        self._session = _Session(path, options)
        self.runs: list[tuple[str, str]] = []
        self.get_inputs, self.get_outputs = self._session.get_inputs, self._session.get_outputs

    def get_providers(self) -> list[str]:
        return [self.provider]

    def disable_fallback(self) -> None:
        pass

    def io_binding(self) -> Any:
        return SimpleNamespace(bind_input=lambda *_: None, bind_output=lambda *_: None)

    def run_with_iobinding(self, binding: Any, options: ort.RunOptions) -> None:
        self._record(options)

    def run(self, names: None, fed: dict[str, npt.NDArray[Any]], options: ort.RunOptions) -> Any:
        self._record(options)
        return self._session.run(names, fed)

    def _record(self, options: ort.RunOptions) -> None:
        keys = ("gpu_graph_id", "disable_synchronize_execution_providers")
        try:
            graph, queued = (options.get_run_config_entry(key) for key in keys)
        except RuntimeError:
            graph = queued = "unset"
        self.runs.append((graph, queued))


_Session = ort.InferenceSession


def _gpu_engine(
    network: Path, monkeypatch: pytest.MonkeyPatch, stream: int | None
) -> tuple[OnnxEngine, _RecordingSession]:
    monkeypatch.setattr(engine_module.ort, "get_available_providers", lambda: ["CUDAExecutionProvider"])
    monkeypatch.setattr(engine_module.ort, "InferenceSession", _RecordingSession)
    engine = OnnxEngine(network, "cuda", stream=stream)
    session = engine._session
    assert isinstance(session, _RecordingSession)
    return engine, session


def _gpu_buffers(address: int, batch: int = 2) -> dict[str, Any]:
    """Like CuPy's arrays: everything but host memory."""
    return {
        name: SimpleNamespace(
            **{part: getattr(array, part) for part in ("dtype", "shape", "ndim", "flags", "strides")},
            data=SimpleNamespace(ptr=address + index),
        )
        for index, (name, array) in enumerate(_buffers(batch).items())
    }


def test_with_a_stream_bindings_are_captured_and_nothing_else(
    network: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine, session = _gpu_engine(network, monkeypatch, stream=4096)
    assert session.provider_options == {
        "cudnn_conv_algo_search": "HEURISTIC",
        "user_compute_stream": "4096",
        "enable_cuda_graph": "1",
    }
    first, second = engine.bind(_gpu_buffers(1000)), engine.bind(_gpu_buffers(1000, batch=3))
    again = engine.bind(_gpu_buffers(1000))
    for run in (first, second, first, again):
        run()
    assert session.runs == [("1", "1"), ("2", "1"), ("1", "1"), ("1", "1")]

    session.runs.clear()
    elsewhere = threading.Thread(target=first)
    elsewhere.start()
    elsewhere.join()
    a = np.zeros((2, 3), np.float32)
    engine.run({"A": a, "B": a})
    assert session.runs == [("-1", "1"), ("-1", "0")]


def test_graphs_of_a_session_are_limited(network: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    engine, session = _gpu_engine(network, monkeypatch, stream=4096)
    for place in range(70):
        engine.bind(_gpu_buffers(1000 * place))()
    engine.bind(_gpu_buffers(0))()
    graphs = [int(graph) for graph, _ in session.runs]
    assert graphs == [*range(1, 65), *[-1] * 6, 1]


def test_without_a_stream_there_are_no_graphs(network: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    engine, session = _gpu_engine(network, monkeypatch, stream=None)
    assert session.provider_options == {"cudnn_conv_algo_search": "HEURISTIC"}
    engine.bind(_gpu_buffers(1000))()
    assert session.runs == [("unset", "unset")]
    with pytest.raises(ValueError, match=r"arithmetic\.onnx runs on cuda, A is an array of the cpu"):
        engine.bind(_buffers())


@pytest.fixture(params=[GPU])
def cupy(monkeypatch: pytest.MonkeyPatch) -> Any:
    return cupy_with_onnxruntime(monkeypatch)


def test_cuda_graphs_of_several_shapes_and_addresses(cupy: Any, network: Path) -> None:
    with cupy.cuda.Stream(non_blocking=True) as stream:
        engine = OnnxEngine(network, "cuda", stream=stream.ptr)
        bound = []
        for batch in (2, 5, 2):
            buffers = {name: cupy.zeros((batch, 3), cupy.float32) for name in ("A", "B", "SUM", "DIFFERENCE")}
            bound.append((engine.bind(buffers), buffers))
        for value in (1, 5, 7):
            for run, buffers in bound:
                buffers["A"][...] = value
                buffers["B"][0] = 10 * value
                run()
            stream.synchronize()
            for _, buffers in bound:
                a, b = buffers["A"].get(), buffers["B"].get()
                np.testing.assert_array_equal(buffers["SUM"].get(), a + b)
                np.testing.assert_array_equal(buffers["DIFFERENCE"].get(), a - b)
        fed = {name: cupy.full((3, 3), value, cupy.float32) for value, name in enumerate("AB")}
        fresh = engine.run(fed)  # on the device, in memory of its own
        stream.synchronize()
        np.testing.assert_array_equal(fresh["DIFFERENCE"].get(), np.full((3, 3), -1))
        host = np.ones((4, 3), np.float32)
        np.testing.assert_array_equal(engine.run({"A": host, "B": host})["SUM"], 2 * host)


@pytest.mark.skipif("CUDAExecutionProvider" in ort.get_available_providers(), reason="this machine has CUDA")
def test_no_silent_fallback_to_the_cpu(network: Path) -> None:
    with pytest.raises(FacewrightError, match=r"is to run on cuda, but.*onnxruntime-gpu") as caught:
        OnnxEngine(network, device="cuda")
    assert caught.value.code == ErrorCode.ENGINE_MISMATCH


@pytest.mark.parametrize(
    ("folder", "mend"), [("open", r"facewright_export\.open_assets"), ("repository/g/1", "facewright export")]
)
def test_a_damaged_network_names_the_mend(
    folder: str, mend: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ours are built again; an owner's file is not ours to build."""
    monkeypatch.setenv("FACEWRIGHT_CACHE", str(tmp_path))
    damaged = tmp_path / folder / "model.onnx"
    damaged.parent.mkdir(parents=True)
    damaged.write_bytes(b"\x08\x08 not a network")
    with pytest.raises(FacewrightError, match=f"cannot load.*{mend}") as caught:
        OnnxEngine(damaged)
    assert caught.value.code == ErrorCode.ENGINE_MISMATCH


def _typed_network(folder: Path, kind: int) -> Path:
    """AGAIN = A, of one element type."""
    border = [helper.make_tensor_value_info(name, kind, [3]) for name in ("A", "AGAIN")]
    graph = helper.make_graph(
        [helper.make_node("Identity", ["A"], ["AGAIN"])], "again", *([v] for v in border)
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    save_model(model, str(folder / "again.onnx"))
    return folder / "again.onnx"


@pytest.mark.parametrize("kind", ["BFLOAT16", "STRING", "COMPLEX64"])
def test_types_without_a_numpy_array_are_refused_by_name(kind: str, tmp_path: Path) -> None:
    path = _typed_network(tmp_path, TensorProto.DataType.Value(kind))
    with pytest.raises(
        FacewrightError, match=r"(again\.onnx: A is a tensor|cannot load.*again\.onnx)"
    ) as caught:
        OnnxEngine(path)
    assert caught.value.code == ErrorCode.ENGINE_MISMATCH


@pytest.mark.parametrize("kind", ["DOUBLE", "FLOAT16", "INT8", "INT32", "BOOL"])
def test_other_types_run(kind: str, tmp_path: Path) -> None:
    engine = OnnxEngine(_typed_network(tmp_path, TensorProto.DataType.Value(kind)))
    given = np.array([0, 1, 1], engine.inputs["A"].dtype)
    np.testing.assert_array_equal(engine.run({"A": given})["AGAIN"], given)

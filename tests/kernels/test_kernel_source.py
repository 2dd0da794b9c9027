"""Compilation, caching and launching of kernel sources on a CPU."""

from __future__ import annotations

import importlib
import inspect
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from facewright_kernels._runtime import cpu_library, kernel_source
from facewright_kernels._runtime.kernel_source import (
    SOURCE_FOLDER,
    KernelSource,
    headers_fingerprint,
    parse_signatures,
    set_cpu_threads,
)

# A stem that holds several kernels has a reference for each.
_REFERENCES = {"pinhole": "pinhole_points"}


def test_every_kernel_has_its_trio():
    """x.cu, x.py and tests/kernels/test_x.py; the Python file holds a float64 reference of x, which the test
    uses.
    """
    sources = sorted(SOURCE_FOLDER.glob("*.cu"))
    assert len(sources) > 5
    for source in sources:
        wrapper = source.with_suffix(".py")
        assert wrapper.exists(), f"{source.name} has no {wrapper.name}"
        module = importlib.import_module(f"facewright_kernels.{source.stem}")
        reference = f"{_REFERENCES.get(source.stem, source.stem)}_reference"
        assert inspect.isfunction(getattr(module, reference, None)), f"{wrapper.name} has no {reference}"
        test = (Path(__file__).parent / f"test_{source.stem}.py").read_text(encoding="utf-8")
        assert f"{reference}(" in test, f"test_{source.stem}.py does not use {reference}"


def test_signatures_are_read_from_the_source():
    text = (
        'extern "C" __global__ void f(const float* __restrict__ a,  // why, not what\n'
        "                             long long n, int* b, float s) {}"
    )
    (parameters,) = parse_signatures(text).values()
    assert [(p.name, p.type, p.is_pointer) for p in parameters] == [
        ("a", "float", True),
        ("n", "long long", False),
        ("b", "int", True),
        ("s", "float", False),
    ]
    with pytest.raises(ValueError, match=r"double\* a.*unsupported type"):
        parse_signatures('extern "C" __global__ void f(double* a) {}')


def test_launch_refuses_what_the_signature_does_not_say():
    source = KernelSource("rasterize")
    keys = np.zeros(4, np.uint64)
    with pytest.raises(ValueError, match="clear_keys takes 2 arguments, got 1"):
        source.launch("clear_keys", 4, keys)
    with pytest.raises(ValueError, match="keys must be uint64, is float32"):
        source.launch("clear_keys", 4, np.zeros(4, np.float32), 4)
    with pytest.raises(ValueError, match="keys must be C-contiguous"):
        source.launch("clear_keys", 2, np.zeros(8, np.uint64)[::2], 4)


def test_threads_must_be_a_sensible_number():
    with pytest.raises(ValueError, match="1 to 256, not 0"):
        set_cpu_threads(0)


@pytest.fixture
def empty_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("FACEWRIGHT_CACHE", str(tmp_path))
    return tmp_path / "kernels"


_TINY = 'extern "C" void tiny(float* x) { *x = 2.0f; }\n'


def test_library_is_built_once_and_again_when_the_source_changes(empty_cache):
    first = cpu_library.build_cpu_library(SOURCE_FOLDER / "tiny.cu", _TINY)
    stamp = first.stat().st_mtime_ns
    assert first.parent == empty_cache
    assert cpu_library.build_cpu_library(SOURCE_FOLDER / "tiny.cu", _TINY) == first
    assert first.stat().st_mtime_ns == stamp
    assert cpu_library.build_cpu_library(SOURCE_FOLDER / "tiny.cu", _TINY + "\n") != first


def test_a_changed_header_is_another_gpu_source(tmp_path, monkeypatch):
    """CuPy's cache looks at the source only; what is appended to it must change with every header."""
    monkeypatch.setattr(kernel_source, "HEADER_FOLDER", tmp_path)
    seen = [headers_fingerprint()]
    for name, text in (("a.h", "int a;"), ("a.h", "int b;"), ("b.h", "int c;")):
        (tmp_path / name).write_text(text, encoding="utf-8")
        seen.append(headers_fingerprint())
    assert len(set(seen)) == 4


@pytest.mark.usefixtures("empty_cache")
def test_missing_compiler_says_how_to_mend_it(monkeypatch):
    monkeypatch.setenv("CXX", "no-such-compiler")
    cpu_library._compiler.cache_clear()
    try:
        with pytest.raises(cpu_library.CompilerError, match=r"no-such-compiler.*unset CXX"):
            cpu_library.build_cpu_library(SOURCE_FOLDER / "tiny.cu", _TINY)
    finally:
        cpu_library._compiler.cache_clear()


def test_compiler_errors_name_the_kernel(empty_cache):
    with pytest.raises(cpu_library.CompilerError, match=r"refused tiny.cu(.|\n)*error"):
        cpu_library.build_cpu_library(SOURCE_FOLDER / "tiny.cu", "int main( {")
    assert not list(empty_cache.glob("*.so"))


def test_processes_that_start_together_share_one_build(empty_cache):
    code = (
        "from pathlib import Path; from facewright_kernels._runtime.cpu_library import build_cpu_library; "
        f"print(build_cpu_library(Path({str(SOURCE_FOLDER / 'tiny.cu')!r}), {_TINY!r}))"
    )
    running = [
        subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, env=os.environ)
        for _ in range(3)
    ]
    printed = {process.communicate()[0].strip() for process in running}
    assert all(process.returncode == 0 for process in running)
    assert len(printed) == 1
    assert len(list(empty_cache.glob("*.so"))) == 1

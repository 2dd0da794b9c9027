"""Every kernel compiles for the GPUs we support, without register spills (needs NVRTC, but no GPU)."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

_SCRIPT = Path(__file__).resolve().parents[2] / "scripts" / "check-cubins"
_NO_NVRTC = 3


def _check(*arguments: str) -> subprocess.CompletedProcess[str]:
    done = subprocess.run([sys.executable, _SCRIPT, *arguments], capture_output=True, text=True, check=False)
    if done.returncode == _NO_NVRTC:
        pytest.skip("NVRTC is not installed (pip install nvidia-cuda-nvrtc)")
    return done


def test_all_kernels_compile_without_spills():
    done = _check()
    assert done.returncode == 0, done.stdout + done.stderr


# 96 values live at once in 32 registers: 1024 threads a block, two blocks a multiprocessor.
_SPILLING = """
extern "C" __global__ void __launch_bounds__(1024, 2) k(const float* a, float* b) {
    float x[96];
    #pragma unroll
    for (int i = 0; i < 96; ++i) x[i] = a[threadIdx.x + i * 1024];
    __syncthreads();
    #pragma unroll
    for (int i = 0; i < 96; ++i) b[threadIdx.x + i * 1024] = x[i] * x[95 - i];
}
"""
_BROKEN = 'extern "C" __global__ void k(float* a) { undefined_function(a); }'


@pytest.mark.parametrize(
    ("source", "complaint"), [(_SPILLING, "bytes of register spills"), (_BROKEN, "refused")]
)
def test_the_check_can_fail(tmp_path, source, complaint):
    kernel = tmp_path / "k.cu"
    kernel.write_text(source, encoding="utf-8")
    done = _check("--arch", "sm_90", "--", str(kernel))
    assert done.returncode == 1
    assert complaint in done.stdout

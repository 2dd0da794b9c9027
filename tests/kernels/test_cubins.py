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


@pytest.mark.parametrize(
    ("body", "complaint"),
    [
        (
            "float x[300]; for (int k = 0; k < 300; ++k) x[k] = a[k * i]; for (int k = 0; k < 300; ++k) "
            "for (int j = 0; j < 300; ++j) a[j + k * 300] = x[k] * x[j];",
            None,
        ),
        ("undefined_function(a);", "refused"),
    ],
)
def test_the_check_can_fail(tmp_path, body, complaint):
    kernel = tmp_path / "k.cu"
    kernel.write_text(f'extern "C" __global__ void k(float* a, int i) {{ {body} }}', encoding="utf-8")
    done = _check("--arch", "sm_90", "--", str(kernel))
    if complaint:
        assert done.returncode == 1
        assert complaint in done.stdout
    else:
        assert "cubins compile" in done.stdout

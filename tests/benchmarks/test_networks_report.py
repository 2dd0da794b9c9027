"""What the report says of exported networks."""

from __future__ import annotations

from typing import Any

from benchmarks.networks.networks_report import networks_section, parity_section

PARITY: dict[str, Any] = {
    "network": "mica",
    "precision": "fp16",
    "tensor": "IDENTITY",
    "cosine": 0.9999991,
    "relative_l2": 4.2e-4,
    "largest": 1e-3,
    "in_unit": 0.0123,
    "unit": "σ",
    "allowed": 0.02,
    "failures": [],
    "commit": "0123456789ab",
}


def test_parity_rows_and_failures() -> None:
    far = {**PARITY, "in_unit": 0.5, "failures": ["0.5 σ > 0.02 σ"]}
    numbers = dict.fromkeys(("cosine", "relative_l2", "largest", "in_unit"))
    endless = {**PARITY, **numbers, "failures": ["values that are not finite"]}
    text = parity_section({"commit": "0123456789ab", "rows": [PARITY, far, endless]})
    assert "| mica | fp16 | IDENTITY | 0.999999 | 4.2e-04 | 0.012 σ | 0.02 σ |" in text
    assert "| 0.5 σ **fails**: 0.5 σ > 0.02 σ | 0.02 σ |" in text
    assert "| mica | fp16 | IDENTITY | – | – | – **fails**: values that are not finite | 0.02 σ |" in text
    assert "python -m benchmarks.networks.parity" in text
    assert "other commits" not in text


def test_rows_of_other_commits_are_named() -> None:
    earlier = {**PARITY, "commit": "ba9876543210"}
    unclean = {**PARITY, "network": "flame", "commit": "ba9876543210+changes"}
    rows = [PARITY, earlier, {**earlier, "tensor": "POSE"}, {**earlier, "precision": "bf16"}]
    text = parity_section({"commit": "0123456789ab", "rows": rows})
    assert "Kept from runs at other commits. ba9876543210: mica (precision fp16, bf16)." in text
    text = parity_section({"commit": "0123456789ab", "rows": [*rows, unclean]})
    assert "; +changes: with changes that were not committed. ba9876543210: mica" in text
    assert "; ba9876543210+changes: flame (precision fp16)." in text


def test_times_and_what_was_left_out() -> None:
    row = {"network": "mica", "batch": 1, "gflop": 24.2, "commit": "0123456789ab"}
    load = {"cores": 2, "by_this_run": 1.0, "by_others": 0.5}
    rows = [
        row
        | {
            "machine_load": load,
            "runner": "torch eager",
            "ms": 12.5,
            "gflop_per_s": 1936.0,
            "roofline_ms": 9.0,
        },
        row | {"batch": 32, "gflop": 774.4, "roofline_ms": 288.0, "left_out": "a run would need about 40 GB"},
    ]
    rows[1]["commit"] = "ba9876543210"
    result = {
        "commit": "0123456789ab",
        "device": "cpu",
        "ceiling_gflop_per_s": 100.0,
        "ceiling_gb_per_s": 12.5,
        "rows": rows,
        "not_run": ["pspnet"],
        "onnx_runtime": False,
    }
    text = networks_section(result)
    assert "| mica | 1 | 24.2 | torch eager † | 12.5 | 1936 | 9 |" in text
    assert "| mica | 32 | 774.4 | not run: a run would need about 40 GB | – | – | 288 |" in text
    assert "processor time" in text
    assert "Not run: pspnet." in text
    assert "Kept from runs at other commits. ba9876543210: mica (batch 32)." in text
    assert "ONNX Runtime had no CUDA provider there." in text
    assert "--device cuda" in networks_section({**result, "device": "cuda"})

"""The sections of exported networks: parity of files with modules, and times beside rooflines."""

from __future__ import annotations

from typing import Any

from benchmarks.machine_load import busy_mark


def parity_section(result: dict[str, Any]) -> str:
    """Markdown of one result of `benchmarks.networks.parity`."""
    lines = [
        "## Exported networks: parity",
        "",
        "Each network at its published size, its file on ONNX Runtime beside the torch module in float32, "
        "on one or two seeded inputs. Weights are seeded: published ones may not be redistributed. That "
        "the modules are the published ones is held by goldens of the official code (`tests/networks`). "
        "fp16 and bf16 files run with every operator's float32 result rounded to their type once, as a "
        "tensor core does: ONNX Runtime has no bfloat16 on a CPU and rounds nothing between fp16 operators "
        "there. "
        "`facewright export` stops where an error exceeds what is allowed here. No TensorRT engine was "
        "built.",
        "",
        "```\npython -m benchmarks.networks.parity\n```",
        "",
        "| network | precision | output | cosine | relative L2 | error | allowed |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in result["rows"]:
        unit = "" if row["unit"] == "1" else f" {row['unit']}"
        error = _number(row["in_unit"], ".2g") + (unit if row["in_unit"] is not None else "")
        if row["failures"]:
            error = f"{error} **fails**: {', '.join(row['failures'])}"
        lines.append(
            f"| {row['network']} | {row['precision']} | {row['tensor']} | {_number(row['cosine'], '.6f')} "
            f"| {_number(row['relative_l2'], '.1e')} | {error} | {row['allowed']:g}{unit} |"
        )
    return "\n".join([*lines, *_other_commits(result, "precision"), ""])


def _number(value: float | None, form: str) -> str:
    """A dash for what is not finite."""
    return "–" if value is None else format(value, form)


def networks_section(result: dict[str, Any]) -> str:
    """Markdown of one result of `benchmarks.networks`."""
    device = "" if result["device"] == "cpu" else " --device cuda"
    lines = [
        f"## Exported networks: time on the {'CPU, one thread' if result['device'] == 'cpu' else 'GPU'}",
        "",
        f"float32, seeded weights, least of several runs{_counted(result)}. Roofline: operations at "
        f"{result['ceiling_gflop_per_s']:g} GFLOP/s (a large product or convolution) or weights at "
        f"{result['ceiling_gb_per_s']:g} GB/s (a large copy), whichever takes longer, "
        "both the best of the run that wrote the file last, also beside rows that earlier runs measured; "
        "small weights that stay in the cache beat it.",
        "",
        f"```\npython -m benchmarks.networks{device}\n```",
        "",
        "| network | batch | GFLOP | runner | ms | GFLOP/s | roofline, ms |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in result["rows"]:
        if "ms" not in row:
            lines.append(
                f"| {row['network']} | {row['batch']} | {row['gflop']:g} | not run: {row['left_out']} "
                f"| – | – | {row['roofline_ms']:g} |"
            )
            continue
        lines.append(
            f"| {row['network']} | {row['batch']} | {row['gflop']:g} | {row['runner']}{busy_mark(row)} "
            f"| {row['ms']:g} | {row['gflop_per_s']:g} | {row['roofline_ms']:g} |"
        )
    lines += _other_commits(result, "batch")
    if result["not_run"]:
        lines += ["", f"Not run: {', '.join(result['not_run'])}."]
    if not result["onnx_runtime"]:
        lines += ["", "ONNX Runtime had no CUDA provider there."]
    return "\n".join([*lines, ""])


def _other_commits(result: dict[str, Any], part: str) -> list[str]:
    """Which rows were kept from runs at other commits than the last: a paragraph, or nothing.

    Args:
        part: the key that tells the rows of one network apart.
    """
    kept: dict[str, dict[str, dict[str, None]]] = {}
    for row in result["rows"]:
        if row["commit"] != result["commit"]:
            kept.setdefault(row["commit"], {}).setdefault(row["network"], {})[str(row[part])] = None
    if not kept:
        return []
    said = [
        f"{commit}: " + ", ".join(f"{name} ({part} {', '.join(parts)})" for name, parts in networks.items())
        for commit, networks in kept.items()
    ]
    meaning = "; +changes: with changes that were not committed" if any("+" in key for key in kept) else ""
    return ["", f"Kept from runs at other commits{meaning}. {'; '.join(said)}."]


def _counted(result: dict[str, Any]) -> str:
    return ", processor time" if result["device"] == "cpu" else ""

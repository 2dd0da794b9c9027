"""Prometheus' text format (exposition format 0.0.4)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Literal


def family(
    name: str,
    kind: Literal["counter", "gauge"],
    description: str,
    samples: Iterable[tuple[Mapping[str, str], float]],
) -> Iterator[str]:
    """The lines of one metric, each with its newline.

    Args:
        name, kind, description: of the metric.
        samples: labels and values.
    """
    yield f"# HELP {name} {description}\n"
    yield f"# TYPE {name} {kind}\n"
    for labels, value in samples:
        inside = ",".join(f'{label}="{_escaped(text)}"' for label, text in labels.items())
        yield f"{name}{{{inside}}} {value!r}\n" if inside else f"{name} {value!r}\n"


def _escaped(label: str) -> str:
    return label.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")

"""``python -m facewright.pipelines``: the page that lists pipelines, their steps and options, as Markdown.

docs/pipelines.md is what it prints; a test holds the two together.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator

from facewright.core.options import Option, plain_number
from facewright.pipelines.registry import pipelines
from facewright.pipelines.stages import Network, Pipeline, Stage
from facewright_client.contract import Tensor

_KINDS = {int: "integer", float: "number", bool: "true or false", str: "text"}


def page() -> str:
    """The whole page."""
    return "\n".join(
        [
            "# Pipelines and their options",
            "",
            "Written by `python -m facewright.pipelines > docs/pipelines.md`, from the table that the server",
            "is made of. `$FACEWRIGHT_PIPELINES` names files of more. Options are request parameters over",
            "gRPC, the query or a form's fields over REST, keyword arguments of the clients, and",
            "`--option-name` on the command line; what is not said takes its default.",
            *(line for row in pipelines().values() for line in _pipeline(row)),
            "",
        ]
    )


def _pipeline(row: Pipeline) -> Iterator[str]:
    yield from ("", f"## {row.name}", "", row.summary, "")
    yield f"Takes {_names(row.takes)}; gives {_names(row.gives)}."
    if row.is_ensemble:
        yield from ("", f"Steps: {', '.join(map(_step, row.steps))}.")
    if row.weights:
        yield from ("", "Open weights: " + ", ".join(f"`{w.file}` ({w.licence})" for w in row.weights) + ".")
    graphs = sorted({name for step in row.steps for name in step.graphs})
    if graphs:
        names = ", ".join(f"`{name}`" for name in graphs)
        yield from ("", f"Networks with gradients ([refinement.md](refinement.md)): {names}.")
    yield from ("", "| option | type | default | allowed | meaning |", "|---|---|---|---|---|")
    for name, option in row.options.items():
        cells = (f"`{name}`", _KINDS[option.kind], _shown(option.default), _allowed(option), option.meaning)
        yield f"| {' | '.join(cells)} |"


def _names(tensors: tuple[Tensor, ...]) -> str:
    return ", ".join(f"`{tensor.name}`{' (optional)' if tensor.optional else ''}" for tensor in tensors)


def _step(step: Stage) -> str:
    return f"`{step.name}`{' (a network)' if isinstance(step, Network) else ''}"


def _shown(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _allowed(option: Option) -> str:
    if option.choices:
        return ", ".join(map(str, option.choices))
    if option.minimum is None or option.maximum is None:
        return ""
    return f"{plain_number(option.minimum)} to {plain_number(option.maximum)}"


if __name__ == "__main__":
    sys.stdout.write(page())

"""Which pipelines there are: ours, and those of files that ``$FACEWRIGHT_PIPELINES`` names."""

from __future__ import annotations

import importlib.util
import os
import sys
from collections.abc import Collection, Mapping
from difflib import get_close_matches
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Final

from facewright.core.errors import FacewrightError
from facewright.pipelines.interpolation import INTERPOLATE_AVATARS
from facewright.pipelines.merge import MERGE_AVATARS
from facewright.pipelines.normalized import AVATAR_NORMALIZED
from facewright.pipelines.refinement import REFINEMENT
from facewright.pipelines.relighting import RELIGHT_AVATAR
from facewright.pipelines.rerenderable import AVATAR_RERENDERABLE
from facewright.pipelines.stages import Network, Pipeline, Stage
from facewright.pipelines.twin import AVATAR_TWIN
from facewright_client.contract import ErrorCode

#: Python files, separated as in ``$PATH``, whose `Pipeline` rows are served beside ours. A stage of theirs
#: brings its code along (`Stage.model`). The files are run: name none that you would not import.
VARIABLE: Final = "FACEWRIGHT_PIPELINES"

_OURS: Final = (
    AVATAR_TWIN,
    AVATAR_NORMALIZED,
    AVATAR_RERENDERABLE,
    MERGE_AVATARS,
    INTERPOLATE_AVATARS,
    RELIGHT_AVATAR,
    *REFINEMENT,
)


def pipelines() -> Mapping[str, Pipeline]:
    """All pipelines by name.

    Raises:
        FacewrightError: INTERNAL when a file of ``$FACEWRIGHT_PIPELINES`` has none, cannot be run, or names
            a pipeline or a stage as another one is named.
    """
    return _pipelines(os.environ.get(VARIABLE, ""))


def pipeline(name: str, offered: Collection[str] | None = None) -> Pipeline:
    """One by its name.

    Args:
        name: which.
        offered: the names that are told where there is none of this; all when None.

    Raises:
        FacewrightError: BAD_OPTION, with the nearest name, when there is none; INTERNAL as `pipelines`.
    """
    known = pipelines()
    if name not in known:
        names = known if offered is None else offered
        asked = name.lower()
        near = [other for other in names if asked and asked in other] or get_close_matches(asked, names, n=1)
        raise FacewrightError(
            ErrorCode.BAD_OPTION,
            f"there is no pipeline {name[:64]!r}",
            f"did you mean {near[0]}?"
            if near
            else f"it is one of: {', '.join(names)}; ${VARIABLE} names files of more",
        )
    return known[name]


def stages(served: Mapping[str, Pipeline]) -> dict[str, Stage]:
    """The stages of some pipelines by name, as their models are: under their own tensor names."""
    return {step.name: step.as_model() for row in served.values() for step in row.steps}


def networks(served: Mapping[str, Pipeline]) -> dict[str, Network]:
    """Those of the stages that are networks."""
    return {name: stage for name, stage in stages(served).items() if isinstance(stage, Network)}


@cache
def _pipelines(files: str) -> Mapping[str, Pipeline]:
    rows = list(_OURS)
    for file in dict.fromkeys(filter(None, files.split(os.pathsep))):
        rows += _rows_of(Path(file))
    known: dict[str, Pipeline] = {}
    models: dict[str, Stage] = {}
    for row in rows:
        if row.name in known:
            raise _broken(f"two pipelines are called {row.name}", "rename one of them")
        known[row.name] = row
        for step in row.steps:
            model = models.setdefault(step.name, step.as_model())
            if not _same(model, step.as_model()):
                raise _broken(f"two different stages are called {step.name}", "rename one of them")
    for row in rows:
        if row.name in models and row.is_ensemble:
            raise _broken(f"a pipeline and a stage are called {row.name}", "rename one of them")
    return MappingProxyType(known)


def _same(stage: Stage, other: Stage) -> bool:
    """Whether two rows are one model: what is optional counts, too."""
    optional = [[tensor.optional for tensor in row.takes] for row in (stage, other)]
    return stage == other and optional[0] == optional[1]


def _rows_of(path: Path) -> list[Pipeline]:
    """The pipelines that a file defines."""
    name = f"facewright_pipelines_of_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    try:
        if spec is None or spec.loader is None:
            raise ImportError("it is no Python file")
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module  # dataclasses and pickles look their module up
        spec.loader.exec_module(module)
    except BaseException as error:  # a file may leave by sys.exit, too, and is to be named all the same
        what = f"{path} cannot be run: {type(error).__name__}{f': {error}' if str(error) else ''}"
        raise _broken(what, "correct the file, or leave it out") from error
    found = {id(value): value for value in vars(module).values() if isinstance(value, Pipeline)}
    rows = [row for row in found.values() if row not in _OURS]
    if not rows:
        raise _broken(f"{path} defines no Pipeline", "CONTRIBUTING.md says how one is written")
    return rows


def _broken(what: str, hint: str) -> FacewrightError:
    return FacewrightError(ErrorCode.INTERNAL, f"${VARIABLE}: {what}", hint)

"""A stage's part of the report, and how the parts become one."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from facewright.core.errors import FacewrightError
from facewright.pipelines.stages import EARLIER_SECTIONS
from facewright_client.contract import ErrorCode


@dataclass(frozen=True)
class Section:
    """What one stage says in the report.

    Attributes:
        members: of the report's top level, by name; members of one name from several stages are merged.
        warnings: sentences for the caller.
        milliseconds: the stage's own time by step.
        stage: who says it; the adapter fills it in.
        ended_unix_s: when the stage had computed; the adapter fills it in.
    """

    members: Mapping[str, Any] = field(default_factory=dict)
    warnings: Sequence[str] = ()
    milliseconds: Mapping[str, float] = field(default_factory=dict)
    stage: str = ""
    ended_unix_s: float = 0.0


def sections_to_json(sections: Sequence[Section]) -> str:
    """The tensor SECTIONS.

    Raises:
        ValueError: a section holds a number that is not finite.
    """
    return json.dumps([asdict(section) for section in sections], allow_nan=False)


def sections_from_json(text: bytes | str) -> tuple[Section, ...]:
    """The inverse of `sections_to_json`.

    Raises:
        FacewrightError: BAD_OPTION when this is not what the stage before writes.
    """
    try:
        rows = json.loads(text, parse_constant=_refuse_constant)
        if not isinstance(rows, list):
            raise TypeError
        sections = tuple(Section(**members) for members in rows)
        json.dumps(rows)  # what travels on must be written again: not too deep
    except (ValueError, RecursionError, TypeError) as error:
        raise _not_ours(type(error).__name__) from None
    for section in sections:
        if not _is_ours(section):
            raise _not_ours("a member has another type")
    return sections


def _is_ours(section: Section) -> bool:
    """Whether every field has the type that `sections_to_json` wrote."""
    return (
        isinstance(section.members, dict)
        and isinstance(section.warnings, list)
        and all(isinstance(warning, str) for warning in section.warnings)
        and isinstance(section.milliseconds, dict)
        and all(_is_number(spent) for spent in section.milliseconds.values())
        and isinstance(section.stage, str)
        and _is_number(section.ended_unix_s)
    )


def _is_number(value: object) -> bool:
    """Whether arithmetic with it is safe."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) < 1e15


def _refuse_constant(name: str) -> None:
    raise ValueError(name)


def _not_ours(why: str) -> FacewrightError:
    return FacewrightError(
        ErrorCode.BAD_OPTION,
        f"{EARLIER_SECTIONS.name} is not what the stage before writes ({why})",
        "call the pipeline, or send what the stage before answered",
    )


def waited_ms(sections: Sequence[Section], networks: Sequence[str], until_unix_s: float) -> dict[str, float]:
    """Time from the last section to ``until_unix_s``, where networks ran in between: stages without code.

    It includes the hops between the stages and what the request waited for a free instance.
    """
    if not sections or not networks:
        return {}
    spent = 1e3 * (until_unix_s - sections[-1].ended_unix_s)
    return {f"{'+'.join(networks)}.network_and_waiting": round(spent, 3)}


def merged_members(sections: Sequence[Section]) -> dict[str, Any]:
    """The members of all sections, in order; objects of one name are merged, member by member."""
    merged: dict[str, Any] = {}
    for section in sections:
        _merge(merged, section.members)
    return merged


def merged_milliseconds(sections: Sequence[Section]) -> dict[str, float]:
    """Times by ``stage.step``; a step that names its stage itself (a network's) keeps its name."""
    return {
        step if "." in step else f"{section.stage}.{step}": round(spent, 2)
        for section in sections
        for step, spent in section.milliseconds.items()
    }


def merged_warnings(sections: Sequence[Section]) -> list[str]:
    """All warnings in order, each once."""
    return list(dict.fromkeys(warning for section in sections for warning in section.warnings))


def _merge(into: dict[str, Any], members: Mapping[str, Any]) -> None:
    for name, value in members.items():
        if isinstance(value, Mapping):
            here = into.setdefault(name, {})
            if isinstance(here, dict):
                _merge(here, value)
                continue
        into[name] = value

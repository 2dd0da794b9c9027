"""The report that comes with an avatar: what all have, around the sections of the stages that ran.

docs/report.md explains each member. Angles are degrees, lengths are in the unit of the member's name, frames
are those of CONVENTIONS.md.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, TypedDict

from facewright.pipelines.request import Request
from facewright.pipelines.section import Section, merged_members, merged_milliseconds, merged_warnings

FORMAT_VERSION: Final = 1


class AvatarReport(TypedDict):
    bytes: int
    triangles: list[int]
    vertices: int
    morph_targets: int
    joints: list[str]


class AvatarSection(TypedDict):
    """Members of ``package_avatar``'s section."""

    avatar: AvatarReport


class Report(TypedDict):
    """What is in every report, beside the members that the stages' sections bring."""

    format_version: int
    pipeline: str
    facewright_version: str
    options: dict[str, Any]
    warnings: list[str]
    milliseconds: dict[str, float]
    models: dict[str, str]
    licences: dict[str, str]


def build_report(request: Request, sections: Sequence[Section]) -> dict[str, Any]:
    """The whole report, signed with the pipeline that ran and the weights that took part.

    Args:
        request: whose avatar it is.
        sections: of all stages, in order.
    """
    made_with = request.provenance
    report: Report = {
        "format_version": FORMAT_VERSION,
        "pipeline": request.pipeline,
        "facewright_version": made_with.version,
        "options": dict(request.options),
        "warnings": merged_warnings(sections),
        "milliseconds": merged_milliseconds(sections),
        "models": dict(made_with.models),
        "licences": dict(made_with.licences),
    }
    opening = ("format_version", "pipeline", "facewright_version", "options")
    members = merged_members(sections)
    return {**{name: report[name] for name in opening}, **members, **report}  # type: ignore[literal-required]

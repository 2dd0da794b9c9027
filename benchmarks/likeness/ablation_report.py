"""The ablation section of the report: which settings the judge can tell, and which it cannot."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from benchmarks.likeness.ablation import LEAST_DIFFERENCE, POSES, SURE_ERRORS, counts, judges_luck
from benchmarks.likeness.settings import Change


def ablation_section(result: dict[str, Any]) -> str:
    """Markdown of one ablation result."""
    names = {row["setting"] for row in result["rows"]}
    sensitive = sensitive_settings(result["rows"])
    luck = judges_luck(result["rows"])
    told = [row for row in result["rows"] if row["setting"] in sensitive]
    rest = [row for row in result["rows"] if row["setting"] not in sensitive]
    distances = (f"{distance:.3f} at {_pose(pose)}" for pose, distance in result["baseline"].items())
    lines = [
        "## Ablation of the settings",
        "",
        f"{result['photos']} photos of {result['persons']} people from public repositories (not kept here), "
        f"avatars at {result['texture_size']}² texels, delight {result['delight']}, renders under the "
        f"{result['light']} light, the judge of the section above. Each row is one setting at about half or "
        "twice its value (a range narrowed or widened, moved down or up), all others as they are: how much "
        "farther from the photo (+) or nearer to it (−) the neutral avatar is, mean over the photos ± its "
        "standard error.",
        "",
        "```\npython -m benchmarks.likeness FOLDER --texture-size 512 --ablate NAME=VALUE --ablate …\n```",
        "",
        "The judge answers to changes that nobody sees, such as finer pores, and the baseline is one draw of "
        "that luck: the median of all rows is "
        + ", ".join(f"{value:+.4f} at {_pose(pose)}" for pose, value in luck.items())
        + f". A change counts (**bold**) that lies outside of what is between this and zero by "
        f"{LEAST_DIFFERENCE} or more and by more than {SURE_ERRORS:g} standard errors; so the judge can tell "
        f"{len(sensitive)} of {len(names)} settings. "
        f"Baseline: {', '.join(distances)}. `--settings` lists those that nobody measured.",
        "",
        *_table(told, luck),
        "",
        f"<details><summary>{len(names - sensitive)} settings that it cannot tell</summary>",
        "",
        *_table(rest, luck),
        "",
        "</details>",
        "",
    ]
    return "\n".join(lines)


def sensitive_settings(rows: Sequence[dict[str, Any]]) -> set[str]:
    """Names of those settings of which a change counts at some pose."""
    luck = judges_luck(rows)
    return {
        row["setting"] for row in rows if any(counts(row["difference"][pose], luck[pose]) for pose in POSES)
    }


def _table(rows: Iterable[dict[str, Any]], luck: dict[str, float]) -> list[str]:
    lines = [
        "| setting | as it is | photos changed | " + " | ".join(_pose(pose) for pose in POSES) + " |",
        "|---|---|---|" + "---|" * len(POSES),
    ]
    for row in rows:
        default = str(Change(row["setting"], _value(row["default"]))).partition("=")[2]
        cells = " | ".join(_cell(row["difference"][pose], luck[pose]) for pose in POSES)
        change = Change(row["setting"], _value(row["value"]))
        lines.append(f"| `{change}` | {default} | {row['photos_changed']} | {cells} |")
    return lines


def _cell(difference: list[float], luck: float) -> str:
    mean, error = difference
    text = f"{mean:+.4f}".replace("-", "−")
    return f"{f'**{text}**' if counts(difference, luck) else text} ± {error:.4f}"


def _pose(pose: str) -> str:
    return pose if pose == "photo pose" else f"yaw {pose}°"


def _value(written: Any) -> Any:
    """JSON has no tuples."""
    return tuple(written) if isinstance(written, list) else written

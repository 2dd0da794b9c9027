"""The likeness section of the report: the table with its goals, turned heads apart, and every photo."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

#: Measure, how it is read from a table, the goal, the stretch goal.
_GOALS: Final[tuple[tuple[str, Callable[[dict[str, Any]], str], str, str], ...]] = (
    (
        "landmark reprojection after the corrective field, % of pupil distance, median / p95",
        lambda t: f"{_value(t['reprojection'], 'median')} / {_value(t['reprojection'], 'p95')}",
        "0.8 / 3.6",
        "0.6 / 2.5",
    ),
    (
        "landmarks found again on the neutral render, yaw 0 / ±30°, median %",
        lambda t: f"{_found_again(t['refound at 0'])} / {_found_again(t['refound at ±30'])}",
        "2.3 / 3.3",
        "1.5 / 2.5",
    ),
    (
        "jawOpen that the neutral holds when the photo has > 0.3, mean (photos)",
        lambda t: _with_count(t["jawOpen left where the photo has > 0.3"]),
        "< 0.1",
        "< 0.05",
    ),
)
_DISTANCES: Final = ("photo pose", "0", "±15", "±30", "±45", "0, studio light", "photo cut to the silhouette")
_PHOTO_COLUMNS: Final = ("photo pose", "0", "-30", "30", "-45", "45")
#: Of a person's other photos: pose, goal of the share of the gap, goal of TAR at FAR .1 %.
_CROSS: Final = (("0", "≤ 11 %", "–"), ("±30", "≤ 21 %", "–"), ("±45", "≤ 32 %", "≥ 86 %"))
_AGREEMENT_GOALS: Final = {"shape, rms mm": "AUC ≥ .82", "depth, rms mm": "ratio ≤ .76"}


def likeness_section(result: dict[str, Any]) -> str:
    """Markdown of one likeness result."""
    tables, judges = result["tables"], result["judges"]
    frontal = tables["|yaw| < 40°"]
    lines = [
        "## Likeness",
        "",
        f"{result['photos']} photos of {result['persons']} people (private; numbered below), "
        f"{frontal['photos']} with abs(yaw) < 40°; avatar at {result['texture_size']}² texels, delight "
        f"{result['delight']}; renders under the {result['light']} light. {_failures(result['failed'])} "
        f"{_left_out(result)}"
        f"The word of {judges[0]} counts, a face network that no pipeline uses; it was chosen by how well it "
        "tells real photos apart. dlib is shown for continuity.",
        "",
        f"```\npython -m benchmarks.likeness FOLDER{result['rule']}\n```",
        "",
        *_verification_table(result["verification"]),
        *_agreement_table(result["agreement"]),
        *_group_table(result["groups"], judges[0]),
        "| measure, abs(yaw) < 40° | goal | stretch | measured |",
        "|---|---|---|---|",
        *(f"| {name} | {goal} | {stretch} | **{read(frontal)}** |" for name, read, goal, stretch in _GOALS),
        "",
        *_distance_table(frontal["distances"]),
    ]
    turned = tables.get("|yaw| ≥ 40°")
    if turned:
        lines += [
            f"The other {turned['photos']}, turned 40° or more (the report warns of them):",
            "",
            "| measure, abs(yaw) ≥ 40° | measured |",
            "|---|---|",
            *(f"| {name} | {read(turned)} |" for name, read, *_ in _GOALS),
            "",
            *_distance_table(turned["distances"]),
        ]
    return "\n".join([*lines, *_photo_table(result["per_photo"], judges[0])])


def _verification_table(judged: dict[str, Any]) -> list[str]:
    """Real photos, and avatars beside the other photos of the person, by judge."""
    first = next(iter(judged.values()))
    lines = [
        "A render of one photo's avatar beside the person's *other* photos: how far it is, as a share of "
        "the gap between the same person's real photos and strangers'; how many pairs are accepted where "
        "1 % / .1 % of the strangers at that pose are (TAR); how often the nearest of all other photos is "
        f"one of the person. {first['pairs']} pairs of photos; {first['pairs lost']} more are lost with "
        "photos that gave no avatar, and are not accepted.",
        "",
        "| | goal | " + " | ".join(judged) + " |",
        "|---|---|" + "---|" * len(judged),
        _line(
            "real photos: same person / strangers, mean distance",
            "–",
            judged,
            lambda j: f"{_number(j['same'], 3)} / {_number(j['strangers'], 3)}",
        ),
        _line(
            "real photos: AUC; TAR at FAR 1 % / .1 %",
            "–",
            judged,
            lambda j: f"{_number(j['auc'], 4)}; {_tar(j['tar'])}",
        ),
    ]
    for pose, share, tar in _CROSS:
        at = "yaw 0" if pose == "0" else f"yaw {pose}°"
        poses = {judge: row["poses"][pose] for judge, row in judged.items()}
        lines += [
            _line(
                f"avatars at {at}: share of the gap (mean distance)",
                share,
                poses,
                lambda p: f"**{_share(p['share'])}** ({_number(p['cross_photo'], 3)})",
            ),
            _line(
                "… TAR at FAR 1 % / .1 %; rank 1",
                tar,
                poses,
                lambda p: f"{_tar(p['tar'])}; {_share(p['rank'])}",
            ),
        ]
    return [*lines, ""]


def _line(name: str, goal: str, judged: dict[str, Any], cell: Callable[[dict[str, Any]], str]) -> str:
    return f"| {name} | {goal} | " + " | ".join(cell(of) for of in judged.values()) + " |"


def _agreement_table(rows: dict[str, Any]) -> list[str]:
    lines = [
        "Do avatars of one person agree? Neutral faces, each moved onto the mean head by a similarity, and "
        "the colours of their textures:",
        "",
        "| | goal | same person | strangers | ratio | AUC | pairs |",
        "|---|---|---|---|---|---|---|",
    ]
    for name, row in rows.items():
        cells = " | ".join(_number(row.get(key), digits) for key, digits in _AGREEMENT_COLUMNS)
        lines.append(f"| {name} | {_AGREEMENT_GOALS.get(name, '–')} | {cells} | {row['pairs']} |")
    return [*lines, ""]


_AGREEMENT_COLUMNS: Final = (("same", 2), ("strangers", 2), ("ratio", 3), ("auc", 3))


def _group_table(kinds: dict[str, Any], judge: str) -> list[str]:
    lines = [
        f"By group, judged by {judge}: skin tone is that of the cheeks' texture (individual typology angle), "
        "age and sex are what the judge takes people for. *Taken for each other*: strangers of one group, at "
        "yaw 0, where .1 % of all strangers are.",
        "",
        "| group | people | photos | no avatar | same / strangers | share of the gap, 0 / ±30 / ±45° "
        "| TAR at FAR .1 %, 0 / ±45° | rank 1 | taken for each other |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for kind, groups in kinds.items():
        for name, row in groups.items():
            poses = row["poses"]
            shares = " / ".join(_share(poses[pose]["share"]) for pose, *_ in _CROSS)
            tars = " / ".join(_share(poses[pose]["tar"][".1 %"]) for pose in ("0", "±45"))
            lines.append(
                f"| {kind}: {name} | {row['people']} | {row['photos']} | {row['failed']} "
                f"| {_number(row['same'], 2)} / {_number(row['strangers'], 2)} | {shares} | {tars} "
                f"| {_share(poses['0']['rank'])} | {_share(poses['0']['taken for each other'], 2)} |"
            )
    return [*lines, ""]


def _distance_table(judged: dict[str, Any]) -> list[str]:
    """Photos and the avatars made from them."""
    return [
        "| mean distance of a photo from its own avatar | " + " | ".join(judged) + " |",
        "|---|" + "---|" * len(judged),
        *(
            f"| {name if name[0] not in '0±' else f'yaw {name}'} | "
            + " | ".join(_number(rows[name].get("mean"), 3) for rows in judged.values())
            + " |"
            for name in _DISTANCES
        ),
        "",
    ]


def _photo_table(rows: list[dict[str, Any]], judge: str) -> list[str]:
    lines = [
        "<details><summary>Every photo</summary>",
        "",
        "| photo | yaw | pitch | reprojection median / p95 | found again 0° | "
        + " | ".join(f"d {name}" for name in _PHOTO_COLUMNS)
        + " | jawOpen → neutral | stages, ms |",
        "|" + "---|" * (len(_PHOTO_COLUMNS) + 7),
    ]
    for row in rows:
        distances = " | ".join(f"{row['distance'][judge][name]:.2f}" for name in _PHOTO_COLUMNS)
        refound = row["refound_median"]["0"]
        lines.append(
            f"| {row['photo']} | {row['yaw']:.0f} | {row['pitch']:.0f} "
            f"| {row['reprojection_median']} / {row['reprojection_p95']} "
            f"| {'no face' if refound is None else refound} | {distances} "
            f"| {row['jaw_open']:.2f} → {row['jaw_open_left']:.2f} "
            f"| {sum(row['milliseconds'].values()):.0f} |"
        )
    return [*lines, "", "</details>", ""]


def _failures(failed: dict[str, str]) -> str:
    if not failed:
        return "Every photo gave an avatar."
    return "No avatar from " + ", ".join(f"photo {number} ({code})" for number, code in failed.items()) + "."


def _left_out(result: dict[str, Any]) -> str:
    if not result["smallest_face"]:
        return ""
    return f"{len(result['left_out'])} left out, faces below {result['smallest_face']} pixels. "


def _value(row: dict[str, Any], key: str) -> str:
    return f"{row[key]:.2f}" if key in row else "–"


def _with_count(row: dict[str, Any]) -> str:
    return f"{_value(row, 'mean')} ({row['count']})"


def _found_again(row: dict[str, Any]) -> str:
    missed = row["no face found"]
    return _value(row, "median") + (f" (no face in {missed} of {row['pictures'] + missed})" if missed else "")


def _number(value: float | None, digits: int) -> str:
    return "–" if value is None else f"{value:.{digits}f}"


def _share(value: float | None, digits: int = 0) -> str:
    return "–" if value is None else f"{100 * value:.{digits}f} %"


def _tar(rates: dict[str, float | None]) -> str:
    return " / ".join("–" if rate is None else f"{100 * rate:.1f}" for rate in rates.values()) + " %"

"""Settings by name, and what a changed one does to an avatar."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from benchmarks.likeness.ablation import counts
from benchmarks.likeness.ablation_report import ablation_section, sensitive_settings
from benchmarks.likeness.settings import (
    AvatarSettings,
    Change,
    parse_change,
    settings_by_name,
    with_change,
)
from benchmarks.run_conditions import RESULTS
from facewright.core.settings import INSENSITIVE, MEASURED
from facewright.head.mouth_shadow import MouthShadowSettings

_PORTRAIT = Path(__file__).parents[1] / "data" / "astronaut.jpg"
_KNOWN = settings_by_name(AvatarSettings())


def test_every_setting_says_its_unit_and_where_it_is_from() -> None:
    assert len(_KNOWN) > 150
    everything = _KNOWN | settings_by_name(MouthShadowSettings(), "mouth_shadow.")
    silent = [name for name, setting in everything.items() if not setting.unit or not setting.source]
    assert silent == []


def test_what_is_said_to_be_measured_is_in_the_results() -> None:
    rows: list[dict[str, Any]] = json.loads((RESULTS / "ablation.json").read_text())["rows"]
    measured = {row["setting"] for row in rows}
    told = sensitive_settings(rows)
    claims = {name: setting.source for name, setting in _KNOWN.items()}
    assert {name for name, source in claims.items() if source == MEASURED} == told
    assert {name for name, source in claims.items() if source == INSENSITIVE} == measured - told
    for row in rows:
        default = json.loads(json.dumps(_KNOWN[row["setting"]].value))
        assert row["default"] == default, "another default is another measurement"


def test_one_setting_changes_and_no_other() -> None:
    for name, setting in _KNOWN.items():
        value = setting.value
        other = tuple(2 * number + 1 for number in value) if isinstance(value, tuple) else 2 * value + 1
        change = parse_change(str(Change(name, other)))
        assert change.name == name
        assert change.value == pytest.approx(other)
        assert type(change.value) is type(value)
        changed = settings_by_name(with_change(AvatarSettings(), change))
        assert [key for key in _KNOWN if changed[key].value != _KNOWN[key].value] == [name]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("bake.hair.color.pin=3", "no setting 'bake.hair.color.pin'; similar: bake.hair.colour.pin"),
        ("pin=3", "similar: bake.hair.colour.pin, bake.hair.falling.pin, bake.completion.pin"),
        ("bake.light.chroma_rige=3", "similar: bake.light.chroma_ridge"),
        ("xyzzy=3", "--settings lists them all"),
        ("bake.hair.colour.pin", "no setting 'bake.hair.colour.pin='|no setting 'bake.hair.colour.pin'"),
        ("bake.hair.colour.pin=dark", "cannot be 'dark'"),
        ("bake.evidence.face_facing=0.3", "2 numbers"),
        ("bake.skin.rounds=1.5", "cannot be '1.5'"),
        ("bake.hair=3", "no setting 'bake.hair'"),
    ],
)
def test_wrong_changes_say_what_is_wrong(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        parse_change(text)


def test_settings_cannot_be_changed_by_accident() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        AvatarSettings().bake.light.rounds = 3  # type: ignore[misc]


def test_a_difference_counts_when_it_is_large_and_sure_and_no_luck() -> None:
    assert counts([0.004, 0.001], 0.0)
    assert counts([-0.004, 0.001], 0.0)
    assert not counts([0.004, 0.002], 0.0)
    assert not counts([0.0005, 0.0001], 0.0)
    assert not counts([-0.004, 0.001], -0.003), "all rows differ from the baseline by as much"
    assert not counts([0.0001, 0.0001], -0.003), "a change that is hardly one draws no other luck"
    assert counts([-0.008, 0.001], -0.003)


def test_baseline_and_changed_rows_are_printed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("dlib", reason="the judge is an optional dependency: pip install -e '.[bench]'")
    from benchmarks.likeness.__main__ import main

    shutil.copy(_PORTRAIT, tmp_path / "collins.jpg")
    green_lips, hard_light = "bake.template.lip_tint=0.1,0.9,0.1", "bake.warnings.hard_light=9"
    changes = [green_lips, "fit.corrective.sigma=0.0005", hard_light]
    asked = [argument for change in changes for argument in ("--ablate", change)]
    assert main([str(tmp_path), "--no-result", "--texture-size", "512", "--judges", "dlib", *asked]) == 0
    _, baseline, lips, stiff, warned = capsys.readouterr().out.splitlines()
    assert baseline.split()[0] == "baseline"
    assert lips.split()[:2] == [changes[0], "1"]
    assert stiff.split()[:2] == [changes[1], "1"]
    assert warned.split()[:2] == [changes[2], "0"], "a warning changes no picture"
    assert stiff.split()[2] != baseline.split()[1] == warned.split()[2]


def test_an_unknown_setting_is_wrong_usage(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("dlib", reason="the judge is an optional dependency: pip install -e '.[bench]'")
    from benchmarks.likeness.__main__ import main

    shutil.copy(_PORTRAIT, tmp_path / "collins.jpg")
    assert main([str(tmp_path), "--no-result", "--ablate", "bake.hair.lift=1"]) == 2
    assert "bake.hair" in capsys.readouterr().err


def test_the_report_tells_what_the_judge_can_tell() -> None:
    def row(setting: str, value: Any, default: Any, mean: float) -> dict[str, Any]:
        difference = {"photo pose": [0.0, 0.0], "0": [mean, 0.001], "±30": [0.0001, 0.0002]}
        return {
            "setting": setting,
            "value": value,
            "default": default,
            "photos_changed": 3,
            "distance": {"photo pose": 0.2, "0": 0.25 + mean, "±30": 0.3},
            "difference": difference,
        }

    rows = [
        row("bake.hair.colour.pin", 4.0, 8.0, -0.002),
        row("bake.hair.colour.pin", 16.0, 8.0, -0.003),
        row("bake.evidence.neck", [0.1, 0.4], [0.2, 0.8], 0.004),
    ]
    text = ablation_section(
        {
            "photos": 3,
            "persons": 2,
            "texture_size": 512,
            "delight": 0.5,
            "light": "even",
            "baseline": {"photo pose": 0.2, "0": 0.25, "±30": 0.3},
            "rows": rows,
        }
    )
    told, not_told = text.split("<details>")
    assert "the judge can tell 1 of 2 settings" in told
    assert "-0.0020 at yaw 0°" in told
    assert "| `bake.evidence.neck=0.1,0.4` | 0.2,0.8 | 3 | +0.0000 ± 0.0000 | **+0.0040** ± 0.0010 |" in told
    assert "| `bake.hair.colour.pin=4` | 8 | 3 | +0.0000 ± 0.0000 | −0.0020 ± 0.0010 |" in not_told

"""``facewright keys new``: what it prints is what a server takes."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from facewright.cli import main
from facewright.gateway.api_keys import KeyHolder, key_hash, parse_keys


def test_the_key_opens_what_its_line_says(capsys: pytest.CaptureFixture[str]) -> None:
    limits = "--most-at-once 4 --rate 120 --best-priority 1 --expires 2999-01-31"
    assert main(["keys", "new", "studio-a", *limits.split()]) == 0
    printed = capsys.readouterr()
    key, line = printed.out.splitlines()
    assert parse_keys(line, "keys.toml") == (
        KeyHolder("studio-a", (key_hash(key),), 4, 120, 1, datetime(2999, 1, 31, tzinfo=UTC)),
    )
    assert key not in line
    assert key not in printed.err


def test_without_limits_the_line_is_short(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["keys", "new", "studio-a"]) == 0
    key, line = capsys.readouterr().out.splitlines()
    assert line == f'studio-a = {{ sha256 = "{key_hash(key).hex()}" }}'


@pytest.mark.parametrize(
    ("words", "status", "said"),
    [
        ("new a.b", 2, "a caller's name is 1 to 64 letters"),
        ("new a.b", 2, "mend: name it as studio-a\n"),
        ("new fw_b", 2, "a key is never written into the file"),
        ("new a --best-priority -3", 2, "'-3' is no number of things; give 0 to 999999"),
        ("new a --expires soon", 2, "'soon' is no date"),
        ("new a --expires 2020-01-01", 2, "'2020-01-01' is over"),
        ("new a --rate 0", 2, "'0' is no number of things"),
        ("new a --rte 3", 2, "no option --rte; mend: did you mean --rate?"),
        ("old a", 2, "ACTION: 'old' is none"),
        ("new", 2, "NAME"),
    ],
)
def test_wrong_usage_makes_no_key(
    words: str, status: int, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    try:
        ended = main(["keys", *words.split()])
    except SystemExit as exit_:
        ended = int(exit_.code or 0)
    printed = capsys.readouterr()
    assert ended == status
    assert said in printed.err
    assert printed.out == ""

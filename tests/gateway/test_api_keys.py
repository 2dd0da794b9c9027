"""API keys and the file that says whose they are."""

from __future__ import annotations

import re
from datetime import UTC, datetime

import pytest

from facewright.core.errors import FacewrightError
from facewright.gateway.api_keys import SHORTEST_KEY, KeyHolder, key_hash, new_key, parse_keys
from facewright_client.contract import ErrorCode

DIGEST = key_hash("a").hex()
OTHER = key_hash("b").hex()


def test_keys_are_long_and_never_the_same() -> None:
    keys = {new_key() for _ in range(100)}
    assert len(keys) == 100
    assert all(re.fullmatch("fw_[A-Za-z0-9_-]{43}", key) for key in keys)
    assert len(new_key()) > SHORTEST_KEY


def test_the_line_of_a_key_is_read_back_as_it_was_meant() -> None:
    limited = KeyHolder("studio-a", (key_hash("a"),), 8, 120, 1, datetime(2027, 1, 31, 12, tzinfo=UTC))
    changing = KeyHolder("studio_b", (key_hash("b"), key_hash("c")), metrics=True)
    text = f"# who may call\n\n{limited.line()}\n{changing.line()}\n"
    assert parse_keys(text, "keys.toml") == (limited, changing)


def test_a_caller_may_be_a_table() -> None:
    text = f"[studio-a]\nsha256 = '{DIGEST.upper()}'\nrate = 6\nexpires = 2027-01-31\n"
    ended = datetime(2027, 1, 31, tzinfo=UTC)
    assert parse_keys(text, "keys.toml") == (KeyHolder("studio-a", (key_hash("a"),), None, 6, 0, ended),)


def test_times_without_an_offset_are_utc_on_every_machine() -> None:
    (holder,) = parse_keys(f'a = {{ sha256 = "{DIGEST}", expires = 2027-01-31T12:00:00 }}', "keys.toml")
    assert holder.expires == datetime(2027, 1, 31, 12, tzinfo=UTC)
    (holder,) = parse_keys(f'a = {{ sha256 = "{DIGEST}", expires = 2027-01-31T12:00:00+02:00 }}', "keys.toml")
    assert holder.expires == datetime(2027, 1, 31, 10, tzinfo=UTC)


GOOD = f'first = {{ sha256 = "{DIGEST}" }}\n'
SECRET = "fw_" + 43 * "s"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "keys.toml holds no key"),
        ("# nobody yet\n", "keys.toml holds no key"),
        (f"{GOOD}studio-a: {DIGEST}", "no TOML.*line 2"),
        (f'{GOOD}a = {{ sha256 = "{OTHER}", metrics = "yes" }}', "line 2: metrics is neither true nor false"),
        (f"{GOOD}{GOOD}", "no TOML.*line 2"),
        (f"a = {'[' * 100_000}", "no TOML"),
        (f"{GOOD}a = 3", "line 2: a caller has no members"),
        (f"{GOOD}[a]\nrate = 3", "line 2: sha256 is not 64"),
        (f'{GOOD}a = {{ sha256 = "{SECRET}" }}', "line 2: sha256 is not 64"),
        (f"{GOOD}a = {{ sha256 = [] }}", "line 2: sha256 is not 64"),
        (f'{GOOD}\n"a" = {{ sha256 = "{OTHER}", rte = 3 }}', "line 3: 1 unknown member"),
        (f'{GOOD}a = {{ sha256 = "{OTHER}", rate = 0 }}', "line 2: rate is not a whole number"),
        (f'{GOOD}a = {{ sha256 = "{OTHER}", rate = 1.5 }}', "line 2: rate is not a whole number"),
        (f'{GOOD}a = {{ sha256 = "{OTHER}", rate = true }}', "line 2: rate is not a whole number"),
        (f'{GOOD}a = {{ sha256 = "{OTHER}", rate = "3" }}', "line 2: rate is not a whole number"),
        (f'{GOOD}a = {{ sha256 = "{OTHER}", rate = 1{"0" * 5000} }}', "TOML"),
        (f'{GOOD}a = {{ sha256 = "{OTHER}", most_at_once = -1 }}', "line 2: most_at_once is not"),
        (f'{GOOD}a = {{ sha256 = "{OTHER}", best_priority = -1 }}', "line 2: best_priority is not"),
        (f'{GOOD}a = {{ sha256 = "{OTHER}", expires = "soon" }}', "line 2: expires is no date"),
        (f'{GOOD}a = {{ sha256 = "{DIGEST}" }}', "line 2: the key of a is also that of first"),
        (f'{GOOD}"a b" = {{ sha256 = "{OTHER}" }}', "line 2: a caller's name is"),
        (f'{GOOD}a.b = {{ sha256 = "{OTHER}" }}', "line 2: 1 unknown member"),
        (f'{GOOD}{SECRET} = {{ sha256 = "{OTHER}" }}', "line 2: a caller's name is"),
    ],
)
def test_what_is_wrong_is_told_with_its_line_and_without_what_is_secret(text: str, words: str) -> None:
    with pytest.raises(FacewrightError, match=words) as refusal:
        parse_keys(text, "keys.toml")
    assert refusal.value.code == ErrorCode.BAD_OPTION
    assert refusal.value.hint
    said = str(refusal.value)
    assert not any(secret in said for secret in (SECRET, DIGEST, OTHER))

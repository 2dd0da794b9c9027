"""API keys: how they are made, and the file that says whose they are and what these may do.

The file is TOML, one line for each caller, and holds no key:

    studio-a = { sha256 = "9f86d0…", most_at_once = 8, rate = 120, best_priority = 1, expires = 2027-01-01 }

A key is 256 random bits that we draw, so its plain SHA-256 gives nothing away: salts and slow hashes (scrypt,
Argon2) are for what people choose, which can be guessed, and would cost each request tens of milliseconds.
Nobody may undo that by hashing a password into the file: what is shorter than `SHORTEST_KEY` is no key.
"""

from __future__ import annotations

import hashlib
import re
import secrets
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from typing import Final, NoReturn

from facewright.core.errors import FacewrightError
from facewright_client.contract import ErrorCode

#: What a key begins with, for programs that look for secrets where there should be none.
PREFIX: Final = "fw_"
#: Characters: 128 bits as hexadecimal digits, and what ``openssl rand -hex 16`` prints.
SHORTEST_KEY: Final = 32
LONGEST_KEY: Final = 256

_NAME: Final = re.compile(r"[A-Za-z0-9_-]{1,64}")
_SHA256: Final = re.compile(r"[0-9a-fA-F]{64}")
_MEMBERS: Final = ("sha256", "most_at_once", "rate", "best_priority", "expires", "metrics")
_MOST: Final = 1_000_000


@dataclass(frozen=True)
class KeyHolder:
    """Whose a key is, and what they may do.

    Attributes:
        name: of A-Z, a-z, 0-9, ``_`` and ``-``; stands in logs and on the metrics page.
        hashes: SHA-256 of each of its keys; two while one takes the place of the other.
        most_at_once: how many of its requests may be in the house at once; None: as many as fit.
        rate: requests a minute; None: any number.
        best_priority: the most urgent priority it may ask for; 0 is the most urgent of all.
        expires: when its keys end; None: never.
        metrics: whether they open the metrics page, which names all callers.
    """

    name: str
    hashes: tuple[bytes, ...]
    most_at_once: int | None = None
    rate: int | None = None
    best_priority: int = 0
    expires: datetime | None = None
    metrics: bool = False

    def line(self) -> str:
        """Its line in the file, without a newline."""
        shown = [f'"{digest.hex()}"' for digest in self.hashes]
        members = [f"sha256 = {shown[0] if len(shown) == 1 else '[' + ', '.join(shown) + ']'}"]
        if self.most_at_once is not None:
            members.append(f"most_at_once = {self.most_at_once}")
        if self.rate is not None:
            members.append(f"rate = {self.rate}")
        if self.best_priority:
            members.append(f"best_priority = {self.best_priority}")
        if self.expires is not None:
            members.append(f"expires = {self.expires.isoformat()}")
        if self.metrics:
            members.append("metrics = true")
        return f"{self.name} = {{ {', '.join(members)} }}"


def require_name(name: str, place: str = "") -> None:
    """Refuse what cannot be a caller's name.

    Args:
        place: where it stands, for the message.

    Raises:
        FacewrightError: BAD_OPTION, without the name: whoever mistakes the places writes the key here.
    """
    if not _NAME.fullmatch(name) or name.startswith(PREFIX):
        of_keys = "; a key is never written into the file" if name.startswith(PREFIX) else ""
        _refuse(
            f"{place and f'{place}: '}a caller's name is 1 to 64 letters, digits, _ and -, and does not "
            f"begin with {PREFIX} as keys do",
            f"name it as studio-a{of_keys}",
        )


def new_key() -> str:
    """A key that nobody had before: 256 bits of the system's randomness, as 46 characters of RFC 6750."""
    return PREFIX + secrets.token_urlsafe(32)


def key_hash(key: str) -> bytes:
    """SHA-256 of a key."""
    return hashlib.sha256(key.encode()).digest()


def parse_keys(text: str, source: str) -> tuple[KeyHolder, ...]:
    """The callers of a key file.

    Args:
        text: TOML, as in this module's docstring.
        source: what it is called in errors: the file's path, or the variable.

    Raises:
        FacewrightError: BAD_OPTION, with the line and what is wrong there; never with what a line holds.
    """
    try:
        table = tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        _refuse(f"{source} is no TOML: {error}", 'write lines as studio-a = { sha256 = "…" }')
    if not table:
        _refuse(f"{source} holds no key", "facewright keys new NAME makes one and prints its line")
    holders = []
    owner: dict[bytes, str] = {}
    for name, members in table.items():
        place = f"{source}{_line_of(text, name)}"
        holder = _holder(name, members, place)
        for digest in holder.hashes:
            if owner.setdefault(digest, name) != name:
                _refuse(f"{place}: the key of {name} is also that of {owner[digest]}", "make one for each")
        holders.append(holder)
    return tuple(holders)


def _holder(name: str, members: object, place: str) -> KeyHolder:
    require_name(name, place)
    if not isinstance(members, Mapping):
        _refuse(f"{place}: a caller has no members", 'write name = { sha256 = "…" }')
    unknown = len(members.keys() - set(_MEMBERS))
    if unknown:
        _refuse(f"{place}: {unknown} unknown member(s)", f"there are {', '.join(_MEMBERS)}")
    given = members.get("sha256")
    hashes = given if isinstance(given, list) else [given]
    if not hashes or not all(isinstance(one, str) and _SHA256.fullmatch(one) for one in hashes):
        _refuse(
            f"{place}: sha256 is not 64 hexadecimal digits",
            "it is the key's hash, not the key: facewright keys new NAME prints both",
        )
    return KeyHolder(
        name=name,
        hashes=tuple(map(bytes.fromhex, hashes)),
        most_at_once=_count(members, "most_at_once", 1, place),
        rate=_count(members, "rate", 1, place),
        best_priority=_count(members, "best_priority", 0, place) or 0,
        expires=_expiry(members.get("expires"), place),
        metrics=_flag(members, "metrics", place),
    )


def _count(members: Mapping[str, object], member: str, least: int, place: str) -> int | None:
    value = members.get(member)
    if value is None:
        return None
    # True is an int to Python.
    if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= _MOST:
        _refuse(f"{place}: {member} is not a whole number", f"give {least} to {_MOST}, or leave it out")
    return value


def _flag(members: Mapping[str, object], member: str, place: str) -> bool:
    value = members.get(member, False)
    if not isinstance(value, bool):
        _refuse(f"{place}: {member} is neither true nor false", "write one of them, without quotes")
    return value


def _expiry(value: object, place: str) -> datetime | None:
    """A date is its first moment; without an offset it is UTC, whatever the machine's time zone."""
    if value is None:
        return None
    if isinstance(value, datetime):
        return value if value.tzinfo else value.replace(tzinfo=UTC)
    if not isinstance(value, date):
        _refuse(f"{place}: expires is no date", "write it without quotes: expires = 2027-01-31")
    return datetime.combine(value, time(), UTC)


def _line_of(text: str, name: str) -> str:
    """Where a caller begins (``name = {`` or ``[name]``), which `tomllib` does not tell; "" for a name that
    is spelt with escapes.
    """
    spelt = rf"""(?:{re.escape(name)}|"{re.escape(name)}"|'{re.escape(name)}')"""
    found = re.search(rf"^[ \t]*(?:{spelt}[ \t]*[=.]|\[[ \t]*{spelt}[ \t]*[\].])", text, re.MULTILINE)
    return f", line {1 + text.count(chr(10), 0, found.start())}" if found else ""


def _refuse(message: str, hint: str) -> NoReturn:
    raise FacewrightError(ErrorCode.BAD_OPTION, message, hint)

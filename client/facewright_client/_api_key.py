"""The API key that a client shows: where it is read from, and how it is sent (RFC 6750, section 2.1)."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any, Final

#: Of programs that are given no file. Never an argument of a command: those are seen by every user.
VARIABLE: Final = "FACEWRIGHT_KEY"
#: ``token68`` of RFC 9110, 11.2: what fits into the header.
_KEY: Final = re.compile(r"[A-Za-z0-9._~+/-]+=*")
#: A key has 46 characters; nobody means a photo.
_LONGEST_FILE: Final = 4096


def check_key(key: object) -> None:
    """Refuse what is no key; it is not shown, for it may be one with a slip of the hand.

    Raises:
        ValueError: it is none.
    """
    if not isinstance(key, str):
        raise ValueError(f"an API key is a string, not {type(key).__name__}")
    if key != key.strip():
        raise ValueError("the API key has blanks or a line's end around it; strip() them")
    if not _KEY.fullmatch(key):
        raise ValueError("the API key is empty, or has characters that no key has")


def key_from(file: Path | None) -> str | None:
    """The key in a file or, where none is given, in ``$FACEWRIGHT_KEY``; None: in neither.

    Raises:
        OSError: the file cannot be read.
        ValueError: what is there is no key.
    """
    if file is None:
        text, source = os.environ.get(VARIABLE, ""), f"${VARIABLE}"
        if not text.strip():
            return None
    else:
        with file.open("rb") as opened:
            text, source = opened.read(_LONGEST_FILE).decode(errors="replace"), str(file)
    key = text.strip()
    try:
        check_key(key)
    except ValueError:
        raise ValueError(f"{source} holds no API key: one word, as facewright keys new prints it") from None
    return key


def show_key(client: Any, key: str | None) -> Any:
    """``client``, one of tritonclient's, which now sends the key with every call."""
    if key is not None:
        client.register_plugin(_Bearer(key))
    return client


class _Bearer:
    """tritonclient's plugin: called for the headers of each call."""

    def __init__(self, key: str) -> None:
        self._value = f"Bearer {key}"

    def __call__(self, request: Any) -> None:
        request.headers["authorization"] = self._value

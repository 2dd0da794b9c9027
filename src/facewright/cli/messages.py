"""What the command line says to a person: one line each, whatever is in it."""

from __future__ import annotations

import io
import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Final, TextIO, cast

from facewright.core.invocation import runnable

#: Longer than the name of any file, so that paths people have stay whole, characters.
_LONGEST_WORD: Final = 300
_LONG_WORD: Final = re.compile(rf"\S{{{_LONGEST_WORD + 1},}}")
_LONGEST_LINE: Final = 2000


def complain(message: object, hint: str = "") -> None:
    """Say on standard error what was wrong and what to do."""
    say(f"error: {message}; mend: {runnable(hint)}" if hint else f"error: {message}")


def say(line: str) -> None:
    """Say something on standard error; where that is closed, full or read by nobody, to nobody."""
    print(printable(line), file=LOG, flush=True)


class _Log(io.TextIOBase):
    """Standard error as it is at the moment: what it does not take is dropped, and no work is lost by it."""

    def write(self, text: str) -> int:
        with suppress(OSError, ValueError, AttributeError):
            sys.stderr.write(text)
        return len(text)

    def flush(self) -> None:
        with suppress(OSError, ValueError, AttributeError):
            sys.stderr.flush()

    def isatty(self) -> bool:
        return sys.stderr is not None and sys.stderr.isatty()

    def fileno(self) -> int:
        return sys.stderr.fileno()

    @property
    def encoding(self) -> str:  # type: ignore[override]
        return getattr(sys.stderr, "encoding", None) or "utf-8"


#: Where everything is said that is no result.
LOG: Final = cast("TextIO", _Log())


def printable(text: object) -> str:
    r"""``text`` in one line that a terminal only shows: what controls it, and bytes of file names that are no
    characters, as ``\x1b``, and of what is longer than any message its beginning and its end.
    """
    line = "".join(character if character.isprintable() else _escaped(character) for character in str(text))
    line = _LONG_WORD.sub(lambda found: _shortened(found[0], _LONGEST_WORD), line)
    return _shortened(line, _LONGEST_LINE)


def reason(error: OSError) -> str:
    """What the system says, without its number."""
    return error.strerror or str(error)


def prepare_streams() -> None:
    """Standard streams that take whatever is said.

    File names and messages may hold what the terminal's encoding has not: it is escaped, as on standard
    error. Streams that are closed become ones that nobody reads, before a file that is opened takes
    their number.
    """
    for number in (0, 1, 2):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest number that is free
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")


@contextmanager
def naming_output() -> Iterator[None]:
    """Around what is written to standard output: its errors name it."""
    try:
        yield
    except OSError as error:
        error.filename = "standard output"
        raise


def flush_output() -> None:
    """Write what is left of the results.

    Raises:
        OSError: standard output does not take them.
    """
    if sys.stdout is not None:
        with naming_output():
            sys.stdout.flush()


def discard_output() -> None:
    """Write what is left to write; where nobody reads it any more it goes nowhere, without a word."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError):
            os.dup2(nowhere, stream.fileno())
        except AttributeError:  # closed before this process began
            continue
    os.close(nowhere)


def _shortened(text: str, most: int) -> str:
    """``text`` of at most that many characters, without its middle."""
    half = most // 2
    return text if len(text) <= most else f"{text[: half - 1]}…{text[-half:]}"


def _escaped(character: str) -> str:
    code = ord(character)
    if 0xDC80 <= code <= 0xDCFF:  # a byte of a file name
        code -= 0xDC00
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"

"""Kinds of arguments, each with its own words for what is none."""

from __future__ import annotations

import argparse
import math
import re
import stat
from pathlib import Path

from facewright.cli.messages import reason
from facewright.core.errors import FacewrightError
from facewright_client._whole_file import file_behind, make_folder_first, obstacle, try_folder
from facewright_client.contract import ErrorCode


def seconds(text: str) -> float:
    """A span of time, above 0."""
    value = _number(text)
    if not 0 < value <= 1e6:
        raise argparse.ArgumentTypeError(f"{text!r} is no time; give seconds, more than 0 and at most 1e6")
    return value


def seconds_or_never(text: str) -> float:
    """A span of time, or 0."""
    value = _number(text)
    if not 0 <= value <= 1e6:
        raise argparse.ArgumentTypeError(f"{text!r} is no time; give seconds, 0 to 1e6")
    return value


def count(text: str) -> int:
    """How many, from 1."""
    if not (re.fullmatch("[0-9]{1,6}", text) and int(text)):
        raise argparse.ArgumentTypeError(f"{text!r} is no number of things; give 1 to 999999")
    return int(text)


def count_or_all(text: str) -> int:
    """How many; 0: all there are."""
    if not re.fullmatch("[0-9]{1,6}", text):
        raise argparse.ArgumentTypeError(f"{text!r} is no number of things; give 0 to 999999")
    return int(text)


def port(text: str) -> int:
    """A TCP port, or 0."""
    if not (re.fullmatch("[0-9]{1,5}", text) and int(text) < 1 << 16):
        raise argparse.ArgumentTypeError(f"{text!r} is no port; give 1 to 65535, or 0 for a free one")
    return int(text)


def host(text: str) -> str:
    """An address to listen on, or a name of one; which it may be is told by the system."""
    with_port = re.fullmatch(r"([^:]{1,253}|\[[0-9A-Fa-f:]+\]):[0-9]{1,5}", text)
    if with_port:
        raise argparse.ArgumentTypeError(
            f"{_short(text)} has a port; leave the port out: {with_port[1].strip('[]')} (the ports are "
            "--grpc-port's and --http-port's)"
        )
    if not re.fullmatch(r"[0-9A-Za-z.:_%-]{1,253}", text) or ".." in text:
        raise argparse.ArgumentTypeError(
            f"{_short(text)} is no address; give one of this machine, such as 127.0.0.1, or 0.0.0.0 for all"
        )
    return text


def log_file(text: str) -> Path:
    """The file that a log is added to."""
    if not text:
        raise argparse.ArgumentTypeError("'' is no file; name one, or leave --log out for standard error")
    return Path(text)


def written_file(text: str) -> Path:
    """A file that is to be written when long work is done."""
    path = Path(text)
    missing = make_folder_first(path)
    if missing:
        raise argparse.ArgumentTypeError(f"{text!r} is in no folder that there is; {missing}")
    what = obstacle(path)
    if what:
        raise argparse.ArgumentTypeError(f"{text!r} {what}; give the name of a file")
    try_folder(file_behind(path).parent)
    return path


def server_address(text: str) -> str:
    """``host:port`` of a server's gRPC, or ``http://host:port`` of its REST."""
    from facewright_client._address import checked_address
    from facewright_client._rest_address import checked_rest_address, is_rest

    try:
        if is_rest(text):
            checked_rest_address(text)
            return text
        return checked_address(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def photo(text: str) -> Path:
    """A photo's path; whether there is one is told when it is its turn."""
    from facewright_client._photo_file import is_url

    if text == "-":
        raise argparse.ArgumentTypeError("'-': photos are read from files, not from standard input")
    if text.lower().startswith("file://"):
        raise argparse.ArgumentTypeError(f"{text!r} is a URL; give the path alone: {text[7:] or 'me.jpg'}")
    if is_url(text):
        raise argparse.ArgumentTypeError(f"{_short(text)} is a URL; download it, and give the file")
    if not text:
        raise argparse.ArgumentTypeError("an empty name is no photo; give a file")
    return Path(text)


def no_key(_text: str) -> str:
    """Refuse an API key, whatever it is."""
    raise argparse.ArgumentTypeError(
        "a key on a command line is seen by every user of this machine; give it in a file, --key-file FILE, "
        "or in $FACEWRIGHT_KEY"
    )


def key_file(text: str) -> Path:
    """The file that an API key is in, and not the key, which would be told as a file that is not there."""
    from facewright.gateway.api_keys import PREFIX

    path = Path(text)
    if path.name.startswith(PREFIX) and not path.exists():
        no_key(text)
    return path


def require_readable(path: Path, option: str) -> None:
    """Refuse what is no file that can be read: before any work, and before a pipe is waited for.

    Raises:
        FacewrightError: BAD_OPTION.
    """
    problem = ""
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            problem = "is no file"
        else:
            with path.open("rb"):
                return
    except OSError as error:
        problem = f"cannot be read: {reason(error)}"
    raise FacewrightError(ErrorCode.BAD_OPTION, f"{option} {path} {problem}", "give a file that is there")


def _number(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        return math.nan
    return value


def _short(text: str) -> str:
    return repr(text if len(text) <= 64 else f"{text[:61]}...")

"""How many files and connections this process may have open at once."""

from __future__ import annotations

import resource

from facewright.core.errors import FacewrightError
from facewright_client.contract import ErrorCode


def require_open_files(who: str, least: int, wanted: int = 0) -> None:
    """Let this process have ``wanted`` open files, or as many as the system lets it have.

    Args:
        who: is to have them, in words.
        least: without which it would end in the middle of its work: gRPC aborts the process.
        wanted: with which nothing has to wait; at least ``least``.

    Raises:
        FacewrightError: INTERNAL: the system lets it have fewer than ``least``.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = max(least, wanted)
    if resource.RLIM_INFINITY != soft < wanted:
        soft = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    if resource.RLIM_INFINITY != soft < least:
        raise FacewrightError(
            ErrorCode.INTERNAL,
            f"this process may have {soft} open files, and {who} needs {least}",
            f"raise the limit: ulimit -n {max(wanted, 1024)}, or in a new shell where that is refused",
        )

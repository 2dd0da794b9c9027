"""Who calls: by API key, or, where none is asked for, by address.

Keys travel as ``Authorization: Bearer KEY`` (RFC 6750, 2.1), over REST as a header and over gRPC as the
metadata ``authorization``; the scheme's name in any case (RFC 9110, 11.1), the key as it is. Not in the URL,
where it would end in logs (RFC 6750, 5.3).

Whoever fails is neither slowed down nor locked out. There is nothing to guess: at a million tries a second,
half of 256 bits take 10^63 years, and a refusal costs less than a greeting over TLS. A lock by address, on
the other hand, would let one caller behind a balancer shut out all the others, and fill memory for strangers.
They are counted.
"""

from __future__ import annotations

import logging
import re
import stat
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC
from pathlib import Path
from typing import Final

from facewright.core.errors import FacewrightError
from facewright.gateway.api_keys import LONGEST_KEY, SHORTEST_KEY, KeyHolder, key_hash, parse_keys
from facewright.gateway.call import Caller
from facewright.gateway.followed_files import FollowedFiles
from facewright.gateway.usage import Usage, usage_text
from facewright_client.contract import ErrorCode

#: TOML as in the file of ``--keys``; for containers that get their secrets as variables.
KEYS_VARIABLE: Final = "FACEWRIGHT_KEYS"
#: Value of ``WWW-Authenticate``, which an answer 401 must have (RFC 9110, 15.5.2).
CHALLENGE: Final = 'Bearer realm="facewright"'
#: Of whoever shows no key where none is asked for, in `Callers.usage`: addresses are too many, and personal.
ANYBODY: Final = "anybody"

_LOG: Final = logging.getLogger("facewright.gateway")
#: ``Bearer 1*SP token68``, RFC 6750 and RFC 9110, 11.2.
_BEARER: Final = re.compile(
    rf"[Bb][Ee][Aa][Rr][Ee][Rr] +(?P<key>[A-Za-z0-9._~+/-]{{{SHORTEST_KEY},{LONGEST_KEY}}}={{0,2}})"
)
_HINT: Final = "send Authorization: Bearer KEY (over gRPC as metadata) with the key that you were given"


def by_name(headers: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Headers, or gRPC metadata, by name; what came several times is joined by commas.

    Args:
        headers: names in small letters, and values; a stranger may send thousands.
    """
    values: dict[str, list[str]] = {}
    for name, value in headers:
        values.setdefault(name, []).append(value)
    return {name: ", ".join(several) for name, several in values.items()}


class TokenBucket:
    """So many requests a minute: a minute's worth may come at once, then one every ``60 / rate`` seconds.

    Args:
        rate: requests a minute.
        now: seconds of the clock that `take` is given.
    """

    def __init__(self, rate: int, now: float) -> None:
        self.rate = rate
        self._tokens = float(rate)
        self._seen = now

    def take(self, now: float) -> float:
        """Let one request pass; returns 0, or the seconds after which one will, and then none has."""
        self._tokens = min(self.rate, self._tokens + (now - self._seen) * self.rate / 60)
        self._seen = now
        if self._tokens >= 1:
            self._tokens -= 1
            return 0.0
        return (1 - self._tokens) * 60 / self.rate


@dataclass(frozen=True)
class Clocks:
    """Seconds that only grow, for rates, and those since 1970, for dates."""

    monotonic: Callable[[], float] = time.monotonic
    wall: Callable[[], float] = time.time


class _Directory:
    """Who has keys, as one file says; another file is another directory, so that no request sees two."""

    def __init__(self, holders: Sequence[KeyHolder]) -> None:
        self.by_hash = {digest: holder for holder in holders for digest in holder.hashes}
        self.rates = {holder.name: holder.rate for holder in holders}


class Callers:
    """Everybody who may call, and what they have used. For one thread but for `reload`.

    Args:
        holders: who has keys; nobody: callers are named by their address.
        keys_file: where they are from, to be read again when it changes; None: nowhere.
        clocks: others, for tests.
    """

    def __init__(
        self,
        holders: Sequence[KeyHolder] = (),
        keys_file: Path | None = None,
        clocks: Clocks | None = None,
    ) -> None:
        self._file = keys_file
        self._followed = FollowedFiles([keys_file] if keys_file else [])
        self._clocks = clocks or Clocks()
        self._buckets: dict[str, TokenBucket] = {}
        self._usages: dict[str, Usage] = {}
        self._turned_away = 0
        if keys_file is not None:
            self._followed.changed()
            holders = _read(keys_file)
        self._directory = _Directory(holders)
        #: Whether a key must be shown. Never changes: a file without keys is none.
        self.keys_asked = bool(holders)

    @classmethod
    def from_settings(cls, keys_file: Path | None, environment: Mapping[str, str]) -> Callers:
        """Those of ``--keys``, else those of the variable, else anybody.

        Raises:
            FacewrightError: BAD_OPTION: both are given, or what is there is not right.
        """
        text = environment.get(KEYS_VARIABLE)
        if text is None:
            return cls(keys_file=keys_file)
        if keys_file is None:
            return cls(parse_keys(text, f"${KEYS_VARIABLE}"))
        raise FacewrightError(
            ErrorCode.BAD_OPTION, f"there are keys in {keys_file} and in ${KEYS_VARIABLE}", "give one of them"
        )

    def identify(self, authorization: Sequence[str], address: str) -> Caller:
        """Who sends a request.

        Args:
            authorization: values of all its headers (gRPC: metadata) of that name.
            address: what a caller without a key is called (`addresses`).

        Raises:
            FacewrightError: UNAUTHENTICATED; over REST with `CHALLENGE`.
        """
        if not self.keys_asked:
            return Caller(address)
        try:
            holder = self._holder(authorization)
        except FacewrightError:
            self._turned_away += 1
            raise
        return Caller(holder.name, holder.best_priority, holder.most_at_once, holder.metrics)

    def _holder(self, authorization: Sequence[str]) -> KeyHolder:
        if not authorization:
            raise FacewrightError(ErrorCode.UNAUTHENTICATED, "this server asks for an API key", _HINT)
        shown = _BEARER.fullmatch(authorization[0]) if len(authorization) == 1 else None
        if shown is None:
            problem = f"{len(authorization)} authorizations, or one that is no Bearer key"
            raise FacewrightError(ErrorCode.UNAUTHENTICATED, problem, _HINT)
        # Looked up by its hash: how long that takes depends on SHA-256 of what a stranger sent, and tells at
        # most how that hash begins to differ from those kept. Whoever could use that would have to find keys
        # to given hashes, and with all of a hash known there are still 2^256 to try. Comparing with each of
        # them by `hmac.compare_digest` would hide nothing more, and tell by its time how many keys there are.
        holder = self._directory.by_hash.get(key_hash(shown["key"]))
        if holder is None:
            raise FacewrightError(ErrorCode.UNAUTHENTICATED, "nobody has this API key", _HINT)
        if holder.expires is not None and self._clocks.wall() >= holder.expires.timestamp():
            ended = holder.expires.astimezone(UTC).isoformat(timespec="seconds")
            raise FacewrightError(
                ErrorCode.UNAUTHENTICATED,
                f"the API key of {holder.name} ended {ended}",
                "ask whoever runs the server for a new one",
            )
        return holder

    def spend(self, caller: Caller) -> None:
        """Count one request against its caller's rate.

        Raises:
            FacewrightError: OVERLOADED, with the time after which it may come back.
        """
        rate = self._directory.rates.get(caller.name) if self.keys_asked else None
        if rate is None:
            return
        now = self._clocks.monotonic()
        bucket = self._buckets.get(caller.name)
        if bucket is None or bucket.rate != rate:  # the first, or the file says another rate now
            bucket = self._buckets[caller.name] = TokenBucket(rate, now)
        wait = bucket.take(now)
        if wait:
            raise FacewrightError(
                ErrorCode.OVERLOADED,
                f"{caller.name} may ask {rate} times a minute",
                f"come back in {wait:.1f} s",
                retry_after_s=wait,
            )

    def reload(self) -> None:
        """Read the file again if it changed (`followed_files.follow`). One that is broken or gone is told in
        the log, and the keys stay as they were: an editor that writes in two steps shuts nobody out.
        """
        if self._file is None or not self._followed.changed():
            return
        try:
            holders = _read(self._file)
        except FacewrightError as error:
            _LOG.error("API keys stay as they were: %s (%s)", error.message, error.hint)
            return
        self._directory = _Directory(holders)
        _LOG.info("API keys read again: %d callers", len(holders))

    def usage(self, caller: Caller) -> Usage:
        """What it has used, to be added to."""
        name = caller.name if self.keys_asked else ANYBODY
        return self._usages.setdefault(name, Usage())

    def metrics(self) -> Iterator[str]:
        """Lines for Prometheus (`usage.usage_text`), and how many were turned away."""
        yield from usage_text(self._usages)
        yield "# HELP facewright_unauthenticated_total Requests without an API key that is known and valid.\n"
        yield "# TYPE facewright_unauthenticated_total counter\n"
        yield f"facewright_unauthenticated_total {self._turned_away}\n"


def _read(path: Path) -> tuple[KeyHolder, ...]:
    """The callers of a file that may be read by its owner alone, or else is complained of.

    Raises:
        FacewrightError: BAD_OPTION.
    """
    try:
        mode = path.stat().st_mode
        text = path.read_text("utf-8")
    except OSError as error:
        problem = f"{path} cannot be read: {error.strerror}"
        raise FacewrightError(ErrorCode.BAD_OPTION, problem, "facewright keys new NAME begins one") from None
    except UnicodeDecodeError:
        raise FacewrightError(ErrorCode.BAD_OPTION, f"{path} is no text", "write it as UTF-8") from None
    if mode & stat.S_IWOTH:
        problem = f"everybody on this machine may write into {path}, and so let in whom they like"
        raise FacewrightError(ErrorCode.BAD_OPTION, problem, f"chmod 600 {path}")
    if mode & stat.S_IROTH:
        # Hashes of random keys open nothing; who the callers are and what they may do is nobody's business.
        _LOG.warning("everybody on this machine may read %s; mend: chmod 600 %s", path, path)
    return parse_keys(text, str(path))

"""``facewright keys new``: an API key, for a server that asks for them."""

from __future__ import annotations

import argparse
from datetime import UTC, datetime
from typing import Any

from facewright.cli import arguments
from facewright.cli.messages import say


def add_keys(commands: Any) -> None:
    """The arguments of ``facewright keys``."""
    keys = commands.add_parser(
        "keys",
        help="make an API key",
        description="Make an API key. Standard output is two lines: the key, for its caller, which nothing "
        "keeps and nobody can show again; and the line for the file of serve --keys (or $FACEWRIGHT_KEYS), "
        "which holds its hash. A running server reads that file when it changes.",
    )
    keys.add_argument("action", type=_action, metavar="ACTION", help="new")
    keys.add_argument("name", metavar="NAME", help="whose it is: letters, digits, _ and -")
    keys.add_argument(
        "--most-at-once", type=arguments.count, metavar="N", help="requests in work at a time (default: any)"
    )
    keys.add_argument("--rate", type=arguments.count, metavar="N", help="requests a minute (default: any)")
    keys.add_argument(
        "--best-priority",
        type=arguments.count_or_all,
        default=0,
        metavar="N",
        help="most urgent priority it may ask for (default: %(default)s, the most urgent of all)",
    )
    keys.add_argument("--expires", type=_date, metavar="DATE", help="as 2027-01-31, UTC (default: never)")
    keys.add_argument(
        "--metrics",
        action="store_true",
        help="it opens the metrics page, which names all callers",
    )
    keys.set_defaults(run=_new)


def _action(text: str) -> str:
    if text != "new":
        raise argparse.ArgumentTypeError(
            f"{text!r} is none; facewright keys new NAME makes a key, and one ends when its line is "
            "taken out of the server's file"
        )
    return text


def _date(text: str) -> datetime:
    try:
        given = datetime.fromisoformat(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no date; give it as 2027-01-31") from None
    given = given if given.tzinfo else given.replace(tzinfo=UTC)
    if given <= datetime.now(UTC):
        raise argparse.ArgumentTypeError(f"{text!r} is over; a key with it would open nothing")
    return given


def _new(parsed: argparse.Namespace) -> int:
    from facewright.gateway.api_keys import KeyHolder, key_hash, new_key, require_name

    require_name(parsed.name)
    key = new_key()
    holder = KeyHolder(
        name=parsed.name,
        hashes=(key_hash(key),),
        most_at_once=parsed.most_at_once,
        rate=parsed.rate,
        best_priority=parsed.best_priority,
        expires=parsed.expires,
        metrics=parsed.metrics,
    )
    say(f"the key of {holder.name}, shown this once, and its line for the file of --keys:")
    print(f"{key}\n{holder.line()}")
    return 0

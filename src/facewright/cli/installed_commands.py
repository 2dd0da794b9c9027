"""Commands that other packages bring: the entry points of the group ``facewright.commands``.

An entry point is a function of the command line's ``add_subparsers()``, to which it adds one command with its
arguments; ``run``, among the defaults, is called with what was parsed. It is loaded for every call of
``facewright``, so its module imports nothing large. What serves does not import the package that exports
networks: this is how its commands are found.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from importlib.metadata import entry_points
from typing import Any, Final, NoReturn

from facewright.cli.mends import typed_here
from facewright.core.errors import FacewrightError
from facewright_client.contract import ErrorCode

GROUP: Final = "facewright.commands"
#: Commands that are listed on a machine that lacks them too: running one says where it comes from.
_OF_THE_SOURCE_TREE: Final = ("export", "build", "parity")
_MEND: Final = "scripts/setup --export, then .venv-export/bin/facewright with the same arguments"


def add_installed(commands: Any) -> None:
    """Add every installed command, and one that says what is missing for each that is known and is not there.

    A package whose commands cannot be imported takes none of the others with it.
    """
    installed = {entry.name: entry for entry in entry_points(group=GROUP)}
    known = [*_OF_THE_SOURCE_TREE, *sorted(installed.keys() - set(_OF_THE_SOURCE_TREE))]
    for name in known:
        if name not in installed:
            _add_missing(commands, name, "is not part of this installation", _MEND)
            continue
        try:
            add: Callable[[Any], None] = installed[name].load()
        except BaseException as error:  # a module may leave by sys.exit, too
            mend = f"install the package that brings {installed[name].value} again"
            what = str(error) if isinstance(error, ImportError) else f"{type(error).__name__}: {error}"
            _add_missing(commands, name, f"cannot be imported: {what}", mend)
        else:
            add(commands)


def _add_missing(commands: Any, name: str, why: str, mend: str) -> None:
    """A command that takes whatever the real one takes and says how to get that."""
    # No character starts an option, so that all arguments are words.
    missing = commands.add_parser(name, help="not installed", prefix_chars="\0", add_help=False)
    missing.add_argument("arguments", nargs="*")

    def run(_parsed: argparse.Namespace) -> NoReturn:
        raise FacewrightError(ErrorCode.INTERNAL, f"facewright {name} {why}", typed_here(mend))

    missing.set_defaults(run=run)

"""How a command line is read: what is wrong with it is told in one line, with what was probably meant."""

from __future__ import annotations

import argparse
import os
import re
import shlex
from collections.abc import Callable, Collection, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Final, NoReturn

from facewright.cli.messages import complain, naming_output
from facewright.core.invocation import runnable

#: What the commands exit with after wrong usage.
WRONG_USAGE = 2


#: What photos' names end in, those that are refused among them.
_PHOTOS: Final = (".jpg", ".jpeg", ".png", ".webp", ".avif", ".heic", ".heif", ".gif", ".bmp", ".tif")
#: argparse's words, and ours. An argument is called by its first name of more than one letter.
_WORDS: Final = tuple(
    (re.compile(pattern, re.DOTALL), ours)
    for pattern, ours in (
        (r"ignored explicit argument (.*)", r"takes no value, and was given \1; leave the value out"),
        (r"expected (at least )?one argument", "has no value behind it"),
        (r"not allowed with argument (\S+)", r"does not go together with \1"),
    )
)
_ABOUT: Final = re.compile(r"argument (?:-\w/)?([^\s/]+)\S*: (.*)", re.DOTALL)
_MISSING: Final = re.compile(r"the following arguments are required: (.*)")


class CommandParser(argparse.ArgumentParser):
    """`argparse.ArgumentParser` whose errors are one line, without the usage before it, and whose options are
    written out: an abbreviation would be as near to another option in the next version."""

    def __init__(self, *positional: Any, **settings: Any) -> None:
        super().__init__(*positional, **{"allow_abbrev": False, **settings})

    def error(self, message: str) -> NoReturn:
        """Say what is wrong, and exit."""
        complain(runnable(f"{_reworded(message)} (usage: {self.prog} --help)"))
        self.exit(WRONG_USAGE)

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        """As argparse's, which names the choices and not the one that was probably meant."""
        if action.choices is None or value in action.choices:
            return
        choices = [str(choice) for choice in action.choices]
        near = get_close_matches(str(value).lower(), choices, n=1)
        hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(choices)}"
        raise argparse.ArgumentError(action, f"{value!r} is none; {hint}")

    def refuse_words(self, words: Sequence[str]) -> NoReturn:
        """Exit: these are left when all arguments have theirs."""
        photo = next(filter(_is_photo, words), None)
        hint = _create_it(photo) if photo else f"{self.prog} --help says what it takes"
        for action in self._actions:
            if photo and action.nargs == "+" and not action.option_strings:
                hint = f"write every {action.metavar} in one row, options before or behind"
        complain(f"{self.prog} does not know what to do with {' '.join(words)}", hint)
        self.exit(WRONG_USAGE)

    def _print_message(self, message: str, file: Any = None) -> None:
        """As argparse's, which says nothing of a file that cannot be written."""
        if message and file is not None:
            with naming_output():
                file.write(message)

    def spelling(self, option: str) -> str:
        """An option as it is typed here; "" where there is none. One of a letter may come with two dashes."""
        return next((name for name in (option, option[1:]) if name in self._option_string_actions), "")

    def refuse_unknown_options(
        self, words: Sequence[str], elsewhere: Callable[[str], str] = lambda _option: ""
    ) -> None:
        """Exit where a word is an option that this parser does not have, as argparse would after complaining
        of what is missing because of it.

        Args:
            words: what the command was given.
            elsewhere: says where there is such an option; "" for nowhere.
        """
        if "-" not in self.prefix_chars:
            return
        for word in words:
            if word == "--":
                return
            option = self._meant(word)
            flag = option or (word[:1] == "-" and not self._known(word))
            if flag and os.path.isfile(word):  # a photo, and every option's name was taken for one
                complain(f"{self.prog} has no option {word}", f"write ./{word} for the file of that name")
                self.exit(WRONG_USAGE)
            if option is None:
                continue
            near = _near(option, self._option_string_actions)
            place = "" if near[:1] == [_spelt(option)] else elsewhere(option)
            known = f"{self.prog} --help lists them"
            hint = place or (f"did you mean {' or '.join(near)}?" if near else known)
            complain(f"{self.prog} has no option {word.split('=', 1)[0]}", hint)
            self.exit(WRONG_USAGE)

    def _known(self, word: str) -> bool:
        """Whether a word is an option that there is, with its value or without."""
        return word.split("=", 1)[0] in self._option_string_actions or (
            word[:2] != "--" and word[:2] in self._option_string_actions
        )

    def _meant(self, word: str) -> str | None:
        """The option, with two dashes, that a word is meant as and that is none; None for any other word."""
        known = self._option_string_actions
        name = word.split("=", 1)[0]
        if name.startswith("--"):
            return None if name in known else name
        if not word.startswith("-") or word == "-" or re.match(r"-\.?\d", word):
            return None
        if word[:2] not in known:
            return f"-{name}"
        # "-out" would be "-o ut".
        return (
            f"-{name}" if len(name) > 2 and any(option.startswith(f"-{name}") for option in known) else None
        )


def _reworded(message: str) -> str:
    """What argparse says, as we say it."""
    missing = _MISSING.fullmatch(message)
    if missing:
        names = [name.rsplit("/", 1)[-1] for name in missing[1].split(", ")]
        return f"{' and '.join(names)} {'is' if len(names) == 1 else 'are'} missing"
    about = _ABOUT.fullmatch(message)
    if about is None:
        return message
    for pattern, ours in _WORDS:
        found = pattern.fullmatch(about[2])
        if found:
            return f"{about[1]} {found.expand(ours)}"
    return f"{about[1]}: {about[2]}"


def _is_photo(word: str) -> bool:
    return Path(word).suffix.lower() in _PHOTOS


def _create_it(photo: str) -> str:
    return f"avatars are made by: facewright create {shlex.quote(photo)} -o me.glb"


def _spelt(option: str) -> str:
    """As options are: small, with dashes."""
    return option.lower().replace("_", "-")


def _near(option: str, known: Collection[str]) -> list[str]:
    """The options that one may have meant: those that it is an end of, else the one most like it."""
    spelt = _spelt(option)
    if spelt in known:
        return [spelt]
    ends = [
        name
        for name in known
        if name.endswith(spelt.removeprefix("-")) or (len(spelt) > 3 and name.startswith(spelt))
    ]
    return ends or get_close_matches(spelt, known, n=1, cutoff=0.7)


def refuse_unknown_command(prog: str, commands: Sequence[str], word: str, elsewhere: str) -> None:
    """Exit where ``word`` is no command.

    Args:
        prog: the program.
        commands: that there are.
        word: what was typed.
        elsewhere: the command, or option, that other programs call so; "" for none.
    """
    if word in commands or word.startswith("-"):
        return
    near = [elsewhere] if elsewhere else get_close_matches(word.lower(), commands, n=1)
    hint = f"did you mean {prog} {near[0]}?" if near else f"there are {', '.join(commands)}: {prog} --help"
    if word.partition(" ")[0] in commands:
        hint = "take off the quotes around all of it"
    elif _is_photo(word):
        hint = _create_it(word)
    complain(f"there is no command {word}", hint)
    raise SystemExit(WRONG_USAGE)

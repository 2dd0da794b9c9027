"""Request options: what one may say, and what was said, validated where a request enters."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

from facewright.core.errors import FacewrightError
from facewright_client.contract import ErrorCode

OptionValue = int | float | bool | str

# Python's int() and float() also take "1_000", " 1", "nan" and Arabic digits; a parameter is plainer.
# Longer ones than any range has are integers, too; int() itself refuses those of more than 4300 digits.
_INTEGER = re.compile(r"[+-]?[0-9]{1,4000}")
_DECIMAL = re.compile(r"[+-]?([0-9]{1,30}(\.[0-9]{0,30})?|\.[0-9]{1,30})([eE][+-]?[0-9]{1,3})?")


@dataclass(frozen=True)
class Option:
    """A request parameter: its type, default, and the values allowed (inclusive range, or a closed set)."""

    kind: type[int] | type[float] | type[bool] | type[str]
    default: int | float | bool | str
    minimum: float | None = None
    maximum: float | None = None
    choices: tuple[int | str, ...] = ()
    meaning: str = ""


def options_with_defaults(
    parameters: Mapping[str, OptionValue], table: Mapping[str, Option]
) -> dict[str, OptionValue]:
    """Every option of a table: what the parameters say, validated, and the defaults of the others.

    Raises:
        FacewrightError: BAD_OPTION, see `validated_options`.
    """
    given = validated_options(parameters, table)
    return {name: given.get(name, option.default) for name, option in table.items()}


def validated_options(parameters: Mapping[str, OptionValue], table: Mapping[str, Option]) -> dict[str, Any]:
    """Request parameters as a pipeline's table wants them; those absent are left out.

    Numbers and booleans may also come as strings ("0.5", "2", "true"): Triton's gRPC parameters have no float
    in older clients, and URLs and command lines have only strings.

    Args:
        parameters: what came with the request.
        table: the options there are.

    Raises:
        FacewrightError: BAD_OPTION for an unknown name, a wrong type, NaN or infinity, a value out of range
            or not among the choices.
    """
    values: dict[str, Any] = {}
    for name, value in parameters.items():
        option = table.get(name)
        if option is None:
            near = get_close_matches(str(name)[:64], table, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"the options are {', '.join(table)}"
            raise FacewrightError(ErrorCode.BAD_OPTION, f"unknown option {_shown(name)}", hint)
        values[name] = _validated(name, option, value)
    return values


def _validated(name: str, option: Option, value: OptionValue) -> OptionValue:
    """``value`` as the option's type and within its bounds, else BAD_OPTION."""
    parsed = _parsed(option.kind, value)
    if parsed is None:
        raise FacewrightError(
            ErrorCode.BAD_OPTION,
            f"option {name} is {_shown(value)}, which is not {_KIND_WORDS[option.kind]}",
            _allowed(name, option),
        )
    in_choices = not option.choices or parsed in option.choices
    in_range = isinstance(parsed, str) or (
        (option.minimum is None or parsed >= option.minimum)
        and (option.maximum is None or parsed <= option.maximum)
    )
    if not (in_choices and in_range):
        raise FacewrightError(
            ErrorCode.BAD_OPTION, f"option {name} is {_shown(value)}", _allowed(name, option)
        )
    return parsed


_KIND_WORDS = {int: "an integer", float: "a finite number", bool: "true or false", str: "a string"}


def _parsed(kind: type, value: OptionValue) -> OptionValue | None:
    """``value`` as ``kind``, or None where it is not one."""
    if kind is str:
        return value if isinstance(value, str) else None
    if kind is bool:
        if isinstance(value, str):
            return {"true": True, "false": False}.get(value.lower())
        return value if isinstance(value, bool) else None
    if isinstance(value, bool):
        return None
    if kind is int:
        if isinstance(value, str):
            return int(value) if _INTEGER.fullmatch(value) else None
        return value if isinstance(value, int) else None
    if isinstance(value, str):
        if not _DECIMAL.fullmatch(value):
            return None
    elif not isinstance(value, (int, float)):
        return None
    try:
        number = float(value)
    except OverflowError:  # an integer too large for a float
        return None
    return number if math.isfinite(number) else None


def _allowed(name: str, option: Option) -> str:
    """The hint: what the option may be."""
    if option.choices:
        return f"{name} is one of {', '.join(map(str, option.choices))}"
    if option.minimum is not None and option.maximum is not None:
        least, most = plain_number(option.minimum), plain_number(option.maximum)
        return f"{name} is {_KIND_WORDS[option.kind]} from {least} to {most}"
    return f"{name} is {_KIND_WORDS[option.kind]}"


def plain_number(value: float) -> str:
    """A bound as people write it: whole numbers with all of their digits."""
    return str(int(value)) if float(value).is_integer() else f"{value:g}"


def _shown(value: object) -> str:
    """A value as an error message quotes it: bounded, because it comes from outside."""
    text = repr(value)
    return text if len(text) <= 64 else text[:61] + "..."

"""The numbers that an avatar's likeness hangs on, by dotted name, and how one of them is changed."""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from dataclasses import dataclass, field, fields, is_dataclass, replace
from functools import cache
from typing import Any, get_type_hints

from facewright.fit.fit_head import HeadFitSettings
from facewright.texture.bake_settings import BakeSettings


@dataclass(frozen=True)
class AvatarSettings:
    """Of the stages that make an avatar."""

    fit: HeadFitSettings = field(default_factory=HeadFitSettings)
    bake: BakeSettings = field(default_factory=BakeSettings)


@dataclass(frozen=True)
class Setting:
    """One number, or a few that belong together.

    Attributes:
        name: dotted, ``bake.hair.colour.pin``.
        value: as it is.
        unit, source: what its annotation says; None where it says nothing.
    """

    name: str
    value: Any
    unit: str | None
    source: str | None


@dataclass(frozen=True)
class Change:
    """A setting that has another value."""

    name: str
    value: Any

    def __str__(self) -> str:
        numbers = self.value if isinstance(self.value, tuple) else (self.value,)
        return f"{self.name}={','.join(f'{number:.12g}' for number in numbers)}"


def settings_by_name(settings: Any, prefix: str = "") -> dict[str, Setting]:
    """All settings in nested dataclasses, in their order."""
    return {setting.name: setting for setting in _settings(settings, prefix)}


def parse_change(text: str) -> Change:
    """``NAME=VALUE``; the numbers of a range or of a colour are separated by commas.

    Raises:
        ValueError: there is no such setting (the message names similar ones), or the value has not its type.
    """
    name, equals, value = text.partition("=")
    known = settings_by_name(AvatarSettings())
    if not equals or name not in known:
        raise ValueError(f"there is no setting {name!r}{_similar(name, list(known))}")
    default = known[name].value
    numbers = value.split(",")
    try:
        if isinstance(default, tuple):
            if len(numbers) != len(default):
                raise ValueError(f"it has {len(default)} numbers, separated by commas")
            return Change(
                name, tuple(type(own)(number) for own, number in zip(default, numbers, strict=True))
            )
        return Change(name, type(default)(value))
    except ValueError as error:
        raise ValueError(f"{name} cannot be {value!r} (it is {default}): {error}") from error


def with_change(settings: AvatarSettings, change: Change) -> AvatarSettings:
    """The settings with one changed."""
    changed: AvatarSettings = _replaced(settings, change.name.split("."), change.value)
    return changed


def _settings(settings: Any, prefix: str) -> Iterator[Setting]:
    kind: Any = type(settings)
    hints = _hints(kind)
    for entry in fields(settings):
        name, value = f"{prefix}{entry.name}", getattr(settings, entry.name)
        if is_dataclass(value):
            yield from _settings(value, f"{name}.")
            continue
        unit, source = getattr(hints[entry.name], "__metadata__", (None, None))
        yield Setting(name, value, unit, source)


@cache
def _hints(cls: type) -> dict[str, Any]:
    return get_type_hints(cls, include_extras=True)


def _replaced(settings: Any, path: list[str], value: Any) -> Any:
    first, *rest = path
    return replace(settings, **{first: _replaced(getattr(settings, first), rest, value) if rest else value})


def _similar(name: str, known: list[str]) -> str:
    last = name.rsplit(".", 1)[-1]
    same_end = [other for other in known if other.rsplit(".", 1)[-1] == last]
    found = same_end or difflib.get_close_matches(name, known, n=4, cutoff=0.5)
    found = found or [other for other in known if last and last in other][:4]
    return f"; similar: {', '.join(found)}" if found else "; --settings lists them all"

"""Names of avatars' files."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

#: What is behind the last dot of "Dr. Who" is no ending.
_ENDING: Final = re.compile(r"\.\w+")


def glb_instead(name: str) -> str:
    """What to call an avatar in place of a name that ends otherwise than in ``.glb``; "" for a name that may
    stay: one that ends so, or has no ending.
    """
    path = Path(name)
    if path.name.lower() == ".glb":  # hidden, and for Path without an ending
        return str(path.with_name("me.glb"))
    if path.suffix.lower() == ".glb" or not _ENDING.fullmatch(path.suffix):
        return ""
    if path.stem.lower().endswith(".glb"):  # packed, or unfinished
        return str(path.with_suffix(""))
    # A version, as in "hero.v2", belongs to the name.
    return str(path.with_suffix(".glb")) if path.suffix[1:].isalpha() else f"{path}.glb"

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
    if path.suffix.lower() == ".glb" or not _ENDING.fullmatch(path.suffix):
        return ""
    # A version, as in "hero.v2", belongs to the name.
    return str(path.with_suffix(".glb")) if path.suffix[1:].isalpha() else f"{path}.glb"

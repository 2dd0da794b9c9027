"""Names of avatars' files."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

#: Names that mean a file of another kind.
_OTHER_KIND: Final = re.compile(
    r"\.(gltf|vrm|fbx|obj|ply|stl|usd[acz]?|dae|blend|bin|npz|zip|json|txt|html|pdf|png|jpe?g|webp|gif|bmp|tiff?"
    r"|heic|avif)",
    re.IGNORECASE,
)


def glb_instead(name: str) -> str:
    """What to call an avatar in place of a name that means another kind of file; "" for any other name."""
    path = Path(name)
    return str(path.with_suffix(".glb")) if _OTHER_KIND.fullmatch(path.suffix) else ""

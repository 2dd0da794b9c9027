"""Commands that mend something, as they work where they are read."""

from __future__ import annotations

import os
import re
import shlex
from pathlib import Path
from typing import Final

from facewright.core.assets import source_folder
from facewright.core.invocation import runnable

#: Commands that only work in the source tree.
_OF_THE_SOURCE_TREE: Final = re.compile(r"scripts/|constraints\.txt|\bmake ")


def typed_here(mend: str) -> str:
    """A command as this user can type it in the current folder: from the source tree where it needs that, by
    the program's path, and without ``sudo`` by root, whose container may have none.
    """
    root = source_folder()
    if _OF_THE_SOURCE_TREE.search(mend) and root is not None and Path.cwd() != root:
        mend = f"cd {shlex.quote(str(root))} && {mend}"
    if os.geteuid() == 0:
        mend = mend.replace("sudo ", "")
    return runnable(mend)

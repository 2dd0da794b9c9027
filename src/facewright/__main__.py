"""``python -m facewright``."""

import sys

from facewright.cli import main

sys.exit(main())

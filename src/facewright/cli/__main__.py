"""``python -m facewright.cli``."""

import sys

from facewright.cli import main

sys.exit(main())

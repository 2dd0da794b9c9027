"""Likeness of avatars to their photos: see ``python -m benchmarks.likeness --help``."""

import os

# Times are for one core, as the server's stages run; NumPy's BLAS reads this once, at import.
os.environ.setdefault("OMP_NUM_THREADS", "1")

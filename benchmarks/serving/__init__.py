"""Load, latency and memory of the service: see ``python -m benchmarks.serving --help``."""

import os

# The in-process baseline runs as the server's stages do; NumPy's BLAS reads this once, at import.
os.environ.setdefault("OMP_NUM_THREADS", "1")

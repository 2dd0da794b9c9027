"""How far an albedo is a person's own, whatever the light: see ``python -m benchmarks.albedo --help``."""

import os

# Times are for one core, as the server's stages run; NumPy's BLAS reads this once, at import.
os.environ.setdefault("OMP_NUM_THREADS", "1")

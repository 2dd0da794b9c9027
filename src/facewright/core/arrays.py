"""The array types that every room uses. Which shape, unit and frame they have, docstrings say."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

#: float32, the type of nearly everything that is computed.
Floats = NDArray[np.float32]
#: Of any type, in the host's memory or a GPU's (CuPy's arrays are typed as NumPy's).
Array = NDArray[Any]

// In the place of CuPy's header of this name: its own kernels of float16 are not simulated.
#pragma once

// In the place of CuPy's header of this name: its own kernels of bfloat16 are not simulated.
#pragma once

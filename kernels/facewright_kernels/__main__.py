"""``python -m facewright_kernels``: build every kernel for this processor now, not at its first use."""

from __future__ import annotations

import sys
import time

from facewright_kernels._runtime.cpu_library import CompilerError, kernel_cache
from facewright_kernels._runtime.kernel_source import kernel_sources


def main() -> int:
    """Build all; the exit status is 1 where the compiler is missing or refuses a kernel."""
    started = time.perf_counter()
    sources = kernel_sources()
    try:
        for source in sources:
            source.compile_for_cpu()
    except CompilerError as error:
        print(f"facewright_kernels: {error}", file=sys.stderr)
        return 1
    seconds = time.perf_counter() - started
    print(f"{len(sources)} kernels ready in {kernel_cache()} ({seconds:.1f} s)")
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""What all kernels share: boundary checks, sources, compilers, sums, tables."""

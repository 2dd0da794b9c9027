// One kernel source, two targets: NVRTC compiles a .cu file for a GPU, g++ compiles the same file for a CPU.
//
// A kernel walks its indices with FOR_EACH_INDEX: a grid-stride loop on a GPU; on a CPU a plain loop over the
// contiguous share of the calling thread, which the compiler can vectorise. FOR_EACH_PIXEL walks rows x width indices
// the same way, with the row known to the CPU's inner loop; launch it over rows * width. No index may read what another
// writes, except through atomics (which FOR_EACH_PIXEL does not allow). Blocks, shared memory and warp
// intrinsics are therefore not available to kernels of this package.
//
// FOR_EACH_OF_PART walks one of several parts of the indices, for sums that are made in two steps: neighbouring parts
// take neighbouring indices on a GPU, each part its own stretch on a CPU. Launch it over the parts.
//
// Floats too small to be normal numbers (below 1.2e-38) count as 0 on a GPU, because CuPy compiles with -ftz=true, and
// have their value on a CPU.
//
// minimum and maximum give their second argument where the first is NaN (fminf is a function call on a CPU, because it
// must not depend on the order). kVectorLanes elements are worth handling in one inner loop of fixed length.
// atomic_min_where<true> touches elements whose condition is false too (with their own value), so they must exist.
#pragma once

#ifdef __CUDACC__

#define FOR_EACH_INDEX(i, count)                                                                     \
    for (long long i = blockIdx.x * (long long)blockDim.x + threadIdx.x; i < (long long)(count);     \
         i += (long long)gridDim.x * blockDim.x)
// A GPU divides 64-bit numbers in software; every thread of a launch takes the same way.
__device__ long long row_of(long long pixel, long long pixels, int width) {
    return pixels <= 0x7fffffff ? (long long)((unsigned)pixel / (unsigned)width) : pixel / width;
}

#define FOR_EACH_PIXEL(row, column, rows, width)                                                       \
    FOR_EACH_INDEX(row##_flat, (long long)(rows) * (width))                                          \
    for (long long row = row_of(row##_flat, (long long)(rows) * (width), width),                     \
                   column = row##_flat - row * (width), row##_once = 1;                              \
         row##_once; row##_once = 0)

#define FOR_EACH_OF_PART(i, part, parts, total) \
    for (long long i = (part); i < (long long)(total); i += (parts))

#define INDEPENDENT_ITERATIONS
#define HOT_DEVICE __device__
constexpr int kVectorLanes = 1;

__device__ float minimum(float a, float b) { return fminf(a, b); }
__device__ float maximum(float a, float b) { return fmaxf(a, b); }

// Value of the 16 bits of an IEEE half; no header of CUDA's, which NVRTC might not find.
__device__ float float_of_half(unsigned short bits) {
    float value;
    asm("cvt.f32.f16 %0, %1;" : "=f"(value) : "h"(bits));
    return value;
}

__device__ bool runs_alone() { return false; }

template <bool kAlone>
__device__ void atomic_min_where(bool condition, unsigned long long* address, unsigned long long value) {
    if (condition) atomicMin(address, value);
}

#else

#include <cmath>
#include <cstring>

#define __global__
#define __device__ static inline __attribute__((always_inline))
#define __constant__ static const
#define __restrict__ __restrict
struct CpuThread {
    int index;
    int count;
};
static thread_local CpuThread cpu_thread = {0, 1};

#define FOR_EACH_INDEX(i, total)                                                                          \
    for (long long i = (long long)(total) * cpu_thread.index / cpu_thread.count,                          \
                   i##_end = (long long)(total) * (cpu_thread.index + 1) / cpu_thread.count;              \
         i < i##_end; ++i)

#define FOR_EACH_PIXEL(row, column, rows, width) \
    FOR_EACH_INDEX(row, rows) _Pragma("GCC ivdep") for (long long column = 0; column < (long long)(width); ++column)

#define FOR_EACH_OF_PART(i, part, parts, total)                                                           \
    for (long long i = (long long)(total) * (part) / (parts),                                             \
                   i##_end = (long long)(total) * ((part) + 1) / (parts);                                 \
         i < i##_end; ++i)

__device__ unsigned int __float_as_uint(float value) {
    unsigned int bits;
    std::memcpy(&bits, &value, sizeof bits);
    return bits;
}

__device__ float __uint_as_float(unsigned int bits) {
    float value;
    std::memcpy(&value, &bits, sizeof value);
    return value;
}

// A half's exponent and fraction, moved into place, are a float too small by 2^112 (also for subnormal halves).
__device__ float float_of_half(unsigned short bits) {
    const unsigned int magnitude = (unsigned int)(bits & 0x7fffu) << 13;
    const unsigned int sign = (unsigned int)(bits & 0x8000u) << 16;
    const float scaled = __uint_as_float(magnitude) * 5.192296858534828e33f;
    const bool finite = (bits & 0x7c00u) != 0x7c00u;
    return __uint_as_float(sign | (finite ? __float_as_uint(scaled) : magnitude | 0x7f800000u));
}

#define INDEPENDENT_ITERATIONS _Pragma("GCC ivdep")
// For an inner loop behind many rare branches: g++ would think it cold and optimise it for size.
#define HOT_DEVICE static __attribute__((noinline, hot))
constexpr int kVectorLanes = 8;

__device__ float minimum(float a, float b) { return a < b ? a : b; }
__device__ float maximum(float a, float b) { return a > b ? a : b; }

__device__ bool runs_alone() { return cpu_thread.count == 1; }

template <bool kAlone>
__device__ void atomic_min_where(bool condition, unsigned long long* address, unsigned long long value) {
    if (kAlone) {  // nobody else writes: without a branch the compiler can use vectors
        const unsigned long long seen = *address, wanted = condition ? value : ~0ull;
        *address = wanted < seen ? wanted : seen;
        return;
    }
    if (!condition) return;
    unsigned long long seen = __atomic_load_n(address, __ATOMIC_RELAXED);
    while (value < seen &&
           !__atomic_compare_exchange_n(address, &seen, value, true, __ATOMIC_RELAXED, __ATOMIC_RELAXED)) {
    }
}

#endif

// Pieces of `segment` columns, the last may be shorter, that a row is cut into.
__device__ long long pieces_of(int width, int segment) { return (width + segment - 1) / segment; }

__device__ float not_a_number() { return __uint_as_float(0x7fc00000u); }

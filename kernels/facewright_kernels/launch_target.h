// One kernel source, two targets: NVRTC compiles a .cu file for a GPU, g++ compiles the same file for a CPU.
//
// A kernel walks its indices with FOR_EACH_INDEX: a grid-stride loop on a GPU; on a CPU a plain loop over the
// contiguous share of the calling thread, which the compiler can vectorise. Blocks, shared memory and warp
// intrinsics are therefore not available to kernels of this package.
#pragma once

#ifdef __CUDACC__

#define FOR_EACH_INDEX(i, count)                                                                     \
    for (long long i = blockIdx.x * (long long)blockDim.x + threadIdx.x; i < (long long)(count);     \
         i += (long long)gridDim.x * blockDim.x)
#define INDEPENDENT_ITERATIONS

#else

#include <cmath>
#include <cstring>

#define __global__
#define __device__ static inline __attribute__((always_inline))
#define __constant__ static const
#define __restrict__ __restrict
// Tells the CPU compiler that iterations of the next loop touch different elements, so it may use vectors.
#define INDEPENDENT_ITERATIONS _Pragma("GCC ivdep")

struct CpuThread {
    int index;
    int count;
};
static thread_local CpuThread cpu_thread = {0, 1};

#define FOR_EACH_INDEX(i, total)                                                                          \
    for (long long i = (long long)(total) * cpu_thread.index / cpu_thread.count,                          \
                   i##_end = (long long)(total) * (cpu_thread.index + 1) / cpu_thread.count;              \
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

__device__ void atomicMin(unsigned long long* address, unsigned long long value) {
    if (cpu_thread.count == 1) {  // nobody else writes: an ordinary store is several times faster
        if (value < *address) *address = value;
        return;
    }
    unsigned long long seen = __atomic_load_n(address, __ATOMIC_RELAXED);
    while (value < seen &&
           !__atomic_compare_exchange_n(address, &seen, value, true, __ATOMIC_RELAXED, __ATOMIC_RELAXED)) {
    }
}

#endif

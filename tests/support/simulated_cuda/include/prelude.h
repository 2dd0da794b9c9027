// What nvrtc.cpp puts before every kernel: CUDA C++ as far as CuPy's kernels and ours use it, for g++.
//
// The branch for GPUs of a source is compiled, not the one for CPUs: its index arithmetic, its atomics and its launch
// sizes are the real ones. The threads of a launch run one after another, so a race cannot show but in results that
// depend on their order; a kernel with __syncthreads runs each block's threads as fibers.
#pragma once

#include <algorithm>
#include <cassert>
#include <cfloat>
#include <climits>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <initializer_list>
#include <tuple>
#include <type_traits>
#include <utility>

#include "launch.h"

#define __CUDACC__ 1
#define __CUDA_ARCH__ 900

#define __device__
#define __host__
#define __global__
#define __constant__
#define __shared__ static
#define __forceinline__ inline
#define __noinline__ __attribute__((noinline))
#define __launch_bounds__(...)

static simulated_cuda::Triple threadIdx, blockIdx, blockDim, gridDim;
constexpr int warpSize = 32;

namespace simulated_cuda {

inline Triple unravel(unsigned long long flat, const Triple& sizes) {
    return {(unsigned)(flat % sizes.x), (unsigned)(flat / sizes.x % sizes.y),
            (unsigned)(flat / ((unsigned long long)sizes.x * sizes.y))};
}

inline unsigned long long volume(const Triple& sizes) { return (unsigned long long)sizes.x * sizes.y * sizes.z; }

template <typename Argument>
bool is_readable(const Argument& argument, Known known) {
    if constexpr (std::is_pointer_v<Argument>) return known((const void*)argument);
    return true;
}

// The launcher of one kernel function.
template <auto kFunction, bool kWithFibers, typename = decltype(kFunction)>
struct Launcher;

template <auto kFunction, bool kWithFibers, typename... Parameters>
struct Launcher<kFunction, kWithFibers, void (*)(Parameters...)> {
    using Arguments = std::tuple<std::remove_const_t<Parameters>...>;

    static void* copy(void** values, Known known) {
        return copy(values, known, std::index_sequence_for<Parameters...>());
    }

    template <size_t... Index>
    static void* copy(void** values, Known known, std::index_sequence<Index...>) {
        auto* arguments = new Arguments{*(std::remove_const_t<Parameters>*)values[Index]...};
        if ((is_readable(std::get<Index>(*arguments), known) && ...)) return arguments;
        delete arguments;
        return nullptr;
    }

    static void drop(void* arguments) { delete (Arguments*)arguments; }

    static void thread(const void* arguments, unsigned index) {
        threadIdx = blockDim.y == 1 && blockDim.z == 1 ? Triple{index, 0, 0} : unravel(index, blockDim);
        std::apply(kFunction, *(const Arguments*)arguments);
    }

    static void run(const void* arguments, const Launch& launch) {
        gridDim = launch.grid;
        blockDim = launch.block;
        const unsigned long long blocks = volume(launch.grid);
        const unsigned threads = (unsigned)volume(launch.block);
        for (unsigned long long block = 0; block < blocks; ++block) {
            blockIdx = unravel(launch.backwards ? blocks - 1 - block : block, launch.grid);
            if (kWithFibers)
                run_fibers(threads, launch.backwards, thread, arguments);
            else
                for (unsigned turn = 0; turn < threads; ++turn)
                    thread(arguments, launch.backwards ? threads - 1 - turn : turn);
        }
    }

    static constexpr Kernel kernel{copy, run, drop};
};

inline void wait(unsigned first, unsigned count) {
    const Triple thread = threadIdx;
    wait_for_fibers(first, count);
    threadIdx = thread;
}

template <typename To, typename From>
To bits(From from) {
    static_assert(sizeof(To) == sizeof(From));
    To to;
    std::memcpy(&to, &from, sizeof to);
    return to;
}

}  // namespace simulated_cuda

inline void __syncthreads() { simulated_cuda::wait(0, simulated_cuda::fiber_count()); }
inline void __syncwarp(unsigned = ~0u) {
    simulated_cuda::wait(simulated_cuda::fiber_index() / warpSize * warpSize, warpSize);
}
inline void __threadfence() {}

inline int __popc(unsigned x) { return __builtin_popcount(x); }
inline int __popcll(unsigned long long x) { return __builtin_popcountll(x); }

// Values of other threads of the warp, all of whose threads must ask.
template <typename Value>
Value simulated_shuffle(Value value, int lane, bool is_inside) {
    static_assert(sizeof(Value) <= 8);
    const unsigned at = simulated_cuda::fiber_index();
    std::memcpy(&simulated_cuda::shown_by_fiber[at], &value, sizeof value);
    __syncwarp();
    if (is_inside) std::memcpy(&value, &simulated_cuda::shown_by_fiber[at / warpSize * warpSize + lane], sizeof value);
    __syncwarp();
    return value;
}
template <typename Value>
Value __shfl_up_sync(unsigned, Value value, unsigned delta, int = warpSize) {
    const int lane = (int)(simulated_cuda::fiber_index() % warpSize) - (int)delta;
    return simulated_shuffle(value, lane, lane >= 0);
}
template <typename Value>
Value __shfl_down_sync(unsigned, Value value, unsigned delta, int = warpSize) {
    const int lane = (int)(simulated_cuda::fiber_index() % warpSize) + (int)delta;
    return simulated_shuffle(value, lane, lane < warpSize);
}
template <typename Value>
Value __shfl_xor_sync(unsigned, Value value, int mask, int = warpSize) {
    return simulated_shuffle(value, (int)(simulated_cuda::fiber_index() % warpSize) ^ mask, true);
}

// Bits of numbers.
inline unsigned __float_as_uint(float x) { return simulated_cuda::bits<unsigned>(x); }
inline int __float_as_int(float x) { return simulated_cuda::bits<int>(x); }
inline float __uint_as_float(unsigned x) { return simulated_cuda::bits<float>(x); }
inline float __int_as_float(int x) { return simulated_cuda::bits<float>(x); }
inline long long __double_as_longlong(double x) { return simulated_cuda::bits<long long>(x); }
inline double __longlong_as_double(long long x) { return simulated_cuda::bits<double>(x); }
inline unsigned short __float2half_rn(float x) { return simulated_cuda::bits<unsigned short>((_Float16)x); }
inline float __half2float(unsigned short x) { return (float)simulated_cuda::bits<_Float16>(x); }

// The one PTX instruction of our kernels (launch_target.h): a half as a float.
#define asm(...) value = __half2float(bits)

// What threads do to one place together. They run one after another: no lock is needed.
#define SIMULATED_ATOMIC(name, type, result)       \
    inline type name(type* address, type value) {  \
        const type seen = *address;                \
        *address = result;                         \
        return seen;                               \
    }
#define SIMULATED_ATOMICS(type)                                                        \
    SIMULATED_ATOMIC(atomicAdd, type, seen + value)                                    \
    SIMULATED_ATOMIC(atomicMin, type, std::min(seen, value))                           \
    SIMULATED_ATOMIC(atomicMax, type, std::max(seen, value))                           \
    SIMULATED_ATOMIC(atomicExch, type, value)                                          \
    SIMULATED_ATOMIC(atomicOr, type, seen | value)                                     \
    SIMULATED_ATOMIC(atomicAnd, type, seen & value)                                    \
    inline type atomicCAS(type* address, type compare, type value) {                   \
        const type seen = *address;                                                    \
        if (seen == compare) *address = value;                                         \
        return seen;                                                                   \
    }
SIMULATED_ATOMICS(int)
SIMULATED_ATOMICS(unsigned)
SIMULATED_ATOMICS(unsigned long long)
SIMULATED_ATOMIC(atomicAdd, float, seen + value)
SIMULATED_ATOMIC(atomicAdd, double, seen + value)

// CUDA's are there without a namespace, for every pair of types.
template <typename A, typename B>
constexpr std::common_type_t<A, B> min(A a, B b) {
    return b < a ? b : a;
}
template <typename A, typename B>
constexpr std::common_type_t<A, B> max(A a, B b) {
    return a < b ? b : a;
}
using std::isfinite;
using std::isinf;
using std::isnan;
using std::signbit;
inline double sinpi(double x) { return std::sin(M_PI * x); }
inline double cospi(double x) { return std::cos(M_PI * x); }
inline float rsqrtf(float x) { return 1.0f / std::sqrt(x); }
inline double rsqrt(double x) { return 1.0 / std::sqrt(x); }

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
#include <csetjmp>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <limits>
#include <map>
#include <memory>
#include <tuple>
#include <type_traits>
#include <utility>
#include <vector>

#include <ucontext.h>

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

// The threads of one block as fibers, for kernels whose threads wait for each other.
class Fibers {
public:
    explicit Fibers(unsigned count) : count_(count) {
        while (stacks_.size() < count) stacks_.emplace_back(new char[kStack]);
    }

    // Runs `thread` for every index; each goes on until it waits, then the next one does.
    void run(const std::function<void(unsigned)>& thread, bool backwards) {
        running_ = this;
        thread_ = &thread;
        states_.assign(count_, kNew);
        places_.reset(new jmp_buf[count_]);
        for (unsigned alive = count_; alive;) {
            moved_ = false;
            alive = 0;
            for (unsigned turn = 0; turn < count_; ++turn) {
                at_ = backwards ? count_ - 1 - turn : turn;
                if (states_[at_] == kDone) continue;
                if (!_setjmp(scheduler_)) states_[at_] == kNew ? start() : _longjmp(places_[at_], 1);
                alive += states_[at_] != kDone;
            }
            if (!moved_) {
                std::fprintf(stderr, "simulated CUDA device: threads of a block wait for each other for ever\n");
                std::abort();
            }
        }
    }

    // Waits for the threads first…first + count − 1 of the block that have not ended.
    static void wait(unsigned first, unsigned count) {
        Fibers& self = *running_;
        Barrier& barrier = self.barriers_[{first, count}];
        const unsigned long long round = barrier.round;
        ++barrier.arrived;
        while (barrier.round == round) {
            if (barrier.arrived >= self.alive(first, count)) {
                barrier.arrived = 0;
                ++barrier.round;
                self.moved_ = true;
            } else {
                self.yield();
            }
        }
    }

    static unsigned index() { return running_->at_; }
    static unsigned size() { return running_->count_; }

    static inline unsigned long long exchanged[1024];  // what the threads of a block show each other

private:
    enum State : char { kNew, kStarted, kDone };
    struct Barrier {
        unsigned arrived = 0;
        unsigned long long round = 0;
    };
    static constexpr size_t kStack = 64 << 10;

    unsigned alive(unsigned first, unsigned count) const {
        const auto begin = states_.begin() + first, end = states_.begin() + std::min(first + count, count_);
        return (unsigned)(end - begin - std::count(begin, end, kDone));
    }

    void yield() {
        const unsigned at = at_;
        const Triple thread = threadIdx;
        if (!_setjmp(places_[at])) _longjmp(scheduler_, 1);
        threadIdx = thread;
    }

    void start() {
        states_[at_] = kStarted;
        moved_ = true;
        ucontext_t context;
        getcontext(&context);
        context.uc_stack.ss_sp = stacks_[at_].get();
        context.uc_stack.ss_size = kStack;
        context.uc_link = nullptr;
        makecontext(&context, &Fibers::enter, 0);
        setcontext(&context);
    }

    static void enter() {
        Fibers& self = *running_;
        (*self.thread_)(self.at_);
        self.states_[self.at_] = kDone;
        self.moved_ = true;
        _longjmp(self.scheduler_, 1);
    }

    static inline std::vector<std::unique_ptr<char[]>> stacks_;
    static inline Fibers* running_ = nullptr;

    unsigned count_, at_ = 0;
    const std::function<void(unsigned)>* thread_ = nullptr;
    std::vector<State> states_;
    std::unique_ptr<jmp_buf[]> places_;
    jmp_buf scheduler_;
    std::map<std::pair<unsigned, unsigned>, Barrier> barriers_;
    bool moved_ = false;  // whether a thread got further in this round
};

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

template <typename Kernel, typename Arguments>
void run_threads(Kernel kernel, const Arguments& arguments, const Launch& launch, bool with_fibers) {
    gridDim = launch.grid;
    blockDim = launch.block;
    const unsigned long long blocks = volume(launch.grid), threads = volume(launch.block);
    const bool is_line = launch.block.y == 1 && launch.block.z == 1;
    const auto thread = [&](unsigned at) {
        threadIdx = is_line ? Triple{at, 0, 0} : unravel(at, launch.block);
        std::apply(kernel, arguments);
    };
    for (unsigned long long block = 0; block < blocks; ++block) {
        blockIdx = unravel(launch.backwards ? blocks - 1 - block : block, launch.grid);
        if (with_fibers)
            Fibers((unsigned)threads).run(thread, launch.backwards);
        else
            for (unsigned turn = 0; turn < threads; ++turn) thread(launch.backwards ? threads - 1 - turn : turn);
    }
}

template <typename... Arguments, size_t... Index>
std::function<void()> prepare(void (*kernel)(Arguments...), const Launch& launch, void** values, Known known,
                           bool with_fibers, std::index_sequence<Index...>) {
    // A tuple of what the kernel takes, copied now: the caller's may be gone when the stream gets there.
    const auto arguments = std::make_shared<std::tuple<std::remove_const_t<Arguments>...>>(
        *(std::remove_const_t<Arguments>*)values[Index]...);
    if (!(is_readable(std::get<Index>(*arguments), known) && ...)) return nullptr;
    return [=] { run_threads(kernel, *arguments, launch, with_fibers); };
}

template <typename... Arguments>
std::function<void()> prepare(void (*kernel)(Arguments...), const Launch& launch, void** values, Known known,
                           bool with_fibers) {
    return prepare(kernel, launch, values, known, with_fibers, std::index_sequence_for<Arguments...>());
}

template <typename To, typename From>
To bits(From from) {
    static_assert(sizeof(To) == sizeof(From));
    To to;
    std::memcpy(&to, &from, sizeof to);
    return to;
}

}  // namespace simulated_cuda

inline void __syncthreads() { simulated_cuda::Fibers::wait(0, simulated_cuda::Fibers::size()); }
inline void __syncwarp(unsigned = ~0u) {
    simulated_cuda::Fibers::wait(simulated_cuda::Fibers::index() / warpSize * warpSize, warpSize);
}
inline void __threadfence() {}

// Values of other threads of the warp, all of whose threads must ask.
template <typename Value>
Value simulated_shuffle(Value value, int lane, bool is_inside) {
    static_assert(sizeof(Value) <= 8);
    using simulated_cuda::Fibers;
    const unsigned at = Fibers::index();
    std::memcpy(&Fibers::exchanged[at], &value, sizeof value);
    __syncwarp();
    if (is_inside) std::memcpy(&value, &Fibers::exchanged[at / warpSize * warpSize + lane], sizeof value);
    __syncwarp();
    return value;
}
template <typename Value>
Value __shfl_up_sync(unsigned, Value value, unsigned delta, int = warpSize) {
    const int lane = (int)(simulated_cuda::Fibers::index() % warpSize) - (int)delta;
    return simulated_shuffle(value, lane, lane >= 0);
}
template <typename Value>
Value __shfl_down_sync(unsigned, Value value, unsigned delta, int = warpSize) {
    const int lane = (int)(simulated_cuda::Fibers::index() % warpSize) + (int)delta;
    return simulated_shuffle(value, lane, lane < warpSize);
}
template <typename Value>
Value __shfl_xor_sync(unsigned, Value value, int mask, int = warpSize) {
    return simulated_shuffle(value, (int)(simulated_cuda::Fibers::index() % warpSize) ^ mask, true);
}

inline int __popc(unsigned x) { return __builtin_popcount(x); }
inline int __popcll(unsigned long long x) { return __builtin_popcountll(x); }

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
inline float rsqrtf(float x) { return 1.0f / std::sqrt(x); }
inline double rsqrt(double x) { return 1.0 / std::sqrt(x); }

// What the simulated device and a compiled kernel know of each other.
#pragma once

namespace simulated_cuda {

struct Triple {
    unsigned x, y, z;
};

struct Launch {
    Triple grid, block;
    bool backwards;  // from the last thread to the first
};

// Whether the device can read at an address.
using Known = bool (*)(const void* address);

// A kernel, found as the variable <name>_kernel of its library.
struct Kernel {
    void* (*copy)(void** arguments, Known known);  // null if a pointer among them is not known
    void (*run)(const void* arguments, const Launch& launch);
    void (*drop)(void* arguments);
};

// The threads of one block as fibers, for kernels whose threads wait for each other (fibers.cpp).
using Thread = void (*)(const void* context, unsigned index);
void run_fibers(unsigned count, bool backwards, Thread thread, const void* context);
unsigned fiber_count();
unsigned fiber_index();
// Waits for the fibers first…first + count − 1 that have not ended.
void wait_for_fibers(unsigned first, unsigned count);
extern unsigned long long shown_by_fiber[1024];  // values that the threads of a warp show each other

}  // namespace simulated_cuda

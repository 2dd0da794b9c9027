// What driver.cpp and a compiled kernel know of each other.
#pragma once

#include <functional>

namespace simulated_cuda {

struct Triple {
    unsigned x, y, z;
};

struct Launch {
    Triple grid, block;
    unsigned shared;  // bytes
    bool backwards;   // from the last thread to the first
};

// Whether the device can read at an address.
using Known = bool (*)(const void* address);

// Copies a kernel's arguments and returns what launches it; nothing if a pointer among them is not known.
using Bind = std::function<void()> (*)(const Launch& launch, void** arguments, Known known);

}  // namespace simulated_cuda

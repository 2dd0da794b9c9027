// What kernels over meshes share. Topology comes from the caller and is checked on the host for CPU arrays only (on a GPU
// the host would wait): nothing here reads beyond an array, whatever numbers a topology holds.
#pragma once

#include "launch_target.h"

// Entries offsets[i] to offsets[i + 1] of a list, cut to the `count` entries that it has.
struct Entries {
    int begin, end;
};

__device__ Entries entries_of(const int* offsets, long long i, int count) {
    const int begin = offsets[i], end = offsets[i + 1];
    return {begin > 0 ? begin : 0, end < count ? end : count};
}

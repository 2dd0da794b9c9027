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

// Corners of a triangle; null where there is no such triangle, or it names a vertex that does not exist.
__device__ const int* corners_of(const int* triangles, int triangle, int triangle_count, int vertex_count) {
    if ((unsigned)triangle >= (unsigned)triangle_count) return nullptr;
    const int* corners = triangles + (long long)triangle * 3;
    const bool known = (unsigned)corners[0] < (unsigned)vertex_count && (unsigned)corners[1] < (unsigned)vertex_count &&
                       (unsigned)corners[2] < (unsigned)vertex_count;
    return known ? corners : nullptr;
}

struct Vector {
    float x, y, z;
};

__device__ Vector read(const float* at) { return {at[0], at[1], at[2]}; }
__device__ void write(float* at, Vector value) {
    at[0] = value.x;
    at[1] = value.y;
    at[2] = value.z;
}
__device__ Vector minus(Vector a, Vector b) { return {a.x - b.x, a.y - b.y, a.z - b.z}; }
__device__ Vector plus(Vector a, Vector b) { return {a.x + b.x, a.y + b.y, a.z + b.z}; }
__device__ Vector scaled(Vector a, float by) { return {a.x * by, a.y * by, a.z * by}; }
__device__ float dot(Vector a, Vector b) { return a.x * b.x + a.y * b.y + a.z * b.z; }
__device__ Vector cross(Vector a, Vector b) {
    return {a.y * b.z - a.z * b.y, a.z * b.x - a.x * b.z, a.x * b.y - a.y * b.x};
}

// Sums over pixels for vertices that come out the same whatever the order of threads.
//
// Terms are added as 64-bit integers. Their unit is chosen per vertex in a first pass that notes the largest magnitude
// (so a sliver's huge gradient costs its neighbours no precision): with magnitudes below 2^e and at most 2^headroom
// terms, one is worth 2^(e + headroom - 62). A magnitude that is not finite makes the vertex's sums NaN.
//
// Pixels are walked in runs of one triangle within a row, so that a run is summed in registers and costs one atomic
// operation per value instead of one per pixel. Launch for_each_run over rows * pieces_of(width, segment).
#pragma once

#include "launch_target.h"

#ifdef __CUDACC__

__device__ void atomic_maximum(int* address, int value) {
    if (*address < value) atomicMax(address, value);  // a stale read only costs an atomic that changes nothing
}
__device__ void atomic_add(unsigned long long* address, long long value) {
    atomicAdd(address, (unsigned long long)value);
}
__device__ double double_from_bits(long long bits) { return __longlong_as_double(bits); }

#else

__device__ void atomic_maximum(int* address, int value) {
    int seen = __atomic_load_n(address, __ATOMIC_RELAXED);
    while (seen < value &&
           !__atomic_compare_exchange_n(address, &seen, value, true, __ATOMIC_RELAXED, __ATOMIC_RELAXED)) {
    }
}

__device__ void atomic_add(unsigned long long* address, long long value) {
    if (runs_alone())
        *address += (unsigned long long)value;
    else
        __atomic_fetch_add(address, (unsigned long long)value, __ATOMIC_RELAXED);
}

__device__ double double_from_bits(long long bits) {
    double value;
    std::memcpy(&value, &bits, sizeof value);
    return value;
}

#endif

constexpr int kNotFinite = 255;  // the exponent field of infinities and NaNs

// Sorts like the magnitude; NaN above infinity.
__device__ int magnitude_bits(float value) { return (int)(__float_as_uint(value) & 0x7fffffffu); }

// What one unit of a term is multiplied by: a power of two, so that nothing is rounded twice.
__device__ double fixed_point_scale(int exponent_field, int headroom) {
    return double_from_bits((long long)(1023 + 62 + 126 - headroom - exponent_field) << 52);
}

// Sums [N, V, C] with magnitudes [N, V]; vertex is a row of both.
struct VertexSums {
    int* magnitudes;
    unsigned long long* sums;
    int channels, headroom;
};

__device__ void add_to_vertex(VertexSums target, long long vertex, int first_channel, const float* terms, int count) {
    const int exponent_field = target.magnitudes[vertex] >> 23;
    if (exponent_field == kNotFinite) return;
    const double scale = fixed_point_scale(exponent_field, target.headroom);
    unsigned long long* sums = target.sums + vertex * target.channels + first_channel;
    for (int c = 0; c < count; ++c)
        if (terms[c] != 0.0f) atomic_add(&sums[c], llrint((double)terms[c] * scale));
}

// visit(triangle, row, first column, length) for runs of equal triangle_id, cut every `segment` columns.
template <typename Visit>
__device__ void for_each_run(const int* triangle_id, long long rows, int width, int segment, Visit visit) {
    const long long pieces = pieces_of(width, segment);
    FOR_EACH_INDEX(piece, rows * pieces) {
        const long long row = piece / pieces;
        int column = (int)(piece - row * pieces) * segment;
        const int end = column + segment < width ? column + segment : width;
        const int* ids = triangle_id + row * width;
        while (column < end) {
            const int first = column, triangle = ids[first];
            do ++column;
            while (column < end && ids[column] == triangle);
            visit(triangle, row, first, column - first);
        }
    }
}

// Bilinear lookups, the same in every kernel (OpenGL 4.6 core, 8.14.2). Coordinates count texels from the centre of the
// first: a UV coordinate u is u * size - 0.5, an image coordinate x is x - 0.5 (CONVENTIONS.md).
#pragma once

#include "launch_target.h"

struct Half {
    unsigned short bits;
};
struct Bfloat16 {
    unsigned short bits;
};

// Value of a stored texel. A table says what bytes mean; the others have none.
__device__ float decode(float texel, const float* decoded) {
    (void)decoded;
    return texel;
}
__device__ float decode(unsigned char texel, const float* decoded) { return decoded[texel]; }
__device__ float decode(Half texel, const float* decoded) {
    (void)decoded;
    return float_of_half(texel.bits);
}
__device__ float decode(Bfloat16 texel, const float* decoded) {
    (void)decoded;
    return __uint_as_float((unsigned int)texel.bits << 16);
}

// The texels on both sides of a coordinate.
struct Axis {
    int low, high;
    float fraction;  // of the way from low to high
    bool moves;      // false where the coordinate is clamped to the border
};

__device__ Axis clamped_axis(float at, int size) {
    const float last = (float)(size - 1), clamped = minimum(maximum(at, 0.0f), last);  // NaN becomes 0
    const int low = (int)clamped;
    return {low, low + (low + 1 < size ? 1 : 0), clamped - (float)low, at >= 0.0f && at <= last};
}

__device__ Axis wrapped_axis(float at, int size) {
    const float base = floorf(at);
    long long first = (long long)base % size;
    if (first < 0) first += size;
    return {(int)first, first + 1 == size ? 0 : (int)first + 1, at - base, true};
}

// Where a lookup reads and how it weighs the four texels; offsets count values, not texels.
struct Taps {
    long long at00, at01, at10, at11;
    float w00, w01, w10, w11;
};

__device__ Taps taps(Axis x, Axis y, int width, int channels) {
    const long long row0 = (long long)y.low * width, row1 = (long long)y.high * width;
    return {(row0 + x.low) * channels,
            (row0 + x.high) * channels,
            (row1 + x.low) * channels,
            (row1 + x.high) * channels,
            (1.0f - x.fraction) * (1.0f - y.fraction),
            x.fraction * (1.0f - y.fraction),
            (1.0f - x.fraction) * y.fraction,
            x.fraction * y.fraction};
}

template <typename Texel>
__device__ float blend(const Texel* texel, const float* decoded, const Taps& t) {
    return t.w00 * decode(texel[t.at00], decoded) + t.w01 * decode(texel[t.at01], decoded) +
           t.w10 * decode(texel[t.at10], decoded) + t.w11 * decode(texel[t.at11], decoded);
}

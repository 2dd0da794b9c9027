// Vertex attributes at the pixels of a raster.
#include "launch_target.h"

template <int kChannels>
__device__ void blend(const float* a0, const float* a1, const float* a2, float b0, float b1, float b2, int channels,
                      float* out) {
    const int count = kChannels ? kChannels : channels;
    for (int c = 0; c < count; ++c) out[c] = b0 * a0[c] + b1 * a1[c] + b2 * a2[c];
}

extern "C" __global__ void interpolate_pixels(const float* __restrict__ attributes, const int* __restrict__ triangles,
                                              const int* __restrict__ triangle_id,
                                              const float* __restrict__ barycentric, float* __restrict__ out,
                                              long long pixels, long long pixels_per_image, int shared_attributes,
                                              int vertex_count, int triangle_count, int channels) {
    FOR_EACH_INDEX(i, pixels) {
        const int triangle = triangle_id[i];
        float* pixel = out + i * channels;
        const int* corners = triangles + (long long)triangle * 3;
        if ((unsigned)triangle >= (unsigned)triangle_count || (unsigned)corners[0] >= (unsigned)vertex_count ||
            (unsigned)corners[1] >= (unsigned)vertex_count || (unsigned)corners[2] >= (unsigned)vertex_count) {
            for (int c = 0; c < channels; ++c) pixel[c] = 0.0f;
            continue;
        }
        const float* image = attributes + (shared_attributes ? 0 : i / pixels_per_image * vertex_count * channels);
        const float* a0 = image + (long long)corners[0] * channels;
        const float* a1 = image + (long long)corners[1] * channels;
        const float* a2 = image + (long long)corners[2] * channels;
        const float b0 = barycentric[2 * i], b1 = barycentric[2 * i + 1], b2 = 1.0f - b0 - b1;
        switch (channels) {
            case 1: blend<1>(a0, a1, a2, b0, b1, b2, 1, pixel); break;
            case 2: blend<2>(a0, a1, a2, b0, b1, b2, 2, pixel); break;
            case 3: blend<3>(a0, a1, a2, b0, b1, b2, 3, pixel); break;
            case 4: blend<4>(a0, a1, a2, b0, b1, b2, 4, pixel); break;
            default: blend<0>(a0, a1, a2, b0, b1, b2, channels, pixel);
        }
    }
}

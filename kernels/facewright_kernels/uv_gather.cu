// A UV map read at the UV coordinates of vertices, and the way back. Texel centres lie at +0.5 (CONVENTIONS.md, UV).
#include "mesh.h"

// Texel left of (or above) a coordinate, at most the last but one where there are two; the fraction to its neighbour.
__device__ int first_texel(float coordinate, int size, float* fraction) {
    const float texel = minimum(maximum(coordinate * (float)size - 0.5f, 0.0f), (float)(size - 1));
    const int first = (int)texel;
    *fraction = texel - (float)first;
    return first;
}

extern "C" __global__ void uv_gather(const float* __restrict__ uv_map, const float* __restrict__ vertex_uv,
                                     float* __restrict__ out, int batch, int size, int vertex_count, int channels) {
    FOR_EACH_INDEX(i, (long long)batch * vertex_count) {
        const long long image = i / vertex_count, vertex = i - image * vertex_count;
        const float u = vertex_uv[2 * vertex], v = vertex_uv[2 * vertex + 1];
        float* at = out + i * channels;
        if (!(fabsf(u) < 1e6f && fabsf(v) < 1e6f)) {
            for (int c = 0; c < channels; ++c) at[c] = __uint_as_float(0x7fc00000u);
            continue;
        }
        float fx, fy;
        const int x0 = first_texel(u, size, &fx), y0 = first_texel(v, size, &fy);
        const int x1 = x0 + 1 < size ? x0 + 1 : x0, y1 = y0 + 1 < size ? y0 + 1 : y0;
        const float* texels = uv_map + image * size * size * channels;
        const float *t00 = texels + ((long long)y0 * size + x0) * channels,
                    *t01 = texels + ((long long)y0 * size + x1) * channels,
                    *t10 = texels + ((long long)y1 * size + x0) * channels,
                    *t11 = texels + ((long long)y1 * size + x1) * channels;
        const float w00 = (1.0f - fx) * (1.0f - fy), w01 = fx * (1.0f - fy), w10 = (1.0f - fx) * fy, w11 = fx * fy;
        for (int c = 0; c < channels; ++c) at[c] = w00 * t00[c] + w01 * t01[c] + w10 * t10[c] + w11 * t11[c];
    }
}

// Each texel gathers the vertices that read it.
extern "C" __global__ void uv_gather_vjp(const float* __restrict__ grad, const int* __restrict__ offsets,
                                         const int* __restrict__ readers, const float* __restrict__ weights,
                                         float* __restrict__ grad_uv_map, int batch, int texels, int vertex_count,
                                         int channels) {
    FOR_EACH_INDEX(i, (long long)batch * texels) {
        const long long image = i / texels, texel = i - image * texels;
        float* at = grad_uv_map + i * channels;
        for (int c = 0; c < channels; ++c) at[c] = 0.0f;
        const Entries reading = entries_of(offsets, texel, 4 * vertex_count);
        for (int k = reading.begin; k < reading.end; ++k) {
            if ((unsigned)readers[k] >= (unsigned)vertex_count) continue;
            const float* g = grad + (image * vertex_count + readers[k]) * channels;
            for (int c = 0; c < channels; ++c) at[c] += weights[k] * g[c];
        }
    }
}

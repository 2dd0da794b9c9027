// A UV map read at the UV coordinates of vertices, and the way back. Texel centres lie at +0.5 (CONVENTIONS.md, UV).
#include "bilinear.h"
#include "mesh.h"

extern "C" __global__ void uv_gather(const float* __restrict__ uv_map, const float* __restrict__ vertex_uv,
                                     float* __restrict__ out, int batch, int size, int vertex_count, int channels) {
    FOR_EACH_INDEX(i, (long long)batch * vertex_count) {
        const long long image = i / vertex_count, vertex = i - image * vertex_count;
        const float u = vertex_uv[2 * vertex], v = vertex_uv[2 * vertex + 1];
        float* at = out + i * channels;
        if (!(fabsf(u) < 1e6f && fabsf(v) < 1e6f)) {
            for (int c = 0; c < channels; ++c) at[c] = not_a_number();
            continue;
        }
        const float* texels = uv_map + image * size * size * channels;
        const Taps t = taps(clamped_axis(u * (float)size - 0.5f, size), clamped_axis(v * (float)size - 0.5f, size), size,
                            channels);
        for (int c = 0; c < channels; ++c) at[c] = blend(texels + c, (const float*)nullptr, t);
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

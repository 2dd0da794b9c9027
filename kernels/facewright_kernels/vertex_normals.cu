// Area-weighted vertex normals: each vertex gathers its triangles, so sums have a fixed order and need no atomics.
#include "launch_target.h"

extern "C" __global__ void vertex_normals(const float* __restrict__ vertices, const int* __restrict__ triangles,
                                          const int* __restrict__ offsets, const int* __restrict__ incident,
                                          float* __restrict__ normals, int batch, int vertex_count,
                                          int triangle_count) {
    FOR_EACH_INDEX(i, (long long)batch * vertex_count) {
        const long long image = i / vertex_count;
        const int vertex = (int)(i - image * vertex_count);
        const float* positions = vertices + image * vertex_count * 3;
        float x = 0.0f, y = 0.0f, z = 0.0f;
        for (int k = offsets[vertex]; k < offsets[vertex + 1]; ++k) {
            if ((unsigned)incident[k] >= (unsigned)triangle_count) continue;
            const int* corners = triangles + (long long)incident[k] * 3;
            if ((unsigned)corners[0] >= (unsigned)vertex_count || (unsigned)corners[1] >= (unsigned)vertex_count ||
                (unsigned)corners[2] >= (unsigned)vertex_count)
                continue;
            const float *a = positions + (long long)corners[0] * 3, *b = positions + (long long)corners[1] * 3,
                        *c = positions + (long long)corners[2] * 3;
            const float ux = b[0] - a[0], uy = b[1] - a[1], uz = b[2] - a[2];
            const float vx = c[0] - a[0], vy = c[1] - a[1], vz = c[2] - a[2];
            x += uy * vz - uz * vy;
            y += uz * vx - ux * vz;
            z += ux * vy - uy * vx;
        }
        const float length = sqrtf(x * x + y * y + z * z);
        const float scale = length > 0.0f ? 1.0f / length : 0.0f;
        normals[3 * i] = x * scale;
        normals[3 * i + 1] = y * scale;
        normals[3 * i + 2] = z * scale;
    }
}

// A surface moved along its normals by a displacement map, and the normals of what comes out. Equations: displace.py.
#include "mesh.h"

extern "C" __global__ void displace(const float* __restrict__ positions, const float* __restrict__ normals,
                                    const float* __restrict__ displacement, float* __restrict__ displaced,
                                    long long points) {
    FOR_EACH_INDEX(i, points)
    for (int c = 0; c < 3; ++c) displaced[3 * i + c] = positions[3 * i + c] + displacement[i] * normals[3 * i + c];
}

// The texels whose difference is the tangent along one axis: the neighbours, or the texel itself where one is missing.
struct Span {
    int low, high;
};

__device__ Span span_at(const int* texel, int at, int last, int stride) {
    const bool before = at > 0 && texel[-stride] >= 0, after = at < last && texel[stride] >= 0;
    return {before ? -stride : 0, after ? stride : 0};
}

// The two surfaces of a call, and which texels have them.
struct Surface {
    const float *displaced, *positions, *normals;
    const int* triangle_id;
    int size;
};

// From the texel where a span starts to where it ends.
__device__ Vector difference(const float* surface, long long at, Span span) {
    return minus(read(surface + (at + span.high) * 3), read(surface + (at + span.low) * 3));
}

// A tangent of the displaced surface without the tilt of the flat triangle below it.
__device__ Vector tangent(Surface surface, long long at, Span span, Vector normal) {
    const Vector flat = difference(surface.positions, at, span);
    return minus(difference(surface.displaced, at, span), scaled(normal, dot(normal, flat)));
}

// The cross product of a texel's tangents on the side of the coarse normal; that normal where the product is 0.
__device__ Vector normal_at(Surface surface, long long at, int row, int column) {
    const int* texel = surface.triangle_id + (long long)row * surface.size + column;
    const Span across = span_at(texel, column, surface.size - 1, 1);
    const Span down = span_at(texel, row, surface.size - 1, surface.size);
    const Vector normal = read(surface.normals + at * 3);
    const Vector u = tangent(surface, at, across, normal), v = tangent(surface, at, down, normal);
    const Vector side = cross(u, v);
    const float length = sqrtf(dot(side, side));
    return length == 0.0f ? normal : scaled(side, (dot(side, normal) < 0.0f ? -1.0f : 1.0f) / length);
}

extern "C" __global__ void detail_normals(const float* __restrict__ displaced, const float* __restrict__ positions,
                                          const float* __restrict__ normals, const int* __restrict__ triangle_id,
                                          float* __restrict__ out, int batch, int size) {
    const Surface surface = {displaced, positions, normals, triangle_id, size};
    FOR_EACH_PIXEL(texel_row, column, (long long)batch * size, size) {
        const int row = (int)(texel_row % size);
        const long long i = texel_row * size + column, texel = (long long)row * size + column;
        const Vector none = {0.0f, 0.0f, 0.0f};
        write(out + 3 * i, triangle_id[texel] < 0 ? none : normal_at(surface, i, row, (int)column));
    }
}

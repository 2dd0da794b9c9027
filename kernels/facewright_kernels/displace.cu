// A surface moved along its normals by a displacement map, and the normals of what comes out. Equations: displace.py.
#include "launch_target.h"

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
__device__ Vector cross(Vector a, Vector b) {
    return {a.y * b.z - a.z * b.y, a.z * b.x - a.x * b.z, a.x * b.y - a.y * b.x};
}
__device__ Vector scaled(Vector a, float by) { return {a.x * by, a.y * by, a.z * by}; }
__device__ float dot(Vector a, Vector b) { return a.x * b.x + a.y * b.y + a.z * b.z; }

extern "C" __global__ void displace(const float* __restrict__ positions, const float* __restrict__ normals,
                                    const float* __restrict__ displacement, float* __restrict__ displaced,
                                    long long points) {
    FOR_EACH_INDEX(i, points)
    for (int c = 0; c < 3; ++c) displaced[3 * i + c] = positions[3 * i + c] + displacement[i] * normals[3 * i + c];
}

extern "C" __global__ void displace_vjp(const float* __restrict__ normals, const float* __restrict__ displacement,
                                        const float* __restrict__ grad, float* __restrict__ grad_normals,
                                        float* __restrict__ grad_displacement, long long points) {
    FOR_EACH_INDEX(i, points) {
        const Vector g = read(grad + 3 * i);
        write(grad_normals + 3 * i, scaled(g, displacement[i]));
        grad_displacement[i] = dot(read(normals + 3 * i), g);
    }
}

// The texels whose difference is the tangent along one axis: the neighbours, or the texel itself where one is missing.
struct Span {
    int low, high;
};

__device__ Span span_at(const int* texel, int at, int last, int stride) {
    const bool before = at > 0 && texel[-stride] >= 0, after = at < last && texel[stride] >= 0;
    return {before ? -stride : 0, after ? stride : 0};
}

// Tangents of the texel's surface, their cross product on the side of the coarse normal, and its length (0: no normal).
struct Frame {
    Vector u, v, side;
    float sign, length;
};

__device__ Frame frame_at(const float* positions, const float* normals, const int* triangle_id, long long image,
                          int row, int column, int size) {
    const long long texel = (long long)row * size + column, at = image * size * size + texel;
    const Span across = span_at(triangle_id + texel, column, size - 1, 1);
    const Span down = span_at(triangle_id + texel, row, size - 1, size);
    const Vector u = minus(read(positions + (at + across.high) * 3), read(positions + (at + across.low) * 3));
    const Vector v = minus(read(positions + (at + down.high) * 3), read(positions + (at + down.low) * 3));
    const Vector side = cross(u, v);
    return {u, v, side, dot(side, read(normals + at * 3)) < 0.0f ? -1.0f : 1.0f, sqrtf(dot(side, side))};
}

extern "C" __global__ void detail_normals(const float* __restrict__ positions, const float* __restrict__ normals,
                                          const int* __restrict__ triangle_id, float* __restrict__ out, int batch,
                                          int size) {
    FOR_EACH_INDEX(i, (long long)batch * size * size) {
        const long long image = i / ((long long)size * size), texel = i - image * size * size;
        if (triangle_id[texel] < 0) {
            write(out + 3 * i, Vector{0.0f, 0.0f, 0.0f});
            continue;
        }
        const Frame frame = frame_at(positions, normals, triangle_id, image, (int)(texel / size), (int)(texel % size), size);
        write(out + 3 * i,
              frame.length == 0.0f ? read(normals + 3 * i) : scaled(frame.side, frame.sign / frame.length));
    }
}

// Gradients of the two tangents (6 numbers a texel), and of the coarse normal where it stands in.
extern "C" __global__ void detail_normals_vjp_tangents(const float* __restrict__ positions,
                                                       const float* __restrict__ normals,
                                                       const int* __restrict__ triangle_id,
                                                       const float* __restrict__ grad, float* __restrict__ grad_tangents,
                                                       float* __restrict__ grad_normals, int batch, int size) {
    FOR_EACH_INDEX(i, (long long)batch * size * size) {
        const long long image = i / ((long long)size * size), texel = i - image * size * size;
        const Vector zero = {0.0f, 0.0f, 0.0f};
        Vector of_u = zero, of_v = zero, of_normal = zero;
        if (triangle_id[texel] >= 0) {
            const Vector g = read(grad + 3 * i);
            const Frame frame =
                frame_at(positions, normals, triangle_id, image, (int)(texel / size), (int)(texel % size), size);
            if (frame.length == 0.0f) {
                of_normal = g;
            } else {
                const Vector n = scaled(frame.side, frame.sign / frame.length);
                const Vector of_side = scaled(minus(g, scaled(n, dot(n, g))), frame.sign / frame.length);
                of_u = cross(frame.v, of_side);
                of_v = cross(of_side, frame.u);
            }
        }
        write(grad_tangents + 6 * i, of_u);
        write(grad_tangents + 6 * i + 3, of_v);
        write(grad_normals + 3 * i, of_normal);
    }
}

// What one axis' tangents give the texel between them: the tangent before it ends there, the one after it starts there;
// its own ends or starts there where a neighbour is missing.
__device__ void add_axis(const float* tangents, Span span, int stride, float* sum) {
    const float *before = span.low ? tangents - 6ll * stride : tangents, *after = span.high ? tangents + 6ll * stride : tangents;
    for (int c = 0; c < 3; ++c) {
        sum[c] += span.low ? before[c] : -tangents[c];
        sum[c] += span.high ? -after[c] : tangents[c];
    }
}

extern "C" __global__ void detail_normals_vjp_positions(const float* __restrict__ grad_tangents,
                                                        const int* __restrict__ triangle_id,
                                                        float* __restrict__ grad_positions, int batch, int size) {
    FOR_EACH_INDEX(i, (long long)batch * size * size) {
        const long long texel = i % ((long long)size * size);
        float sum[3] = {0.0f, 0.0f, 0.0f};
        if (triangle_id[texel] >= 0) {
            const int row = (int)(texel / size), column = (int)(texel % size);
            add_axis(grad_tangents + 6 * i, span_at(triangle_id + texel, column, size - 1, 1), 1, sum);
            add_axis(grad_tangents + 6 * i + 3, span_at(triangle_id + texel, row, size - 1, size), size, sum);
        }
        write(grad_positions + 3 * i, Vector{sum[0], sum[1], sum[2]});
    }
}

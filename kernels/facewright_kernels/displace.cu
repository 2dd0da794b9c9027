// A surface moved along its normals by a displacement map, and the normals of what comes out. Equations: displace.py.
#include "mesh.h"

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

// Both tangents of a texel, their cross product on the side of the coarse normal, and its length (0: no normal).
struct Frame {
    Span across, down;
    Vector u, v, side, normal;
    float sign, length;
};

__device__ Frame frame_at(Surface surface, long long at, int row, int column) {
    const int* texel = surface.triangle_id + (long long)row * surface.size + column;
    const Span across = span_at(texel, column, surface.size - 1, 1);
    const Span down = span_at(texel, row, surface.size - 1, surface.size);
    const Vector normal = read(surface.normals + at * 3);
    const Vector u = tangent(surface, at, across, normal), v = tangent(surface, at, down, normal);
    const Vector side = cross(u, v);
    return {across, down, u, v, side, normal, dot(side, normal) < 0.0f ? -1.0f : 1.0f, sqrtf(dot(side, side))};
}

extern "C" __global__ void detail_normals(const float* __restrict__ displaced, const float* __restrict__ positions,
                                          const float* __restrict__ normals, const int* __restrict__ triangle_id,
                                          float* __restrict__ out, int batch, int size) {
    const Surface surface = {displaced, positions, normals, triangle_id, size};
    FOR_EACH_PIXEL(texel_row, column, (long long)batch * size, size) {
        const int row = (int)(texel_row % size);
        const long long i = texel_row * size + column, texel = (long long)row * size + column;
        if (triangle_id[texel] < 0) {
            write(out + 3 * i, Vector{0.0f, 0.0f, 0.0f});
            continue;
        }
        const Frame frame = frame_at(surface, i, row, (int)column);
        write(out + 3 * i, frame.length == 0.0f ? frame.normal : scaled(frame.side, frame.sign / frame.length));
    }
}

// What a tangent's gradient says about the normal that takes out the tilt.
__device__ Vector tilt_gradient(Surface surface, long long at, Span span, Vector normal, Vector of_tangent) {
    const Vector flat = difference(surface.positions, at, span);
    return plus(scaled(of_tangent, -dot(normal, flat)), scaled(flat, -dot(normal, of_tangent)));
}

// Gradients of the two tangents (6 numbers a texel), and of the coarse normal.
extern "C" __global__ void detail_normals_vjp_tangents(const float* __restrict__ displaced,
                                                       const float* __restrict__ positions,
                                                       const float* __restrict__ normals,
                                                       const int* __restrict__ triangle_id,
                                                       const float* __restrict__ grad,
                                                       float* __restrict__ grad_tangents,
                                                       float* __restrict__ grad_normals, int batch, int size) {
    const Surface surface = {displaced, positions, normals, triangle_id, size};
    FOR_EACH_PIXEL(texel_row, column, (long long)batch * size, size) {
        const int row = (int)(texel_row % size);
        const long long i = texel_row * size + column, texel = (long long)row * size + column;
        const Vector zero = {0.0f, 0.0f, 0.0f};
        Vector of_u = zero, of_v = zero, of_normal = zero;
        if (triangle_id[texel] >= 0) {
            const Vector g = read(grad + 3 * i);
            const Frame frame = frame_at(surface, i, row, (int)column);
            if (frame.length == 0.0f) {
                of_normal = g;
            } else {
                const Vector n = scaled(frame.side, frame.sign / frame.length);
                const Vector of_side = scaled(minus(g, scaled(n, dot(n, g))), frame.sign / frame.length);
                of_u = cross(frame.v, of_side);
                of_v = cross(of_side, frame.u);
                of_normal = plus(tilt_gradient(surface, i, frame.across, frame.normal, of_u),
                                 tilt_gradient(surface, i, frame.down, frame.normal, of_v));
            }
        }
        write(grad_tangents + 6 * i, of_u);
        write(grad_tangents + 6 * i + 3, of_v);
        write(grad_normals + 3 * i, of_normal);
    }
}

// Sums of one texel over the tangents that it ends (+) or starts (-).
struct Ends {
    Vector displaced, positions;
};

__device__ Ends with_end(Ends ends, const float* of_tangent, const float* normal, float sign) {
    const Vector g = scaled(read(of_tangent), sign), n = read(normal);
    return {plus(ends.displaced, g), minus(ends.positions, scaled(n, dot(n, g)))};
}

// Along one axis: the tangent before the texel ends there, the one after it starts there; its own ends or starts there
// where a neighbour is missing.
__device__ Ends with_axis(Ends ends, const float* tangents, const float* normals, Span span) {
    ends = span.low ? with_end(ends, tangents + 6ll * span.low, normals + 3ll * span.low, 1.0f)
                    : with_end(ends, tangents, normals, -1.0f);
    return span.high ? with_end(ends, tangents + 6ll * span.high, normals + 3ll * span.high, -1.0f)
                     : with_end(ends, tangents, normals, 1.0f);
}

extern "C" __global__ void detail_normals_vjp_surfaces(const float* __restrict__ grad_tangents,
                                                       const float* __restrict__ normals,
                                                       const int* __restrict__ triangle_id,
                                                       float* __restrict__ grad_displaced,
                                                       float* __restrict__ grad_positions, int batch, int size) {
    FOR_EACH_PIXEL(texel_row, column, (long long)batch * size, size) {
        const int row = (int)(texel_row % size);
        const long long i = texel_row * size + column, texel = (long long)row * size + column;
        Ends ends = {{0.0f, 0.0f, 0.0f}, {0.0f, 0.0f, 0.0f}};
        if (triangle_id[texel] >= 0) {
            const float *tangents = grad_tangents + 6 * i, *normal = normals + 3 * i;
            ends = with_axis(ends, tangents, normal, span_at(triangle_id + texel, (int)column, size - 1, 1));
            ends = with_axis(ends, tangents + 3, normal, span_at(triangle_id + texel, row, size - 1, size));
        }
        write(grad_displaced + 3 * i, ends.displaced);
        write(grad_positions + 3 * i, ends.positions);
    }
}

// Area-weighted vertex normals and their gradient: each vertex gathers its triangles, so sums have a fixed order and
// need no atomics.
#include "mesh.h"

// Sum of the surrounding triangles' normals, each as long as twice the triangle's area.
__device__ Vector area_normal(const float* positions, const int* triangles, const int* offsets, const int* incident,
                              int vertex, int vertex_count, int triangle_count) {
    Vector sum = {0.0f, 0.0f, 0.0f};
    const Entries around = entries_of(offsets, vertex, 3 * triangle_count);
    for (int k = around.begin; k < around.end; ++k) {
        const int* corners = corners_of(triangles, incident[k], triangle_count, vertex_count);
        if (!corners) continue;
        const Vector a = read(positions + (long long)corners[0] * 3), b = read(positions + (long long)corners[1] * 3),
                     c = read(positions + (long long)corners[2] * 3);
        sum = plus(sum, cross(minus(b, a), minus(c, a)));
    }
    return sum;
}

extern "C" __global__ void vertex_normals(const float* __restrict__ vertices, const int* __restrict__ triangles,
                                          const int* __restrict__ offsets, const int* __restrict__ incident,
                                          float* __restrict__ normals, int batch, int vertex_count,
                                          int triangle_count) {
    FOR_EACH_INDEX(i, (long long)batch * vertex_count) {
        const long long image = i / vertex_count;
        const Vector sum = area_normal(vertices + image * vertex_count * 3, triangles, offsets, incident,
                                       (int)(i - image * vertex_count), vertex_count, triangle_count);
        const float length = sqrtf(dot(sum, sum));
        write(normals + 3 * i, scaled(sum, length > 0.0f ? 1.0f / length : 0.0f));
    }
}

// Through the normalisation: gradient with respect to the sum of the triangles' normals.
extern "C" __global__ void area_normals_vjp(const float* __restrict__ vertices, const int* __restrict__ triangles,
                                            const int* __restrict__ offsets, const int* __restrict__ incident,
                                            const float* __restrict__ grad_normals, float* __restrict__ grad_sums,
                                            int batch, int vertex_count, int triangle_count) {
    FOR_EACH_INDEX(i, (long long)batch * vertex_count) {
        const long long image = i / vertex_count;
        const Vector sum = area_normal(vertices + image * vertex_count * 3, triangles, offsets, incident,
                                       (int)(i - image * vertex_count), vertex_count, triangle_count);
        const float length = sqrtf(dot(sum, sum));
        const float scale = length > 0.0f ? 1.0f / length : length == 0.0f ? 0.0f : length;  // NaN stays NaN
        const Vector n = scaled(sum, scale), g = read(grad_normals + 3 * i);
        write(grad_sums + 3 * i, scaled(minus(g, scaled(n, dot(n, g))), scale));
    }
}

// Through the triangles: the gradient of f = (b - a) x (c - a) . g with respect to corner a is (b - c) x g, and so on
// around the triangle.
extern "C" __global__ void vertex_normals_vjp(const float* __restrict__ vertices, const int* __restrict__ triangles,
                                              const int* __restrict__ offsets, const int* __restrict__ incident,
                                              const float* __restrict__ grad_sums, float* __restrict__ grad_vertices,
                                              int batch, int vertex_count, int triangle_count) {
    FOR_EACH_INDEX(i, (long long)batch * vertex_count) {
        const long long image = i / vertex_count;
        const int vertex = (int)(i - image * vertex_count);
        const float *positions = vertices + image * vertex_count * 3, *grads = grad_sums + image * vertex_count * 3;
        Vector total = {0.0f, 0.0f, 0.0f};
        const Entries around = entries_of(offsets, vertex, 3 * triangle_count);
        for (int k = around.begin; k < around.end; ++k) {
            const int* corners = corners_of(triangles, incident[k], triangle_count, vertex_count);
            if (!corners) continue;
            const int corner = corners[0] == vertex ? 0 : corners[1] == vertex ? 1 : 2;
            const int next = corners[corner == 2 ? 0 : corner + 1], last = corners[corner == 0 ? 2 : corner - 1];
            if (next == vertex || last == vertex || next == last) continue;  // never has an area
            const Vector g = plus(plus(read(grads + (long long)vertex * 3), read(grads + (long long)next * 3)),
                                  read(grads + (long long)last * 3));
            const Vector edge = minus(read(positions + (long long)next * 3), read(positions + (long long)last * 3));
            total = plus(total, cross(edge, g));
        }
        write(grad_vertices + 3 * i, total);
    }
}

// Vertices through a pinhole camera: p = R h + t, pixel = K p (CONVENTIONS.md, Frames).
#include "launch_target.h"

struct Point {
    float x, y, z;
};

__device__ Point to_camera(const float* extrinsics, const float* p) {
    return {extrinsics[0] * p[0] + extrinsics[1] * p[1] + extrinsics[2] * p[2] + extrinsics[3],
            extrinsics[4] * p[0] + extrinsics[5] * p[1] + extrinsics[6] * p[2] + extrinsics[7],
            extrinsics[8] * p[0] + extrinsics[9] * p[1] + extrinsics[10] * p[2] + extrinsics[11]};
}

extern "C" __global__ void pinhole_clip(const float* __restrict__ vertices, const float* __restrict__ intrinsics,
                                        const float* __restrict__ extrinsics, float* __restrict__ clip, int batch,
                                        int vertex_count, int shared_vertices, float image_width, float image_height,
                                        float near_plane, float far_plane) {
    const float range = 1.0f / (far_plane - near_plane);
    const float z_scale = (far_plane + near_plane) * range, z_offset = -2.0f * far_plane * near_plane * range;
    FOR_EACH_INDEX(i, (long long)batch * vertex_count) {
        const long long image = i / vertex_count;
        const float* k = intrinsics + image * 9;
        const Point p =
            to_camera(extrinsics + image * 12, vertices + (shared_vertices ? i - image * vertex_count : i) * 3);
        const float pixel_x = k[0] * p.x + k[1] * p.y + k[2] * p.z, pixel_y = k[3] * p.x + k[4] * p.y + k[5] * p.z;
        clip[4 * i] = 2.0f * pixel_x / image_width - p.z;
        clip[4 * i + 1] = 2.0f * pixel_y / image_height - p.z;
        clip[4 * i + 2] = z_scale * p.z + z_offset;
        clip[4 * i + 3] = p.z;
    }
}

// Homogeneous pixel x, y, depth, and the cosine between the normal and the direction to the eye.
extern "C" __global__ void pinhole_points(const float* __restrict__ vertices, const float* __restrict__ normals,
                                          const float* __restrict__ intrinsics, const float* __restrict__ extrinsics,
                                          float* __restrict__ points, int batch, int vertex_count) {
    FOR_EACH_INDEX(i, (long long)batch * vertex_count) {
        const long long image = i / vertex_count;
        const float* k = intrinsics + image * 9;
        const float* e = extrinsics + image * 12;
        const Point p = to_camera(e, vertices + i * 3);
        const float* n = normals + i * 3;
        const float nx = e[0] * n[0] + e[1] * n[1] + e[2] * n[2], ny = e[4] * n[0] + e[5] * n[1] + e[6] * n[2],
                    nz = e[8] * n[0] + e[9] * n[1] + e[10] * n[2];
        const float lengths = sqrtf((p.x * p.x + p.y * p.y + p.z * p.z) * (nx * nx + ny * ny + nz * nz));
        points[4 * i] = k[0] * p.x + k[1] * p.y + k[2] * p.z;
        points[4 * i + 1] = k[3] * p.x + k[4] * p.y + k[5] * p.z;
        points[4 * i + 2] = p.z;
        points[4 * i + 3] = lengths > 0.0f ? -(nx * p.x + ny * p.y + nz * p.z) / lengths : 0.0f;
    }
}

// What the gradient of a clip position says about K p and p.z.
struct Seen {
    float pixel_x, pixel_y, depth;
};

struct ClipScale {
    float image_width, image_height, z_scale;
};

__device__ Seen seen_gradient(const float* grad, ClipScale clip) {
    return {2.0f * grad[0] / clip.image_width, 2.0f * grad[1] / clip.image_height,
            clip.z_scale * grad[2] + grad[3] - grad[0] - grad[1]};
}

// In camera space: K's transpose times the gradient.
__device__ Point camera_gradient(const float* k, Seen g) {
    return {k[0] * g.pixel_x + k[3] * g.pixel_y, k[1] * g.pixel_x + k[4] * g.pixel_y,
            k[2] * g.pixel_x + k[5] * g.pixel_y + g.depth};
}

extern "C" __global__ void pinhole_vjp_vertices(const float* __restrict__ intrinsics,
                                                const float* __restrict__ extrinsics, const float* __restrict__ grad,
                                                float* __restrict__ grad_vertices, int batch, int vertex_count,
                                                int shared_vertices, float image_width, float image_height,
                                                float z_scale) {
    const int cameras = shared_vertices ? batch : 1;
    FOR_EACH_INDEX(i, (long long)(shared_vertices ? 1 : batch) * vertex_count) {
        float x = 0.0f, y = 0.0f, z = 0.0f;
        for (int camera = 0; camera < cameras; ++camera) {
            const long long image = shared_vertices ? camera : i / vertex_count;
            const long long at = shared_vertices ? image * vertex_count + i : i;
            const float* e = extrinsics + image * 12;
            const Point p = camera_gradient(
                intrinsics + image * 9,
                seen_gradient(grad + at * 4, ClipScale{image_width, image_height, z_scale}));
            x += e[0] * p.x + e[4] * p.y + e[8] * p.z;
            y += e[1] * p.x + e[5] * p.y + e[9] * p.z;
            z += e[2] * p.x + e[6] * p.y + e[10] * p.z;
        }
        grad_vertices[3 * i] = x;
        grad_vertices[3 * i + 1] = y;
        grad_vertices[3 * i + 2] = z;
    }
}

// Each part sums its vertices' gradients of the camera: K's upper two rows (6), then [R | t] (12).
extern "C" __global__ void pinhole_vjp_camera(const float* __restrict__ vertices, const float* __restrict__ intrinsics,
                                              const float* __restrict__ extrinsics, const float* __restrict__ grad,
                                              float* __restrict__ part_sums, int batch, int vertex_count,
                                              int shared_vertices, float image_width, float image_height,
                                              float z_scale, int parts) {
    FOR_EACH_INDEX(j, (long long)batch * parts) {
        const long long image = j / parts, part = j - image * parts;
        const float *k = intrinsics + image * 9, *e = extrinsics + image * 12;
        float sums[18];
        for (int c = 0; c < 18; ++c) sums[c] = 0.0f;
        FOR_EACH_OF_PART(v, part, parts, vertex_count) {
            const float* h = vertices + ((shared_vertices ? 0 : image * vertex_count) + v) * 3;
            const Seen g = seen_gradient(grad + (image * vertex_count + v) * 4,
                                         ClipScale{image_width, image_height, z_scale});
            const Point p = to_camera(e, h), q = camera_gradient(k, g);
            const float seen[2] = {g.pixel_x, g.pixel_y}, camera[3] = {p.x, p.y, p.z}, of_point[3] = {q.x, q.y, q.z};
            for (int row = 0; row < 2; ++row)
                for (int c = 0; c < 3; ++c) sums[3 * row + c] += seen[row] * camera[c];
            for (int row = 0; row < 3; ++row) {
                for (int c = 0; c < 3; ++c) sums[6 + 4 * row + c] += of_point[row] * h[c];
                sums[6 + 4 * row + 3] += of_point[row];
            }
        }
        for (int c = 0; c < 18; ++c) part_sums[18 * j + c] = sums[c];
    }
}

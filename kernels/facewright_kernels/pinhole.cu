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

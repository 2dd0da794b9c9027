// Nine real spherical-harmonics bands, RGB (CONVENTIONS.md, Spherical harmonics).
#include "launch_target.h"

extern "C" __global__ void sh_shading(const float* __restrict__ normals, const float* __restrict__ coefficients,
                                      float* __restrict__ shading, long long samples, long long samples_per_image,
                                      int coefficients_per_image, int coefficients_per_sample) {
    FOR_EACH_INDEX(i, samples) {
        const float nx = normals[3 * i], ny = normals[3 * i + 1], nz = normals[3 * i + 2];
        const float squared = nx * nx + ny * ny + nz * nz;
        const float scale = squared > 0.0f ? 1.0f / sqrtf(squared) : 1.0f;
        const float x = nx * scale, y = ny * scale, z = nz * scale;
        // A zero normal has no direction: only the ambient band is left.
        const float directed = squared == 0.0f ? 0.0f : 1.0f;
        const float basis[9] = {0.282095f,
                                0.488603f * y,
                                0.488603f * z,
                                0.488603f * x,
                                1.092548f * x * y,
                                1.092548f * y * z,
                                0.315392f * (3.0f * z * z - 1.0f) * directed,
                                1.092548f * x * z,
                                0.546274f * (x * x - y * y)};
        const float* c = coefficients + i * coefficients_per_sample +
                         (coefficients_per_image ? i / samples_per_image * coefficients_per_image : 0);
        float red = 0.0f, green = 0.0f, blue = 0.0f;
        for (int k = 0; k < 9; ++k) {
            red += c[3 * k] * basis[k];
            green += c[3 * k + 1] * basis[k];
            blue += c[3 * k + 2] * basis[k];
        }
        shading[3 * i] = red;
        shading[3 * i + 1] = green;
        shading[3 * i + 2] = blue;
    }
}

// Nine real spherical-harmonics bands, RGB (CONVENTIONS.md, Spherical harmonics).
#include "launch_target.h"

struct Direction {
    float x, y, z;
    float scale;  // 1 / length of the normal
    bool exists;  // a zero normal has no direction: only the ambient band is left
};

__device__ Direction direction_of(const float* normal) {
    const float squared = normal[0] * normal[0] + normal[1] * normal[1] + normal[2] * normal[2];
    const float scale = squared > 0.0f ? 1.0f / sqrtf(squared) : 1.0f;
    return {normal[0] * scale, normal[1] * scale, normal[2] * scale, scale, squared != 0.0f};
}

__device__ void bands(Direction n, float* basis) {
    basis[0] = 0.282095f;
    basis[1] = 0.488603f * n.y;
    basis[2] = 0.488603f * n.z;
    basis[3] = 0.488603f * n.x;
    basis[4] = 1.092548f * n.x * n.y;
    basis[5] = 1.092548f * n.y * n.z;
    basis[6] = 0.315392f * (3.0f * n.z * n.z - 1.0f) * (n.exists ? 1.0f : 0.0f);
    basis[7] = 1.092548f * n.x * n.z;
    basis[8] = 0.546274f * (n.x * n.x - n.y * n.y);
}

extern "C" __global__ void sh_shading(const float* __restrict__ normals, const float* __restrict__ coefficients,
                                      float* __restrict__ shading, long long samples, long long samples_per_image,
                                      int coefficients_per_image, int coefficients_per_sample) {
    FOR_EACH_INDEX(i, samples) {
        float basis[9];
        bands(direction_of(normals + 3 * i), basis);
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

// Gradient of one sample's shading with respect to its normal, of any length.
__device__ void normal_vjp(Direction n, const float* coefficients, const float* grad, float* out) {
    float h[9];
    for (int k = 0; k < 9; ++k)
        h[k] = coefficients[3 * k] * grad[0] + coefficients[3 * k + 1] * grad[1] + coefficients[3 * k + 2] * grad[2];
    const float x = 0.488603f * h[3] + 1.092548f * (n.y * h[4] + n.z * h[7]) + 1.092548f * n.x * h[8];
    const float y = 0.488603f * h[1] + 1.092548f * (n.x * h[4] + n.z * h[5]) - 1.092548f * n.y * h[8];
    const float z = 0.488603f * h[2] + 1.092548f * (n.y * h[5] + n.x * h[7]) + 1.892352f * n.z * h[6];
    const float along = n.x * x + n.y * y + n.z * z;  // length does not change the shading
    const float scale = n.exists ? n.scale : 0.0f;
    out[0] = (x - n.x * along) * scale;
    out[1] = (y - n.y * along) * scale;
    out[2] = (z - n.z * along) * scale;
}

// Lights of an image or of all images: each part sums its samples' gradients of the 27 coefficients.
extern "C" __global__ void sh_shading_vjp(const float* __restrict__ normals, const float* __restrict__ coefficients,
                                          const float* __restrict__ grad_shading, float* __restrict__ grad_normals,
                                          float* __restrict__ part_sums, int batch, long long samples_per_image,
                                          int coefficients_per_image, int parts) {
    FOR_EACH_INDEX(j, (long long)batch * parts) {
        const long long image = j / parts, part = j - image * parts;
        const float* c = coefficients + image * coefficients_per_image;
        float sums[27];
        for (int k = 0; k < 27; ++k) sums[k] = 0.0f;
        FOR_EACH_OF_PART(s, part, parts, samples_per_image) {
            const long long i = image * samples_per_image + s;
            const float grad[3] = {grad_shading[3 * i], grad_shading[3 * i + 1], grad_shading[3 * i + 2]};
            const Direction n = direction_of(normals + 3 * i);
            normal_vjp(n, c, grad, grad_normals + 3 * i);
            float basis[9];
            bands(n, basis);
            for (int k = 0; k < 9; ++k)
                for (int channel = 0; channel < 3; ++channel) sums[3 * k + channel] += basis[k] * grad[channel];
        }
        for (int k = 0; k < 27; ++k) part_sums[27 * j + k] = sums[k];
    }
}

// A light of each sample's own.
extern "C" __global__ void sh_shading_vjp_per_sample(const float* __restrict__ normals,
                                                     const float* __restrict__ coefficients,
                                                     const float* __restrict__ grad_shading,
                                                     float* __restrict__ grad_normals,
                                                     float* __restrict__ grad_coefficients, long long samples) {
    FOR_EACH_INDEX(i, samples) {
        const float grad[3] = {grad_shading[3 * i], grad_shading[3 * i + 1], grad_shading[3 * i + 2]};
        const Direction n = direction_of(normals + 3 * i);
        normal_vjp(n, coefficients + 27 * i, grad, grad_normals + 3 * i);
        float basis[9];
        bands(n, basis);
        for (int k = 0; k < 9; ++k)
            for (int channel = 0; channel < 3; ++channel)
                grad_coefficients[27 * i + 3 * k + channel] = basis[k] * grad[channel];
    }
}

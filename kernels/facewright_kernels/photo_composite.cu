// A shaded face over the photo it was fitted to (equations: photo_composite.py).
#include "launch_target.h"

// sRGB's transfer function (IEC 61966-2-1), continued beyond 1, and by its linear part below 0.
__device__ float encoded(float linear) {
    return linear <= 0.0031308f ? 12.92f * linear : 1.055f * powf(linear, 1.0f / 2.4f) - 0.055f;
}

__device__ float encoding_slope(float linear) {
    return linear <= 0.0031308f ? 12.92f : 1.055f / 2.4f * powf(linear, 1.0f / 2.4f - 1.0f);
}

extern "C" __global__ void face_layer(const float* __restrict__ albedo, const float* __restrict__ shading,
                                      const int* __restrict__ triangle_id, float* __restrict__ layer,
                                      long long pixels) {
    FOR_EACH_INDEX(i, pixels) {
        const bool seen = triangle_id[i] >= 0;
        for (int c = 0; c < 3; ++c)
            layer[4 * i + c] = seen ? encoded(albedo[3 * i + c] * shading[3 * i + c]) : 0.0f;
        layer[4 * i + 3] = seen ? 1.0f : 0.0f;
    }
}

extern "C" __global__ void face_layer_vjp(const float* __restrict__ albedo, const float* __restrict__ shading,
                                          const int* __restrict__ triangle_id, const float* __restrict__ grad_layer,
                                          float* __restrict__ grad_albedo, float* __restrict__ grad_shading,
                                          long long pixels) {
    FOR_EACH_INDEX(i, pixels) {
        const bool seen = triangle_id[i] >= 0;
        for (int c = 0; c < 3; ++c) {
            const long long k = 3 * i + c;
            // Most gradients are 0 (outside the mask), and the slope is the costly part.
            const float grad = grad_layer[4 * i + c];
            const float by_light = seen && grad != 0.0f ? grad * encoding_slope(albedo[k] * shading[k]) : 0.0f;
            grad_albedo[k] = by_light * shading[k];
            grad_shading[k] = by_light * albedo[k];
        }
    }
}

extern "C" __global__ void photo_composite(const float* __restrict__ layer, const float* __restrict__ photo,
                                           const float* __restrict__ face_mask, float* __restrict__ image,
                                           long long pixels, long long pixels_per_image) {
    FOR_EACH_INDEX(i, pixels) {
        const long long first = i / pixels_per_image * 3 * pixels_per_image + i % pixels_per_image;
        const float mask = face_mask[i];
        for (int c = 0; c < 3; ++c) {
            const long long k = first + c * pixels_per_image;
            // A pixel outside the mask must not see the face's NaN.
            image[k] = mask == 0.0f ? photo[k] : photo[k] + mask * (layer[4 * i + c] - layer[4 * i + 3] * photo[k]);
        }
    }
}

extern "C" __global__ void photo_composite_vjp(const float* __restrict__ photo, const float* __restrict__ face_mask,
                                               const float* __restrict__ grad_image, float* __restrict__ grad_layer,
                                               long long pixels, long long pixels_per_image) {
    FOR_EACH_INDEX(i, pixels) {
        const long long first = i / pixels_per_image * 3 * pixels_per_image + i % pixels_per_image;
        const float mask = face_mask[i];
        float by_coverage = 0.0f;
        for (int c = 0; c < 3; ++c) {
            const long long k = first + c * pixels_per_image;
            const float grad = mask == 0.0f ? 0.0f : mask * grad_image[k];
            grad_layer[4 * i + c] = grad;
            by_coverage -= grad * photo[k];
        }
        grad_layer[4 * i + 3] = by_coverage;
    }
}

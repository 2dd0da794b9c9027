// A shaded face over the photo it was fitted to (equation: photo_composite.py).
#include "launch_target.h"

// sRGB's transfer function (IEC 61966-2-1), continued beyond 1, and by its linear part below 0.
__device__ float encoded(float linear) {
    return linear <= 0.0031308f ? 12.92f * linear : 1.055f * powf(linear, 1.0f / 2.4f) - 0.055f;
}

__device__ float encoding_slope(float linear) {
    return linear <= 0.0031308f ? 12.92f : 1.055f / 2.4f * powf(linear, 1.0f / 2.4f - 1.0f);
}

extern "C" __global__ void photo_composite(const float* __restrict__ albedo, const float* __restrict__ shading,
                                           const int* __restrict__ triangle_id, const float* __restrict__ photo,
                                           const float* __restrict__ face_mask, float* __restrict__ image,
                                           long long pixels) {
    FOR_EACH_INDEX(i, pixels) {
        const float share = triangle_id[i] >= 0 ? face_mask[i] : 0.0f;
        for (int c = 0; c < 3; ++c) {
            const float seen = photo[3 * i + c];
            // Not photo + share * (...) alone: a pixel outside the face must not see the face's NaN.
            image[3 * i + c] =
                share == 0.0f ? seen : seen + share * (encoded(albedo[3 * i + c] * shading[3 * i + c]) - seen);
        }
    }
}

extern "C" __global__ void photo_composite_vjp(const float* __restrict__ albedo, const float* __restrict__ shading,
                                               const int* __restrict__ triangle_id,
                                               const float* __restrict__ face_mask,
                                               const float* __restrict__ grad_image, float* __restrict__ grad_albedo,
                                               float* __restrict__ grad_shading, long long pixels) {
    FOR_EACH_INDEX(i, pixels) {
        const float share = triangle_id[i] >= 0 ? face_mask[i] : 0.0f;
        for (int c = 0; c < 3; ++c) {
            const long long k = 3 * i + c;
            const float grad =
                share == 0.0f ? 0.0f : share * encoding_slope(albedo[k] * shading[k]) * grad_image[k];
            grad_albedo[k] = grad * shading[k];
            grad_shading[k] = grad * albedo[k];
        }
    }
}

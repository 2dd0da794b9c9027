// Separable Gaussian blur that ignores what a mask leaves out. Four values a pixel: up to three channels times the mask,
// and the mask.
#include "launch_target.h"

extern "C" __global__ void premultiply(const float* __restrict__ image, const float* __restrict__ mask,
                                       float* __restrict__ out, long long pixels, int channels) {
    FOR_EACH_INDEX(i, pixels) {
        const float weight = mask[i];
        // What is masked out may hold anything, NaN included.
        for (int c = 0; c < 3; ++c)
            out[4 * i + c] = c < channels && weight != 0.0f ? image[i * channels + c] * weight : 0.0f;
        out[4 * i + 3] = weight;
    }
}

// Blur along one axis: `step` pixels between taps, `length` pixels along the axis, `at` of this pixel.
__device__ void blur_pixel(const float* in, const float* taps, int radius, long long step, int at, int length,
                           float* sum) {
    const int first = at < radius ? -at : -radius, last = at + radius < length ? radius : length - 1 - at;
    for (int k = first; k <= last; ++k) {
        const float tap = taps[k < 0 ? -k : k];
        const float* pixel = in + 4 * step * k;
        for (int c = 0; c < 4; ++c) sum[c] += tap * pixel[c];
    }
}

extern "C" __global__ void blur_rows(const float* __restrict__ in, const float* __restrict__ taps,
                                     float* __restrict__ out, int batch, int height, int width, int radius) {
    FOR_EACH_INDEX(i, (long long)batch * height * width) {
        float sum[4] = {0.0f, 0.0f, 0.0f, 0.0f};
        blur_pixel(in + 4 * i, taps, radius, 1, (int)(i % width), width, sum);
        for (int c = 0; c < 4; ++c) out[4 * i + c] = sum[c];
    }
}

extern "C" __global__ void blur_columns(const float* __restrict__ in, const float* __restrict__ taps,
                                        float* __restrict__ image, float* __restrict__ coverage, int batch, int height,
                                        int width, int channels, int radius) {
    FOR_EACH_INDEX(i, (long long)batch * height * width) {
        float sum[4] = {0.0f, 0.0f, 0.0f, 0.0f};
        blur_pixel(in + 4 * i, taps, radius, width, (int)(i / width % height), height, sum);
        const float scale = sum[3] > 0.0f ? 1.0f / sum[3] : 0.0f;
        for (int c = 0; c < channels; ++c) image[i * channels + c] = sum[c] * scale;
        coverage[i] = sum[3];
    }
}

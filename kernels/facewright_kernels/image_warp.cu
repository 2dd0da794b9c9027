// An image through a homography: bilinear where it is enlarged, a grid of bilinear samples where it shrinks.
#include "launch_target.h"

constexpr int kMaximumGrid = 16;

__device__ float decode(float pixel, const float* decoded) {
    (void)decoded;
    return pixel;
}
__device__ float decode(unsigned char pixel, const float* decoded) { return decoded[pixel]; }

struct Pixel {
    float x, y;
};

__device__ Pixel map_point(const float* h, float x, float y) {
    const float inverse = 1.0f / (h[6] * x + h[7] * y + h[8]);
    return {(h[0] * x + h[1] * y + h[2]) * inverse, (h[3] * x + h[4] * y + h[5]) * inverse};
}

template <typename Value>
__device__ void add_sample(const Value* image, const float* decoded, int height, int width, int channels, Pixel at,
                           float* sum) {
    // NaN and points at infinity go to the border.
    const float cx = minimum(maximum(at.x - 0.5f, 0.0f), (float)(width - 1));
    const float cy = minimum(maximum(at.y - 0.5f, 0.0f), (float)(height - 1));
    const int x0 = (int)cx, y0 = (int)cy, x1 = x0 + (x0 + 1 < width ? 1 : 0), y1 = y0 + (y0 + 1 < height ? 1 : 0);
    const float fx = cx - (float)x0, fy = cy - (float)y0;
    const Value* p00 = image + ((long long)y0 * width + x0) * channels;
    const Value* p01 = image + ((long long)y0 * width + x1) * channels;
    const Value* p10 = image + ((long long)y1 * width + x0) * channels;
    const Value* p11 = image + ((long long)y1 * width + x1) * channels;
    for (int c = 0; c < channels; ++c) {
        const float top = (1.0f - fx) * decode(p00[c], decoded) + fx * decode(p01[c], decoded);
        const float bottom = (1.0f - fx) * decode(p10[c], decoded) + fx * decode(p11[c], decoded);
        sum[c] += (1.0f - fy) * top + fy * bottom;
    }
}

__device__ int grid_size(Pixel a, Pixel b) {
    const float length = sqrtf((b.x - a.x) * (b.x - a.x) + (b.y - a.y) * (b.y - a.y));
    return length > 1.0f ? (int)minimum(ceilf(length - 1e-3f), (float)kMaximumGrid) : 1;
}

template <typename Value>
__device__ void warp(const Value* image, const float* decoded, const float* homography, float* out, int batch,
                     int height, int width, int channels, int out_height, int out_width) {
    FOR_EACH_INDEX(i, (long long)batch * out_height * out_width) {
        const long long photo = i / ((long long)out_height * out_width);
        const float column = (float)(i % out_width), row = (float)(i / out_width % out_height);
        const float* h = homography + photo * 9;
        const Value* pixels = image + photo * height * width * channels;
        float* sum = out + i * channels;
        for (int c = 0; c < channels; ++c) sum[c] = 0.0f;
        const int across = grid_size(map_point(h, column, row + 0.5f), map_point(h, column + 1.0f, row + 0.5f));
        const int down = grid_size(map_point(h, column + 0.5f, row), map_point(h, column + 0.5f, row + 1.0f));
        for (int sub_row = 0; sub_row < down; ++sub_row)
            for (int sub_column = 0; sub_column < across; ++sub_column)
                add_sample(pixels, decoded, height, width, channels,
                           map_point(h, column + ((float)sub_column + 0.5f) / (float)across,
                                     row + ((float)sub_row + 0.5f) / (float)down),
                           sum);
        const float scale = 1.0f / (float)(across * down);
        for (int c = 0; c < channels; ++c) sum[c] *= scale;
    }
}

extern "C" __global__ void warp_floats(const float* __restrict__ image, const float* __restrict__ homography,
                                       float* __restrict__ out, int batch, int height, int width, int channels,
                                       int out_height, int out_width) {
    warp(image, (const float*)nullptr, homography, out, batch, height, width, channels, out_height, out_width);
}

extern "C" __global__ void warp_bytes(const unsigned char* __restrict__ image, const float* __restrict__ decoded,
                                      const float* __restrict__ homography, float* __restrict__ out, int batch,
                                      int height, int width, int channels, int out_height, int out_width) {
    warp(image, decoded, homography, out, batch, height, width, channels, out_height, out_width);
}

// Final texels of an avatar: two views of one photo and a painted base, composed in linear light.
// Equation and arguments: texture_composite.py.
#include "launch_target.h"

// gain of the photo (3), gain of its mirror image (3), skin (3), hair (3), share of the base, hairiness, strands, pores
#define CHANNELS 16

#define STRAND_REACH 1.2f

__device__ int clamp_index(int value, int last) {
    return value < 0 ? 0 : (value > last ? last : value);
}

// Linear light of the sRGB image at a point given in homogeneous pixels, bilinear, clamped at the border.
__device__ void sample_photo(const unsigned char* __restrict__ photo, const float* __restrict__ linear_of_code,
                             int height, int width, float x, float y, float w, float* colour) {
    float inverse = 1.0f / (w > 1e-6f ? w : 1e-6f);
    float px = x * inverse - 0.5f, py = y * inverse - 0.5f;
    px = px > 0.0f ? (px < width - 1.0f ? px : width - 1.0f) : 0.0f;  // NaN becomes 0
    py = py > 0.0f ? (py < height - 1.0f ? py : height - 1.0f) : 0.0f;
    int left = (int)px, top = (int)py;
    float fx = px - left, fy = py - top;
    int right = left < width - 1 ? left + 1 : left;
    int bottom = top < height - 1 ? top + 1 : top;
    const unsigned char* p00 = photo + 3ll * ((long long)top * width + left);
    const unsigned char* p01 = photo + 3ll * ((long long)top * width + right);
    const unsigned char* p10 = photo + 3ll * ((long long)bottom * width + left);
    const unsigned char* p11 = photo + 3ll * ((long long)bottom * width + right);
    for (int c = 0; c < 3; ++c) {
        float upper = linear_of_code[p00[c]] * (1.0f - fx) + linear_of_code[p01[c]] * fx;
        float lower = linear_of_code[p10[c]] * (1.0f - fx) + linear_of_code[p11[c]] * fx;
        colour[c] = upper * (1.0f - fy) + lower * fy;
    }
}

extern "C" __global__ void texture_composite(
    const int* __restrict__ texel_triangle, const float* __restrict__ texel_barycentric,
    const int* __restrict__ triangles, const float* __restrict__ photo_points,
    const float* __restrict__ mirror_points, const unsigned char* __restrict__ photo,
    const float* __restrict__ linear_of_code, const unsigned char* __restrict__ code_of_linear,
    const float* __restrict__ layers, const unsigned char* __restrict__ detail,
    unsigned char* __restrict__ texture, int size, int photo_height, int photo_width, int layer_size,
    int code_count) {
    float to_layer = (float)layer_size / (float)size;
    FOR_EACH_PIXEL(row, column, size, size) {
        long long i = row * size + column;
        float lx = (column + 0.5f) * to_layer - 0.5f, ly = (row + 0.5f) * to_layer - 0.5f;
        int left = (int)floorf(lx), top = (int)floorf(ly);
        float fx = lx - left, fy = ly - top;
        int last = layer_size - 1;
        int x0 = clamp_index(left, last), x1 = clamp_index(left + 1, last);
        int y0 = clamp_index(top, last), y1 = clamp_index(top + 1, last);
        const float* l00 = layers + CHANNELS * ((long long)y0 * layer_size + x0);
        const float* l01 = layers + CHANNELS * ((long long)y0 * layer_size + x1);
        const float* l10 = layers + CHANNELS * ((long long)y1 * layer_size + x0);
        const float* l11 = layers + CHANNELS * ((long long)y1 * layer_size + x1);
        float w00 = (1.0f - fx) * (1.0f - fy), w01 = fx * (1.0f - fy), w10 = (1.0f - fx) * fy, w11 = fx * fy;
        float layer[CHANNELS];
        for (int c = 0; c < CHANNELS; ++c) layer[c] = w00 * l00[c] + w01 * l01[c] + w10 * l10[c] + w11 * l11[c];

        float strands = (detail[2 * i] - 128.0f) * (1.0f / 128.0f);
        float pores = (detail[2 * i + 1] - 128.0f) * (1.0f / 128.0f);
        // Strands decide where the hairline runs: a dark strand reaches out, a light one lets skin through.
        float slope = 4.0f * layer[13] * (1.0f - layer[13]);
        float hairy = layer[13] + STRAND_REACH * strands * slope;
        hairy = hairy > 0.0f ? (hairy < 1.0f ? hairy : 1.0f) : 0.0f;
        hairy = hairy * hairy * (3.0f - 2.0f * hairy);
        float of_hair = layer[12] * hairy * (1.0f + layer[14] * strands);
        float of_skin = layer[12] * (1.0f - hairy) * (1.0f + layer[15] * pores);
        float colour[3];
        for (int k = 0; k < 3; ++k) colour[k] = of_skin * layer[6 + k] + of_hair * layer[9 + k];

        // Most texels show no photo: their geometry is not even read.
        bool direct = layer[0] + layer[1] + layer[2] > 1e-4f, mirrored = layer[3] + layer[4] + layer[5] > 1e-4f;
        int triangle = direct || mirrored ? texel_triangle[i] : -1;
        if (triangle >= 0) {
            float b0 = texel_barycentric[2 * i], b1 = texel_barycentric[2 * i + 1], b2 = 1.0f - b0 - b1;
            int v0 = triangles[3 * triangle], v1 = triangles[3 * triangle + 1], v2 = triangles[3 * triangle + 2];
            for (int view = direct ? 0 : 1; view < (mirrored ? 2 : 1); ++view) {
                const float* points = view == 0 ? photo_points : mirror_points;
                const float *a = points + 3 * v0, *b = points + 3 * v1, *c = points + 3 * v2;
                float seen[3];
                sample_photo(photo, linear_of_code, photo_height, photo_width, b0 * a[0] + b1 * b[0] + b2 * c[0],
                             b0 * a[1] + b1 * b[1] + b2 * c[1], b0 * a[2] + b1 * b[2] + b2 * c[2], seen);
                for (int k = 0; k < 3; ++k) colour[k] += layer[3 * view + k] * seen[k];
            }
        }
        for (int k = 0; k < 3; ++k) {
            float value = colour[k] > 0.0f ? (colour[k] < 1.0f ? colour[k] : 1.0f) : 0.0f;  // NaN becomes 0
            texture[3 * i + k] = code_of_linear[(int)(value * (code_count - 1) + 0.5f)];
        }
    }
}

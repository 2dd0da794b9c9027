// Final texels of an avatar: two views of one photo and a painted base, composed in linear light.
// Equation and arguments: texture_composite.py.
#include "bilinear.h"
#include "mesh.h"

// gain of the photo (3), gain of its mirror image (3), skin (3), hair (3), share of the base, hairiness, strands, pores
#define CHANNELS 16

#define STRAND_REACH 1.2f

// Linear light of the sRGB image at a point given in homogeneous pixels, clamped at the border.
__device__ void sample_photo(const unsigned char* __restrict__ photo, const float* __restrict__ linear_of_code,
                             int height, int width, float x, float y, float w, float* colour) {
    const float inverse = 1.0f / (w > 1e-6f ? w : 1e-6f);
    const Taps t = taps(clamped_axis(x * inverse - 0.5f, width), clamped_axis(y * inverse - 0.5f, height), width, 3);
    for (int c = 0; c < 3; ++c) colour[c] = blend(photo + c, linear_of_code, t);
}

extern "C" __global__ void texture_composite(
    const int* __restrict__ texel_triangle, const float* __restrict__ texel_barycentric,
    const int* __restrict__ triangles, const float* __restrict__ photo_points,
    const float* __restrict__ mirror_points, const unsigned char* __restrict__ photo,
    const float* __restrict__ linear_of_code, const unsigned char* __restrict__ code_of_linear,
    const float* __restrict__ layers, const unsigned char* __restrict__ detail,
    unsigned char* __restrict__ texture, int batch, int size, int vertex_count, int triangle_count, int photo_height,
    int photo_width, int layer_size, int code_count) {
    const float to_layer = (float)layer_size / (float)size;
    FOR_EACH_PIXEL(flat_row, column, (long long)batch * size, size) {
        const long long image = flat_row / size, row = flat_row - image * size;
        const long long i = row * size + column;  // of what the batch shares
        const Taps t = taps(clamped_axis((column + 0.5f) * to_layer - 0.5f, layer_size),
                            clamped_axis((row + 0.5f) * to_layer - 0.5f, layer_size), layer_size, CHANNELS);
        const float* image_layers = layers + image * layer_size * layer_size * CHANNELS;
        float layer[CHANNELS];
        for (int c = 0; c < CHANNELS; ++c) layer[c] = blend(image_layers + c, (const float*)nullptr, t);

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
        const int* corners =
            direct || mirrored ? corners_of(triangles, texel_triangle[i], triangle_count, vertex_count) : nullptr;
        if (corners) {
            const float b0 = texel_barycentric[2 * i], b1 = texel_barycentric[2 * i + 1], b2 = 1.0f - b0 - b1;
            const unsigned char* image_photo = photo + image * photo_height * photo_width * 3;
            for (int view = direct ? 0 : 1; view < (mirrored ? 2 : 1); ++view) {
                const float* points = (view == 0 ? photo_points : mirror_points) + image * vertex_count * 3;
                const float *a = points + 3ll * corners[0], *b = points + 3ll * corners[1], *c = points + 3ll * corners[2];
                float seen[3];
                sample_photo(image_photo, linear_of_code, photo_height, photo_width, b0 * a[0] + b1 * b[0] + b2 * c[0],
                             b0 * a[1] + b1 * b[1] + b2 * c[1], b0 * a[2] + b1 * b[2] + b2 * c[2], seen);
                for (int k = 0; k < 3; ++k) colour[k] += layer[3 * view + k] * seen[k];
            }
        }
        for (int k = 0; k < 3; ++k) {
            float value = colour[k] > 0.0f ? (colour[k] < 1.0f ? colour[k] : 1.0f) : 0.0f;  // NaN becomes 0
            texture[3 * (flat_row * size + column) + k] = code_of_linear[(int)(value * (code_count - 1) + 0.5f)];
        }
    }
}
